"""The rules of the house, one function each: it reads a `House` and answers a line for all that breaks the rule."""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from .house import House, Use

MOST_FILES = 15
MOST_LINES = 350
REFUSED = {"common", "helper", "helpers", "lib", "misc", "shared", "tools", "util", "utils"}
"""Names of folders that do not say what they hold."""
REASON = re.compile(r"\(long: \S+ \S+ \S+.*\)")
"""How the first line of a file that is longer says why."""


def crowded(house: House, *tops: str) -> list[str]:
    """Folders with more Python files on their floor than a reader takes in."""
    floors: dict[Path, int] = defaultdict(int)
    for path in house.python(*tops):
        floors[path.parent] += 1
    return [f"{house.name(folder)}: {count} files" for folder, count in floors.items() if count > MOST_FILES]


def vague(house: House, *tops: str) -> list[str]:
    """Folders and files whose names do not say what they hold."""
    named = [*house.folders(*tops), *house.python(*tops)]
    return [house.name(path) for path in named if path.stem.strip("_") in REFUSED]


def long(house: House, *tops: str) -> list[str]:
    """Files of many lines whose first line gives no reason: "(long: ...)"."""
    texts = {path: path.read_text(encoding="utf-8").splitlines() for path in house.python(*tops)}
    over = {path: lines for path, lines in texts.items() if len(lines) > MOST_LINES}
    return [f"{house.name(path)}: {len(lines)} lines" for path, lines in over.items() if not REASON.search(lines[0])]


def circles(house: House) -> list[str]:
    """Files that import each other, on whatever way round.

    Every import statement is an arrow, deferred ones and those under TYPE_CHECKING too, to the file that defines the
    name: a name from a package is followed through its `__init__`. An `__init__` is an end of an arrow only if the name
    is defined in it, or the package is taken whole; its own imports are arrows like any.
    """
    return [" <-> ".join(map(house.name, group)) for group in _circles(house.arrows)]


def circles_of_rooms(house: House, *domains: str) -> list[str]:
    """Rooms of a domain, the folders on its floor, whose files import each other's; the domain's own files aside."""
    arrows: dict[str, set[str]] = defaultdict(set)
    for path, homes in house.arrows.items():
        ends = [house.name(end).split("/") for end in (path, *homes)]
        rooms = ["/".join(parts[:2]) for parts in ends if len(parts) > 2 and parts[0] in domains]
        if len(ends[0]) > 2 and rooms:
            arrows[rooms[0]] |= set(rooms[1:]) - {rooms[0]}
    return [" <-> ".join(group) for group in _circles(arrows)]


def _circles(arrows: Mapping[Any, Collection[Any]]) -> list[tuple[Any, ...]]:
    reach: dict[Any, set[Any]] = {}
    for start in list(arrows):
        seen, ahead = set(), list(arrows[start])
        while ahead:
            end = ahead.pop()
            if end not in seen:
                seen.add(end)
                ahead += arrows.get(end, ())
        reach[start] = seen
    on = [start for start in reach if start in reach[start]]
    return sorted({tuple(sorted(o for o in on if o in reach[start] and start in reach[o])) for start in on})


