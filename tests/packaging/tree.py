"""The source tree as the packaging tests see it: tracked files, packages, imports."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOMAINS = ("vision", "genomics", "graphs", "timeseries")
PACKAGES = ("attention_suite", "core", *DOMAINS)
HEAVY = (
    "lightning",
    "timm",
    "Bio",
    "torch_geometric",
    "sklearn",
    "scipy",
    "pandas",
    "matplotlib",
    "captum",
    "statsmodels",
)
"""What `import core` must never load."""


class Import(NamedTuple):
    """One import statement: where it is, what it names in full, and whether it is relative or inside a function."""

    file: Path
    line: int
    module: str
    relative: bool
    deferred: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


@cache
def committed() -> tuple[Path, ...]:
    """The files that git tracks; in an unpacked sdist, all that it holds."""
    return _listed("--cached")


@cache
def tracked() -> tuple[Path, ...]:
    """These, and the files that are to be committed next: untracked and not ignored."""
    return _listed("--cached", "--others", "--exclude-standard")


def _listed(*options: str) -> tuple[Path, ...]:
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", *options]
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return tuple(sorted({ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()}))
    skip = {"__pycache__", "runs", "lightning_logs", "build", "dist"}
    return tuple(
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and path.name != "PKG-INFO" and not (skip | _hidden(path)) & set(_parts(path))
    )


def _parts(path: Path) -> tuple[str, ...]:
    return path.relative_to(ROOT).parts


def _hidden(path: Path) -> set[str]:
    kept = {".ci", ".gitignore", ".pre-commit-config.yaml"}
    return {part for part in _parts(path) if part.startswith(".") and part not in kept}


def sources(package: str) -> list[Path]:
    """The Python files of a package."""
    return [path for path in tracked() if path.suffix == ".py" and path.is_relative_to(ROOT / package)]


def _for_types_alone(node: ast.AST) -> bool:
    """Whether a statement is `if TYPE_CHECKING:` without an else."""
    return (
        isinstance(node, ast.If)
        and not node.orelse
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def imports(path: Path) -> list[Import]:
    """Every import in a file; relative ones are resolved to their full names."""
    module = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    deferred = {
        id(node)
        for function in ast.walk(module)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) or _for_types_alone(function)
        for node in ast.walk(function)
    }
    package = path.relative_to(ROOT).parent.parts
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names = [(alias.name, False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [(stem, node.level > 0)] if node.module else [(f"{stem}.{a.name}", True) for a in node.names]
        else:
            continue
        found += [Import(path, node.lineno, name, relative, id(node) in deferred) for name, relative in names]
    return found


def is_standard(name: str) -> bool:
    """Whether a top-level module belongs to Python itself."""
    return name in sys.stdlib_module_names
