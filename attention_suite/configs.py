"""`attention-suite configs`: the configurations that come along, listed, shown and copied."""

import argparse
from pathlib import Path

from .messages import nearest
from .parser import CommandParser

ABOUT = "The configurations that come along; `attention-suite fit --config FILE` runs one."


def folder() -> Path:
    """Where they stand: inside the package of a wheel, or in the checkout.

    Raises:
        FileNotFoundError: There is neither.
    """
    root = Path(__file__).resolve().parents[1]
    for place in (root / "core" / "training" / "configs", root / "configs"):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"configs: expected a folder in {root}, got none")


def names() -> list[str]:
    """Their names, such as vision/digits."""
    place = folder()
    return sorted(path.relative_to(place).with_suffix("").as_posix() for path in place.glob("*/*.yaml"))


def read(name: str) -> str:
    """The text of one.

    Raises:
        ValueError: There is none of this name.
    """
    known = names()
    short = name.removesuffix(".yaml")
    if short not in known:
        raise ValueError(f"NAME: expected one of `attention-suite configs`, got {name!r}{nearest(short, known)}")
    return (folder() / f"{short}.yaml").read_text(encoding="utf-8")


def copy(name: str, file: Path) -> Path:
    """Write one to a new file, or into a folder under its own name; answer where.

    Raises:
        FileExistsError: Nothing is overwritten.
    """
    text = read(name)
    target = file / f"{name.removesuffix('.yaml').rpartition('/')[2]}.yaml" if file.is_dir() else file
    try:
        with target.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise FileExistsError(f"FILE: expected a new file, got {target}, which is there already") from None
    return target


def run(arguments: list[str]) -> int:
    """Run `configs`, `configs cat NAME` or `configs cp NAME FILE`."""
    parser = CommandParser(prog="attention-suite configs", description=ABOUT)
    choices = parser.add_subparsers(dest="action", metavar="{cat,cp}", help="without one: list their names")
    cat = choices.add_parser("cat", help="print one", description="Print a configuration.")
    cp = choices.add_parser("cp", help="copy one to a new file", description="Copy a configuration to a new file.")
    for one in (cat, cp):
        one.add_argument("name", metavar="NAME", help="as `attention-suite configs` lists it: vision/digits")
    cp.add_argument("file", metavar="FILE", type=Path, help="a new file, or a folder")
    options: argparse.Namespace = parser.parse_args(arguments[1:])
    if options.action == "cat":
        print(read(options.name), end="")
    elif options.action == "cp":
        print(f"wrote {copy(options.name, options.file)}")
    else:
        for name in names():
            print(f"{name:<28} {read(name).partition(chr(10))[0].lstrip('# ').rstrip(':')}")
    return 0
