"""Keep a prepared table beside its source, or not at all: a file is whole and of the very same source, or not used.

The name of a cached file is the hash of the source's content, of all options and of the suite's version. It is written
beside its place and renamed when it is complete; when it is read, the checksum of every array is verified. Arrays and
text only: nothing in it can run.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core import __version__
from core.training import replacing

from ..read_report import ReadReport
from ..records import EventRecords
from .tables import ReadTable

FORMAT = 2
_ARRAYS = ("subjects", "offsets", "time", "code", "value", "unit", "text", "static")
_NAMES = ("codes", "units", "texts", "static_names", "static_flags")


def cached(
    folder: str | Path | None, source: Callable[[], str], options: Mapping[str, Any], build: Callable[[], ReadTable]
) -> ReadTable:
    """The table of the cache, or else the one that is built, which is then kept.

    Args:
        folder: Where tables are kept; None keeps none.
        source: Answers a hash of the source's content, see `core.training.hash_files`.
        options: All that the table depends on besides; what JSON can hold.
        build: Reads the source.
    """
    if folder is None:
        return build()
    path = Path(folder) / f"events-{key(source(), options)}.npz"
    found = load(path)
    if found is None:
        found = build()
        save(path, found)
    return found


def key(source: str, options: Mapping[str, Any]) -> str:
    """A name for what the table depends on: source, options, format and the version of the suite."""
    text = json.dumps([FORMAT, __version__, source, options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def save(path: Path, found: ReadTable) -> None:
    """Write a table and its report as one file, whole or not at all."""
    table, report = found
    names = {name: list(getattr(table, name)) for name in _NAMES}
    text = json.dumps({"format": FORMAT, "names": names, "clock": table.clock, "report": asdict(report)})
    with replacing(path) as temporary, temporary.open("wb") as file:
        arrays = {name: getattr(table, name) for name in _ARRAYS}
        np.savez(file, about=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)


def load(path: Path) -> ReadTable | None:
    """The table of a file; None where there is no file, or none that is whole and sound."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            about = json.loads(stored["about"].tobytes().decode())
            if about["format"] != FORMAT:
                return None
            arrays = {name: stored[name] for name in _ARRAYS}
        names = {name: tuple(values) for name, values in about["names"].items()}
        return ReadTable(EventRecords(**arrays, **names, clock=about["clock"]), ReadReport.restore(about["report"]))
    except Exception:  # a damaged archive can raise nearly anything; whatever it is, the file is not used
        return None
