"""Whether the package `core` that Python finds is ours: a folder of that name beside a script would hide it."""

import importlib.util
import sys
from pathlib import Path


def check_core(part: str) -> None:
    """Refuse to go on with another `core`; called before anything is imported from it.

    Args:
        part: Who needs it: "vision".

    Raises:
        ImportError: Python finds another `core` first, or none; the message names what hides ours.
    """
    found, ours = _place(), Path(__file__).resolve().parents[1] / "core"
    if found == ours:
        return
    if found is None:
        raise ImportError(f"{part}: expected the package core of attention-suite at {ours}, got none", name="core")
    raise ImportError(
        f"{part}: expected the package core of attention-suite, got {found}, which hides it: rename that one, or start "
        "with `python -P`, which leaves the script's own folder off the path",
        name="core",
    )


def _place() -> Path | None:
    """The folder or file of `core`, whether it has been imported or would be."""
    module = sys.modules.get("core")
    if module is None:
        spec = importlib.util.find_spec("core")
        if spec is None:
            return None
        file, folders = spec.origin if spec.has_location else None, spec.submodule_search_locations
    else:
        file, folders = getattr(module, "__file__", None), getattr(module, "__path__", None)
    places = [Path(folder).resolve() for folder in folders or ()]
    return places[0] if places else None if file is None else Path(file).resolve()
