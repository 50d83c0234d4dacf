"""What a user reads whose installation lacks an extra: one line, and it mends the matter."""

import subprocess
import sys

import pytest

from core.extras import MissingExtraError

from .tree import HEAVY, ROOT

BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
"""


def without(code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    """Run `code` where the packages `blocked` are not installed."""
    script = BLOCK.format(blocked=blocked) + code
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)


def test_the_message_names_who_what_and_the_cure():
    error = MissingExtraError("vision", ModuleNotFoundError("No module named 'timm'", name="timm"), "vision")
    assert str(error) == 'vision needs timm: pip install "attention-suite[vision]"'
    assert error.name == "timm" and error.extra == "vision"
    assert isinstance(error, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("module", "blocked", "extra"),
    [
        ("core.training", "lightning", "train"),
        ("core.training", "torchmetrics", "train"),
        ("vision", "timm", "vision"),
        ("vision", "sklearn", "vision"),
        ("vision", "lightning", "vision"),
        ("genomics", "Bio", "genomics"),
        ("graphs", "torch_geometric", "graphs"),
        ("timeseries", "sklearn", "timeseries"),
    ],
)
def test_the_last_line_names_the_extra(module, blocked, extra):
    done = without(f"from {module} import Task" if module == "core.training" else f"import {module}", blocked)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert blocked in last and last.endswith(f'pip install "attention-suite[{extra}]"'), done.stderr


def test_core_works_without_any_extra():
    code = "import core, torch; q = torch.ones(1, 1, 2, 4); assert core.attend(q, q, q).shape == q.shape"
    done = without(code, "numpy", *HEAVY)
    assert done.returncode == 0, done.stderr


def test_the_command_line_says_the_cure_in_one_line():
    code = "import sys; sys.argv = ['attention-suite', '--help']; from core.training.cli import main; main()"
    for blocked in ("lightning", "torchmetrics", "jsonargparse"):
        done = without(code, blocked)
        assert done.returncode == 1
        cure = f'core.training needs {blocked}: pip install "attention-suite[train]"'
        assert done.stderr.strip() == f"attention-suite: error: {cure}"


def test_the_command_line_lives_on_without_a_domain():
    code = "import sys; sys.argv = ['attention-suite', '--help']; from core.training.cli import main; main()"
    done = without(code, "timm")
    assert done.returncode == 0, done.stderr
    assert 'vision needs timm: pip install "attention-suite[vision]"' in done.stdout + done.stderr
