"""Write what the command's help reads: `python -m core.training.command.tables`.

To be run after a task or data module has come, gone or changed the first line of its docstring: a test compares the
files with what this module would write.
"""

import ast
import io
import json
import os
import sys
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from unittest.mock import patch

from attention_suite import CATALOGUE, COMMANDS, HELP, Offer, circumstances, is_own, registered

from .app import run
from .domains import offer


def main() -> None:
    """Write catalogue.json and the pages of --help."""
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def files() -> dict[Path, str]:
    """Each file with its text."""
    made = {HELP / f"{name}.txt": page(name) for name, entry in COMMANDS.items() if entry.trains}
    made[HELP / "made_with.json"] = _json(circumstances())
    made[CATALOGUE] = _json({name: _offer(point) for name, point in registered().items() if is_own(point)})
    return made


def page(command: str) -> str:
    """What the trainer's parser answers to --help on an endless terminal."""
    answer = io.StringIO()
    with patch.dict(os.environ, {"COLUMNS": "100000"}), redirect_stdout(answer):
        try:
            run([command, "--help"])
        except SystemExit:
            pass
    return answer.getvalue()


def _offer(point: EntryPoint) -> Offer:
    module = import_module(point.module)
    return {**offer(module), "needs": needed(module.__name__)}


def needed(package: str) -> list[str]:
    """The packages that importing a package imports, beside the standard library, ours and torch."""
    loaded = [module for name, module in sys.modules.items() if name == package or name.startswith(f"{package}.")]
    found = {
        name.partition(".")[0]
        for module in loaded
        if (file := getattr(module, "__file__", None)) is not None
        for name in _imported(ast.parse(Path(file).read_text(encoding="utf-8")))
    }
    return sorted(found - set(sys.stdlib_module_names) - {"attention_suite", "core", "torch", package})


def _imported(tree: ast.AST) -> list[str]:
    """The modules that a file names outside functions and `if TYPE_CHECKING:`, in full."""
    names: list[str] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.append(node.module)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            names += _imported(node)
    return names


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
