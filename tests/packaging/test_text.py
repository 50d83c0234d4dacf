"""What the pages say can be typed exists, their Python runs, and no file names the machine that it was made on."""

import inspect
import re
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import core
from core import biases, masks

from .tree import ROOT, tracked

PAGES = [path for path in tracked() if path.suffix == ".md"]
FOLDERS = "configs|demos|benchmarks|tests|docs|core|vision|genomics|graphs|timeseries"
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
MACHINE = re.compile(r"(?<![\w.:/-])/(" + "|".join(("work", "root", "opt", "home")) + r")(/|\b)")
"""Absolute paths of one machine."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands(page: Path) -> list[str]:
    """What stands in code: fenced or indented blocks, and `spans`."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```(?!python)\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    indented = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    return [line.strip() for block in [*blocks, *indented] for line in block.splitlines()] + spans


def test_the_pages_are_found():
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/attention.md"} <= {name(page) for page in PAGES}
    assert "make demo" in commands(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_targets_configs_and_scripts_that_a_page_names_exist(page):
    missing = []
    for command in commands(page):
        missing += [f"make {t}" for t in re.findall(r"\bmake ([a-z]+)\b", command) if t not in TARGETS]
        files = re.findall(rf"\b((?:{FOLDERS})/[\w/.-]+\.(?:py|yaml|md))", command)
        missing += [file for file in files if not (ROOT / file).is_file() and file != "docs/benchmarks.md"]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_within_the_project_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    inside = [link.partition("#")[0] for link in links if "://" not in link]
    assert not [link for link in inside if link and not (page.parent / link).exists()]


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text("utf-8")], ids=name)
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # of lightning 2.6 with torch 2.14
@pytest.mark.filterwarnings("ignore:The '.*' does not have many workers")
@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_python_in_a_page_runs(page, capsys):
    """The blocks of a page are one program; they hold assertions of their own."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    before = [text[: text.index(block)].count("\n") for block in blocks]
    namespace: dict[str, object] = {}
    for block, lines in zip(blocks, before, strict=True):
        exec(compile("\n" * lines + textwrap.dedent(block), str(page), "exec"), namespace)


def concrete(package: ModuleType, base: type) -> set[str]:
    """The public masks or biases that say something themselves: no bases, helpers or combinations by & | ~ +."""
    public = {one: getattr(package, one) for one in package.__all__}
    kinds = {one: kind for one, kind in public.items() if isinstance(kind, type) and issubclass(kind, base)}
    combinations = (masks.And, masks.Or, masks.Not, biases.Sum)
    return {one for one, kind in kinds.items() if not inspect.isabstract(kind) and kind not in combinations}


def test_the_page_on_attention_lists_every_mask_and_bias():
    page = (ROOT / "docs" / "attention.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `(\w+)(?:\(|\.from)", page, re.MULTILINE))
    assert listed == concrete(masks, masks.Mask) | concrete(biases, biases.Bias)


def test_the_readme_counts_every_extra():
    rows = re.findall(r"^\| (?:`[a-z]+`(?:, )?)+ \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    named = {extra for row in rows for extra in re.findall(r"`([a-z]+)`", row)}
    assert named == {"train", "vision", "genomics", "graphs", "timeseries", "viz", "data", "all", "dev"}


def test_every_system_has_its_row_in_the_readme():
    table = (ROOT / "README.md").read_text("utf-8").partition("## What works now")[2]
    rows = [row.split("|")[1].strip() for row in re.findall(r"^\| [A-Z]\d.*$", table, re.MULTILINE)]
    found = []
    for row in rows:
        if " - " in row:
            first, last = row.split(" - ")
            found += [f"{first[0]}{k}" for k in range(int(first[1:]), int(last[1:]) + 1)]
        else:
            found += row.split(", ")
    counts = {"C": 19, "V": 6, "G": 3, "N": 5, "T": 3}
    assert sorted(found) == sorted(f"{letter}{k + 1}" for letter, count in counts.items() for k in range(count))


def test_no_file_names_the_machine_that_it_was_made_on():
    found = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in tracked()
        for number, line in enumerate(path.read_text("utf-8", errors="ignore").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert not found


def test_the_search_for_machine_paths_finds_them():
    for word in ("work", "root", "opt", "home"):
        assert MACHINE.search(f"see /{word}/main") and MACHINE.search(f"'/{word}'")
        assert not MACHINE.search(f"a/{word}/b") and not MACHINE.search(f"https://example.org/{word}/b")


def test_the_changelog_begins_with_what_is_unreleased():
    heads = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heads[0] == "Unreleased" and core.__version__ in heads


def test_pre_commit_runs_what_make_lint_runs_and_downloads_nothing():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    entries = hooks["repos"][0]["hooks"]
    assert {hook["language"] for hook in entries} == {"system"}
    lint = (ROOT / "Makefile").read_text("utf-8").partition("lint:")[2].partition("\n\n")[0]
    for hook in entries:
        tool = " ".join(hook["entry"].split()[:2]) if hook["entry"].startswith("ruff") else hook["entry"]
        assert tool in lint


def test_ci_runs_the_readmes_test_command_last():
    script = (ROOT / ".ci" / "run").read_text("utf-8").strip().splitlines()
    assert script[-1] == "make test" and "make test" in commands(ROOT / "README.md")
    assert "set -euo pipefail" in script and (ROOT / ".ci" / "run").stat().st_mode & 0o111
