"""A tree of packages as the rules of the house see it: files, folders, what each file imports, and from where."""

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple


class Use(NamedTuple):
    """What a file takes from a module: `from module import name`, or `module.name`; name "" for the module itself."""

    file: Path
    line: int
    module: str
    name: str


class House:
    """A tree of packages, read without being imported.

    Args:
        root: The folder that holds them.
        packages: Top-level packages.
        files: The files that count; None for all below `root`.
    """

    def __init__(self, root: Path, packages: Iterable[str], files: Iterable[Path] | None = None) -> None:
        self.root = root
        self.packages = tuple(packages)
        self.files = sorted(files if files is not None else (path for path in root.rglob("*") if path.is_file()))
        self._known = set(self.files)
        self._reexports: dict[str, dict[str, tuple[str, str]]] = {}
        self._trees: dict[Path, ast.Module] = {}
        self._nodes: dict[Path, list[ast.AST]] = {}
        self._uses: dict[Path, list[Use]] = {}

    def name(self, path: Path) -> str:
        """The path of a file or folder, from the root."""
        return path.relative_to(self.root).as_posix()

    def below(self, *folders: str) -> list[Path]:
        """The files below folders."""
        return [path for path in self.files if any(path.is_relative_to(self.root / folder) for folder in folders)]

    def python(self, *folders: str) -> list[Path]:
        """The Python files below folders."""
        return [path for path in self.below(*folders) if path.suffix == ".py"]

    def folders(self, *tops: str) -> list[Path]:
        """Every folder below `tops` that holds a file, itself or further below; the tops included."""
        return sorted(
            {parent for path in self.below(*tops) for parent in path.parents} - {self.root, *self.root.parents}
        )

    def tree(self, path: Path) -> ast.Module:
        """A file, parsed once."""
        if path not in self._trees:
            self._trees[path] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        return self._trees[path]

    def nodes(self, path: Path) -> list[ast.AST]:
        """Every node of a file."""
        if path not in self._nodes:
            self._nodes[path] = list(ast.walk(self.tree(path)))
        return self._nodes[path]

    def file_of(self, module: str) -> Path | None:
        """The file of a module of ours: its own, or the `__init__` of a package."""
        base = self.root.joinpath(*module.split("."))
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path in self._known:
                return path
        return None

    def is_package(self, module: str) -> bool:
        """Whether a module is a folder."""
        return self.root.joinpath(*module.split("."), "__init__.py") in self._known

    def exported(self, module: str) -> set[str]:
        """The names in a module's `__all__`; none without it."""
        path = self.file_of(module)
        for node in self.tree(path).body if path else ():
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
            ):
                return set(ast.literal_eval(node.value))
        return set()

    def reexports(self, module: str) -> dict[str, tuple[str, str]]:
        """Name -> (module, name) of what a module, most of all the `__init__` of a package, imports from ours."""
        if module not in self._reexports:
            path = self.file_of(module)
            assert path is not None
            found = [one[1:] for one in self.statements(path, self.nodes(path))]
            own = {alias: (source, name) for source, name, alias in found if name and (source, name) != (module, alias)}
            self._reexports[module] = own
        return self._reexports[module]

    def is_module(self, module: str, name: str) -> bool:
        """Whether `from module import name` answers a module, not a name of the same spelling in the `__init__`."""
        found = self.file_of(f"{module}.{name}") is not None
        return found and self.is_package(module) and name not in self.reexports(module)

    def statements(self, path: Path, nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str, str, str]]:
        """(line, module, name, alias) of every import of ours, wherever it stands; name "" for `import module`."""
        package = path.relative_to(self.root).parent.parts
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.partition(".")[0] in self.packages:
                        yield node.lineno, alias.name, "", alias.asname or alias.name
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else ()
                module = ".".join([*base, *([node.module] if node.module else [])])
                if module.partition(".")[0] in self.packages:
                    for alias in node.names:
                        yield node.lineno, module, alias.name, alias.asname or alias.name

    def uses(self, path: Path) -> list[Use]:
        """What a file takes from modules of ours: deferred imports and those for types count as all others do.

        Of a module that is imported whole, each attribute that is read by that module's name is a use too.
        """
        if path not in self._uses:
            self._uses[path] = self.uses_in(path, self.nodes(path))
        return self._uses[path]

    def uses_in(self, path: Path, nodes: list[ast.AST]) -> list[Use]:
        """The same for the code of a page, whose nodes are given."""
        found, whole = [], {}
        for line, module, name, alias in self.statements(path, nodes):
            found.append(Use(path, line, module, name))
            if not name or self.is_module(module, name):
                whole[alias] = f"{module}.{name}" if name else module
        for node in nodes if whole else ():
            parts = _dotted(node)
            for k in range(1, len(parts)):
                if ".".join(parts[:k]) in whole:
                    found += self._read(path, node.lineno, whole[".".join(parts[:k])], parts[k:])
        return found

    def _read(self, path: Path, line: int, module: str, parts: list[str]) -> Iterator[Use]:
        yield Use(path, line, module, parts[0])
        if parts[1:] and self.is_module(module, parts[0]):
            yield from self._read(path, line, f"{module}.{parts[0]}", parts[1:])

    def home(self, module: str, name: str) -> Path | None:
        """The file that defines what `from module import name` answers: packages are looked through.

        A name that an `__init__` imports is followed to where it comes from; one that it defines itself, or makes by
        code, is at home in the `__init__`, and so is a package that is imported whole.
        """
        seen = set()
        while name and self.is_package(module):
            if (module, name) in seen:
                raise ValueError(f"{module}.{name}: expected a file that defines it, got a circle of imports")
            seen.add((module, name))
            if name in self.reexports(module):
                module, name = self.reexports(module)[name]
            elif self.is_module(module, name):
                module, name = f"{module}.{name}", ""
            else:
                break
        return self.file_of(module)

    @cached_property
    def arrows(self) -> dict[Path, set[Path]]:
        """File -> the files that define what it imports, within the packages."""
        found: dict[Path, set[Path]] = {}
        for path in self.python(*self.packages):
            homes = {self.home(use.module, use.name) for use in self.uses(path)}
            found[path] = {home for home in homes if home is not None and home != path}
        return found


def _dotted(node: ast.AST) -> list[str]:
    """The parts of a.b.c; none for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return [*before, node.attr] if before else []
    return []
