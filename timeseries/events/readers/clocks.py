"""Times of events in hours, and the clock that they are on; clocks are never mixed."""

import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..records import Clock
from .cells import is_number, is_text, stripped

UNITS = {"seconds": 1 / 3600, "minutes": 1 / 60, "hours": 1.0, "days": 24.0}
_NAMES = {
    "relative": "a plain number (a relative time)",
    "naive": "a date and time without a zone",
    "utc": "a date and time with a zone",
}
_KINDS: tuple[tuple[Clock, pa.DataType], ...] = (
    ("relative", pa.float64()),
    ("naive", pa.timestamp("us")),
    ("utc", pa.timestamp("us", "UTC")),
)
_FINE = r"^(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{6})\d{1,3}(\D.*)?$"  # what lies below a microsecond is cut off
_ZONE = re.compile(r"\d\d:?\d\d.*(Z|[+-]\d\d(:?\d\d)?)$", re.IGNORECASE)


class Clockwork:
    """Turns columns of times into hours and holds them to one clock.

    Args:
        unit: Of times that are plain numbers: "seconds", "minutes", "hours" or "days".

    Attributes:
        clock: That of the times so far; None before the first.

    Raises:
        ValueError: The unit is not known.
    """

    def __init__(self, unit: str = "hours") -> None:
        if unit not in UNITS:
            raise ValueError(f"time_unit: expected one of {', '.join(UNITS)}, got {unit!r}")
        self.scale = UNITS[unit]
        self.clock: Clock | None = None
        self._first = ""

    def hours(self, column: pa.Array, where: Callable[[int], str]) -> np.ndarray:
        """Hours of each time; NaN where there is none.

        Plain numbers are on the clock "relative", dates and times without a zone on "naive", with a zone on "utc". What
        lies below a microsecond is cut off.

        Args:
            column: Numbers, dates, timestamps, or text: numbers or dates and times in ISO 8601 with up to 9 digits
                below the second. White space around a text does not count.
            where: Says where the n-th row of the column stands, for messages.

        Raises:
            ValueError: A time is on another clock than those before it, or is no time.
        """
        column = self.parse(column, where)
        kind = column.type
        if pa.types.is_null(kind) or column.null_count == len(column):
            return np.full(len(column), np.nan)
        if is_number(kind):
            try:
                hours = column.cast(pa.float64()).to_numpy(zero_copy_only=False) * self.scale
            except pa.ArrowInvalid as error:
                raise ValueError(f"{where(0)} ff.: expected times that float64 holds exactly, got {error}") from error
            if np.isinf(hours).any():
                raise ValueError(f"{where(int(np.isinf(hours).argmax()))}: expected a finite time, got an infinite one")
            clock: Clock = "relative"
        elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            clock = "utc" if pa.types.is_timestamp(kind) and kind.tz is not None else "naive"
            fine = pa.types.is_timestamp(kind) and kind.unit == "ns"
            stamps = column.cast(pa.timestamp("us", kind.tz if clock == "utc" else None), safe=not fine)
            hours = stamps.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) / 3.6e9
        else:
            raise ValueError(f"{where(0)}: expected times as numbers, timestamps or text, got {kind}")
        self._hold(clock, int(column.is_valid().index(True).as_py()), where)
        return hours

    def _hold(self, clock: Clock, row: int, where: Callable[[int], str]) -> None:
        if self.clock is None:
            self.clock, self._first = clock, where(row)
        elif clock != self.clock:
            raise ValueError(
                f"{where(row)}: expected {_NAMES[self.clock]}, as in {self._first}, got {_NAMES[clock]}; times of "
                "several kinds cannot be compared"
            )

    def parse(self, column: pa.Array, where: Callable[[int], str]) -> pa.Array:
        """Text as numbers or timestamps, whichever all of it is; what is no text stays as it is. See `hours`."""
        if not is_text(column.type):
            return column
        found = _cast(column)
        if found is not None:
            return found
        tidy = pc.replace_substring_regex(stripped(column), _FINE, r"\1\2")
        found = _cast(tidy)
        if found is not None:
            return found
        for row, (word, written) in enumerate(zip(tidy.to_pylist(), column.to_pylist(), strict=True)):
            if word is not None:
                clock = _clock_of(word)
                if clock is None:
                    hint = "" if _ZONE.search(word) is None else " (a zone is written Z or +01:00)"
                    raise ValueError(
                        f"{where(row)}: expected a number or a date and time in ISO 8601{hint}, got {written!r}"
                    )
                self._hold(clock, row, where)
        raise ValueError(f"{where(0)}: expected times of one kind, got several")


def _cast(column: pa.Array) -> pa.Array | None:
    """Text as the first kind of times that all of it is; None where there is no such kind."""
    for _, kind in _KINDS:
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    return None


def _clock_of(word: str) -> Clock | None:
    """The clock of one time; None if it is no time."""
    for clock, kind in _KINDS:
        try:
            pc.cast(pa.scalar(word), kind)
        except pa.ArrowInvalid:
            continue
        return clock
    return None