def private(house: House, *users: str) -> list[str]:
    """Names with a leading underscore that a file takes from another folder of the packages.

    By import, as a module's or an object's attribute (an underscored attribute that its own folder does not define and
    another one does), or by overriding it in a subclass.
    """
    defined: dict[str, set[Path]] = defaultdict(set)
    for path in house.python(*house.packages):
        for name in _private_definitions(house.nodes(path)):
            defined[name].add(path.parent)
    found = []
    for path in house.python(*users):
        for use in house.uses(path):
            home = house.home(use.module, use.name) or house.file_of(use.module)
            hidden = [part for part in [*use.module.split("."), use.name] if _is_private(part)]
            if hidden and home is not None and home.parent != path.parent:
                found.append(f"{house.name(path)}:{use.line} takes {use.module}.{use.name}")
        for node in house.nodes(path):
            if isinstance(node, ast.Attribute) and _is_private(node.attr):
                owners = defined.get(node.attr, set())
                if owners and path.parent not in owners:
                    where = ", ".join(sorted(map(house.name, owners)))
                    found.append(f"{house.name(path)}:{node.lineno} reads .{node.attr} of {where}")
            if isinstance(node, ast.ClassDef):
                found += _overrides(house, path, node)
    return found


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _private_definitions(nodes: Iterable[ast.AST]) -> set[str]:
    """Underscored members of classes: methods, fields, attributes that are set on `self`."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            names |= _methods(node)
            targets = [t for one in node.body if isinstance(one, ast.Assign) for t in one.targets]
            targets += [one.target for one in node.body if isinstance(one, ast.AnnAssign)]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
    return {name for name in names if _is_private(name)}


def _methods(node: ast.ClassDef) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {one.name for one in node.body if isinstance(one, kinds) and _is_private(one.name)}


def _overrides(house: House, path: Path, node: ast.ClassDef) -> list[str]:
    """The private methods of a class that a base in another folder has too."""
    own, found = _methods(node), []
    for base_path, base in _bases(house, path, node):
        if base_path.parent != path.parent:
            shared = sorted(own & _methods(base))
            found += [f"{house.name(path)}:{node.lineno} overrides {base.name}.{name}" for name in shared]
    return found


def _bases(house: House, path: Path, node: ast.ClassDef) -> Iterable[tuple[Path, ast.ClassDef]]:
    imported = {alias: (module, name) for _, module, name, alias in house.statements(path, house.nodes(path))}
    for base in node.bases:
        base = base.value if isinstance(base, ast.Subscript) else base
        if not isinstance(base, ast.Name):
            continue
        home, name = path, base.id
        if base.id in imported:
            module, name = imported[base.id]
            home = house.home(module, name) or path
        for other in house.tree(home).body:
            if isinstance(other, ast.ClassDef) and other.name == name and other is not node:
                yield home, other
                yield from _bases(house, home, other)


def upward(house: House, package: str, order: Collection[str]) -> list[str]:
    """Imports that point up: from a room of a package, or a file on its floor, to one that stands later in `order`."""
    ranks = {name: rank for rank, name in enumerate(order)}
    found = []
    for path, homes in house.arrows.items():
        room = _entry(house, package, path)
        if room in (None, "__init__"):
            continue
        if room not in ranks:
            found.append(f"{house.name(path)}: {room} has no place in the order")
            continue
        for entry, home in ((_entry(house, package, home), home) for home in homes):
            if entry is not None and ranks.get(entry, len(ranks)) > ranks[room]:
                found.append(f"{house.name(path)} imports {house.name(home)}")
    return sorted(found)


def neighbours(house: House, folder: str) -> list[str]:
    """Imports between the entries of a folder: its sub-folders, and the files on its floor but for `__init__`."""
    found = []
    for path, homes in house.arrows.items():
        own = _entry(house, folder, path)
        for home in homes if own not in (None, "__init__") else ():
            if _entry(house, folder, home) not in (None, own):
                found.append(f"{house.name(path)} imports {house.name(home)}")
    return sorted(found)


def _entry(house: House, folder: str, path: Path) -> str | None:
    """The file or sub-folder of a folder that a path belongs to."""
    if not path.is_relative_to(house.root / folder):
        return None
    return path.relative_to(house.root / folder).parts[0].removesuffix(".py")


def strangers(house: House, systems: Collection[str]) -> list[str]:
    """Imports that keep a system from being removed by deleting its folder.

    A system's files import no other system, and the files of shared rooms import none; the files on a domain's floor
    (its `__init__`, its command) may name all.
    """
    found = []

    def system_of(path: Path) -> str | None:
        return next((one for one in systems if path.is_relative_to(house.root / one)), None)

    for path, homes in house.arrows.items():
        if system_of(path) is None and path.parent.parent == house.root:
            continue
        reached = {system_of(home) for home in homes} - {None, system_of(path)}
        found += [f"{house.name(path)} imports {one}" for one in sorted(filter(None, reached))]
    return found


def unmirrored(house: House, tests: str = "tests") -> list[str]:
    """Folders of tests without the folder that they test, and folders with code without tests in theirs or below it."""
    sources = {f"{tests}/{house.name(folder)}": folder for folder in house.folders(*house.packages)}
    folders = house.folders(*(f"{tests}/{package}" for package in house.packages))
    found = [house.name(folder) for folder in folders if house.name(folder) not in {tests, *sources}]
    found = [f"{name}: no such folder in the packages" for name in found]
    holding = {path.parent for path in house.python(*house.packages) if _holds_code(house, path)}
    for mirror, folder in sources.items():
        if folder in holding and not any(path.name.startswith("test_") for path in house.python(mirror)):
            found.append(f"{house.name(folder)}: no {mirror}/test_*.py")
    return found


def _holds_code(house: House, path: Path) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) and node.name != "__getattr__" for node in house.nodes(path))


def untidy(house: House, *tops: str) -> list[str]:
    """What keeps folders of scripts from being scripts on the floor and what they share in sub-folders.

    A floor holds scripts alone, and none imports another. A sub-folder is a package without scripts, and its name is
    no module's: neither an installed one, nor ours, nor that of a script.
    """
    scripts = {path.stem for path in house.python(*tops) if path.parent.parent == house.root}
    taken = {*sys.stdlib_module_names, *metadata.packages_distributions(), *house.packages, *scripts}
    found = []
    for path in house.python(*tops):
        name, tree = house.name(path), house.tree(path)
        runs = any(isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in tree.body)
        if path.parent.parent == house.root:
            imported = {one.partition(".")[0] for one in _absolute(tree)} & scripts - {path.stem}
            found += [] if runs and path.stem != "__init__" else [f"{name}: no script, so it belongs into a sub-folder"]
            found += [f"{name}: imports the script {one}" for one in sorted(imported)]
        elif runs:
            found.append(f"{name}: a script in a sub-folder")
    for folder in house.folders(*tops):
        if folder.parent != house.root:
            name = house.name(folder)
            found += [] if folder / "__init__.py" in house.files else [f"{name}: no package"]
            found += [f"{name}: hides another module"] if folder.name in taken else []
    return found


def _absolute(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append(node.module or "")
    return found


def deep(house: House, *users: str) -> list[str]:
    """What files take from a top-level package other than their own, and is not public there.

    Public are the top-level packages, the packages in public ones, and the names in their `__all__`; where such a name
    is a module (`core.positions`), so are the names that it defines without an underscore.
    """
    found = []
    for path in house.below(*users):
        uses = house.uses(path) if path.suffix == ".py" else []
        if path.suffix == ".md":
            uses = house.uses_in(path, _nodes_of_page(path))
        for use in uses:
            if use.module.partition(".")[0] != house.name(path).partition("/")[0] and not _is_public(house, use):
                found.append(f"{house.name(path)}:{use.line} takes {use.module}.{use.name}".rstrip("."))
    return found


def _is_public(house: House, use: Use) -> bool:
    if use.name.startswith("__") and use.name != "__all__":
        return _is_public_module(house, use.module)
    if not _is_public_module(house, use.module):
        return False
    if not use.name or use.name in house.exported(use.module):
        return True
    if house.is_package(use.module):
        return house.is_package(f"{use.module}.{use.name}") and not _is_private(use.name)
    return not _is_private(use.name) and use.name not in house.reexports(use.module)


def _is_public_module(house: House, module: str) -> bool:
    parent, _, leaf = module.rpartition(".")
    if not parent:
        return True
    listed = leaf in house.exported(parent) or (house.is_package(module) and not _is_private(leaf))
    return listed and _is_public_module(house, parent)


def _nodes_of_page(path: Path) -> list[ast.AST]:
    """The Python of a page, whose blocks are one program."""
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return list(ast.walk(ast.parse("\n".join(blocks))))


def steep(house: House, folder: str, depth: int, suffixes: Collection[str]) -> list[str]:
    """Files of a folder that stand elsewhere than `depth` folders below it, or are of no kind that belongs there."""
    found = []
    for path in house.below(folder):
        within = PurePosixPath(house.name(path)).relative_to(folder).parts
        if len(within) != depth + 1 or path.suffix not in suffixes:
            found.append(house.name(path))
    return found
