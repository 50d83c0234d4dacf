"""The house: what stands in which folder, which way the arrows point, what is public. Every rule is shown to fail."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from . import rules
from .house import House
from .tree import DOMAINS, PACKAGES, ROOT, tracked

SYSTEMS = (
    "vision/classification",
    "genomics/detection",
    "graphs/nodes",
    "graphs/supply",
    "graphs/demand",
    "timeseries/ehr",
)
"""What can be removed by deleting its folder; the other folders of a domain are rooms that systems share."""
CORE = (
    *("extras", "_version", "symbols", "masks", "biases", "scores", "engine", "tiles", "backends", "attend", "layers"),
    *("positions", "fusion", "analysis", "explain", "robust", "training"),
)
"""What stands in core, from the ground up: each imports what stands before it."""
SCRIPTS = ("demos", "benchmarks")
HOUSE = House(ROOT, PACKAGES, tracked())


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., House]:
    """Make a small tree of files, path -> text, with the packages a and b."""

    def make(**files: str) -> House:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return House(tmp_path, ("a", "b"))

    return make


def test_no_floor_is_crowded(made):
    assert not rules.crowded(HOUSE, *PACKAGES)
    many = {f"a/room/m{k}.py": "" for k in range(rules.MOST_FILES)}
    assert not rules.crowded(made(**many), "a")
    assert rules.crowded(made(**{"a/room/__init__.py": ""}), "a") == ["a/room: 16 files"]


def test_folders_and_files_say_what_they_hold(made):
    assert not rules.vague(HOUSE, *PACKAGES, *SCRIPTS, "tests", "docs", "configs")
    wrong = made(**{"a/utils/x.py": "", "a/room/_helpers.py": "", "a/room/utilities_of_seeds.py": ""})
    assert rules.vague(wrong, "a") == ["a/utils", "a/room/_helpers.py"]


def test_long_files_give_their_reason_in_the_first_line(made):
    lines = "x = 1\n" * rules.MOST_LINES
    files = {
        "a/fits.py": lines,
        "a/long.py": f'"""Numbers."""\n{lines}',
        "a/empty.py": f'"""Numbers (long: )."""\n{lines}',
    }
    files["a/why.py"] = f'"""Numbers (long: one table that is read as one)."""\n{lines}'
    assert rules.long(made(**files), "a") == ["a/empty.py: 351 lines", "a/long.py: 351 lines"]
    assert not rules.long(HOUSE, *PACKAGES, *SCRIPTS, "tests")


def test_no_files_import_each_other():
    assert not rules.circles(HOUSE)


@pytest.mark.parametrize(
    "back",
    [
        "from .one import f",
        "from . import one",
        "from a import f",
        "import a.one",
        "import a\n\ng = a.f",
        "def g():\n    from .one import f",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .one import f",
    ],
)
def test_a_circle_is_found_whatever_closes_it(made, back):
    files = {"a/__init__.py": "from .one import f\nfrom .two import g", "a/one.py": "from .two import g\nf = g"}
    wrong = made(**files, **{"a/two.py": back})
    (circle,) = rules.circles(wrong)
    assert {"a/one.py", "a/two.py"} <= set(circle.split(" <-> "))


def test_siblings_that_meet_through_their_package_are_no_circle(made):
    files = {
        "a/__init__.py": "from .one import f\nfrom .two import g",
        "a/one.py": "f = 1",
        "a/two.py": "from . import f",
    }
    assert not rules.circles(made(**files))
    own = {"a/__init__.py": "from .one import f\ng = f", "a/one.py": "def f():\n    from . import g"}
    assert rules.circles(made(**own)) == ["a/__init__.py <-> a/one.py"]


def test_no_rooms_of_a_domain_import_each_other(made):
    assert not rules.circles_of_rooms(HOUSE, *DOMAINS)
    files = {"a/__init__.py": "", "a/x/__init__.py": "", "a/y/__init__.py": "", "a/x/one.py": "from ..y.two import g"}
    files |= {"a/y/two.py": "g = 1", "a/y/three.py": "from ..x.four import h", "a/x/four.py": "h = 1"}
    wrong = made(**files)
    assert not rules.circles(wrong) and rules.circles_of_rooms(wrong, "a") == ["a/x <-> a/y"]


def test_arrows_inside_core_point_down(made):
    files = {
        "a/__init__.py": "",
        "a/low/__init__.py": "",
        "a/low/one.py": "f = 1",
        "a/mid.py": "from .low.one import f",
    }
    right = made(**files, **{"a/high.py": "from .mid import f"})
    assert not rules.upward(right, "a", ["low", "mid", "high"])
    found = ["a/high.py imports a/mid.py", "a/mid.py imports a/low/one.py"]
    assert rules.upward(right, "a", ["high", "mid", "low"]) == found
    assert rules.upward(right, "a", ["low", "mid"]) == ["a/high.py: high has no place in the order"]
    assert not rules.upward(HOUSE, "core", CORE)


def test_no_backend_imports_another(made):
    files = {"a/__init__.py": "from .x.one import f", "a/x/__init__.py": "", "a/x/one.py": "from .two import f"}
    right = made(**files, **{"a/x/two.py": "f = 1", "a/y/one.py": "", "a/three.py": ""})
    assert not rules.neighbours(right, "a")
    wrong = made(**{"a/y/one.py": "from .. import f", "a/three.py": "def g():\n    from .x.one import f"})
    assert rules.neighbours(wrong, "a") == ["a/three.py imports a/x/one.py", "a/y/one.py imports a/x/one.py"]
    assert (ROOT / "core" / "backends" / "reference.py").is_file()
    assert not rules.neighbours(HOUSE, "core/backends")


def test_no_private_name_is_used_in_another_folder():
    assert not rules.private(HOUSE, *PACKAGES, *SCRIPTS)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ("from a.x.one import _f", "b/m.py:1 takes a.x.one._f"),
        ("from a.x import one\n\none._f()", "b/m.py:3 takes a.x.one._f"),
        ("from a.x._two import g", "b/m.py:1 takes a.x._two.g"),
        ("from a.x.one import C\n\nC()._method()", "b/m.py:3 reads ._method of a/x"),
        ("def f(c):\n    return c._field", "b/m.py:2 reads ._field of a/x"),
        ("from a.x.one import C\n\nclass D(C):\n    def _method(self): ...", "b/m.py:3 overrides C._method"),
    ],
)
def test_private_names_are_found(made, use, said):
    one = """
        def _f(): ...

        class C:
            def __init__(self):
                self._field = 1

            def _method(self): ...
    """
    files = {"a/__init__.py": "", "a/x/__init__.py": "", "a/x/one.py": one, "a/x/_two.py": "g = 1"}
    near = made(**files, **{"a/x/m.py": use})
    assert not rules.private(near, "a")
    assert said in rules.private(made(**{"b/__init__.py": "", "b/m.py": use}), "b")


def test_a_system_can_be_removed(made):
    assert not [system for system in SYSTEMS if not (ROOT / system / "task.py").is_file()]
    assert not rules.strangers(HOUSE, SYSTEMS)
    files = {f"a/{name}/__init__.py": "" for name in ("red", "blue", "room")}
    files |= {"a/__init__.py": "from .red.task import f", "a/red/task.py": "from ..room.thing import g\nf = g"}
    right = made(**files, **{"a/room/thing.py": "g = 1"})
    assert not rules.strangers(right, ["a/red", "a/blue"])
    wrong = made(**{"a/blue/task.py": "from ..red.task import f", "a/room/other.py": "from a import f"})
    found = ["a/blue/task.py imports a/red", "a/room/other.py imports a/red"]
    assert rules.strangers(wrong, ["a/red", "a/blue"]) == found


def test_tests_mirror_the_packages(made):
    files = {"a/__init__.py": "from .x.one import f", "a/x/__init__.py": "", "a/x/one.py": "def f(): ..."}
    right = made(**files, **{"tests/a/x/test_one.py": "", "tests/c/test_c.py": ""})
    assert not rules.unmirrored(right)
    wrong = made(**{"tests/a/gone/test_it.py": "", "a/y/two.py": "class C: ...", "tests/a/y/fakes.py": ""})
    assert rules.unmirrored(wrong) == ["tests/a/gone: no such folder in the packages", "a/y: no tests/a/y/test_*.py"]
    assert not rules.unmirrored(HOUSE)


def test_scripts_are_flat_and_share_by_folders(made):
    assert not rules.untidy(HOUSE, *SCRIPTS)
    script = 'if __name__ == "__main__":\n    print(1)\n'
    right = made(**{"demos/a_one.py": f"from words.two import f\n{script}", "demos/words/two.py": "f = 1"})
    assert rules.untidy(right, "demos") == ["demos/words: no package"]
    files = {"demos/words/__init__.py": "", "demos/_two.py": "f = 1", "demos/a_three.py": f"import a_one\n{script}"}
    files |= {"demos/words/four.py": script, "demos/torch/__init__.py": "", "demos/a_one/__init__.py": ""}
    assert rules.untidy(made(**files), "demos") == [
        "demos/_two.py: no script, so it belongs into a sub-folder",
        "demos/a_three.py: imports the script a_one",
        "demos/words/four.py: a script in a sub-folder",
        "demos/a_one: hides another module",
        "demos/torch: hides another module",
    ]


def test_docs_and_configs_are_flat(made):
    assert not [name for name in rules.steep(HOUSE, "docs", 0, [".md"]) if not name.startswith("docs/images/")]
    assert not rules.steep(HOUSE, "docs/images", 0, [".png", ".svg"])
    assert not rules.steep(HOUSE, "configs", 1, [".yaml"])
    wrong = made(**{"configs/a/x.yaml": "", "configs/y.yaml": "", "configs/a/deep/z.yaml": "", "configs/a/x.py": ""})
    assert rules.steep(wrong, "configs", 1, [".yaml"]) == ["configs/a/deep/z.yaml", "configs/a/x.py", "configs/y.yaml"]


def test_others_take_only_what_is_public():
    assert not rules.deep(HOUSE, *PACKAGES, *SCRIPTS, "docs", "README.md", "CONTRIBUTING.md")


@pytest.mark.parametrize(
    ("use", "public"),
    [
        ("from a import f", True),
        ("from a.x import C", True),
        ("from a import x\n\nx.C", True),
        ("import a\n\na.x.C", True),
        ("from a.open import g", True),
        ("from a import open\n\nopen.g", True),
        ("from a.x.one import C", False),
        ("from a import x\n\nx.D", False),
        ("import a.x.one", False),
        ("import a\n\na.x.one.C", False),
        ("from a.x import D", False),
        ("from a import _hidden", False),
        ("from a.open import _h", False),
        ("from a.open import C", False),
        ("def f():\n    from a.x.one import C", False),
    ],
)
def test_what_is_public(made, use, public):
    files = {
        "a/__init__.py": 'from . import open, x\nfrom .open import _hidden, g as f\n__all__ = ["f", "open", "x"]',
        "a/open.py": "from .x.one import C\ng = 1\n_h = _hidden = 2",
        "a/x/__init__.py": 'from .one import C, D\n__all__ = ["C"]',
        "a/x/one.py": "class C: ...\nclass D: ...",
    }
    house = made(**files, **{"b/m.py": use, "page.md": f"A page.\n\n```python\n{use}\n```\n"})
    assert bool(rules.deep(house, "b")) != public
    assert bool(rules.deep(house, "page.md")) != public
    assert not rules.deep(house, "a")
