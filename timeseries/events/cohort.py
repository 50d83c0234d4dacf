"""From a table of events and labels to samples: who is predicted, when, and from which events.

An event counts for a prediction if its time is not after the prediction time: prediction_time - window <= time <=
prediction_time. What lies after it is an error unless the caller asks for it to be left out, and is then counted.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from ..probabilities.outcomes import Kind
from .records import NONE, Clock, EventRecords
from .samples import EventSamples


@dataclass(frozen=True, eq=False)
class Labels:
    """What is to be predicted of whom, and when.

    Args:
        subjects: One per label; a subject may have several.
        prediction_time: Hours on the clock of the table that the labels belong to.
        target: As in `EventSamples`.
        kind: Which kind of target it is.
        target_names: Names of the classes or labels.
        clock: Must be that of the table.
        auxiliary: As in `EventSamples`; None for none.
        auxiliary_names: Of its columns.
        stamps: As in `EventSamples`; None makes them of `prediction_time`: hours, or timestamps in ISO 8601.
        repeated: Labels that repeated another one exactly and were left out.

    Shapes:
        subjects (N,) str; prediction_time (N,) float64; target (N,) or (N, K) float32; auxiliary (N, A) float32; stamps
        (N,) str or float64
    """

    subjects: np.ndarray
    prediction_time: np.ndarray
    target: np.ndarray
    kind: Kind = "binary"
    target_names: tuple[str, ...] = ()
    clock: Clock = "relative"
    auxiliary: np.ndarray | None = None
    auxiliary_names: tuple[str, ...] = ()
    stamps: np.ndarray | None = None
    repeated: int = 0


@dataclass(frozen=True)
class CohortReport:
    """How labels became samples.

    Args:
        samples: How many there are.
        after_prediction: Events after the prediction time, left out on request.
        before_window: Events before the window, left out.
        without_events: Samples without any event.
        strangers: Those of them whose subject is not in the table at all.
        left_out: Labels that were left out, by reason.
    """

    samples: int
    after_prediction: int = 0
    before_window: int = 0
    without_events: int = 0
    strangers: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        line = f"{self.samples:,} samples, {self.without_events:,} without events"
        line += f" ({self.strangers:,} of subjects that the events do not know)" if self.strangers else ""
        if self.after_prediction:
            line += f"; {self.after_prediction:,} events after the prediction time left out"
        if self.before_window:
            line += f"; {self.before_window:,} events before the window left out"
        return line + "".join(f"; {count:,} labels left out ({reason})" for reason, count in self.left_out.items())


class Cohort(NamedTuple):
    """Samples, and how they came about."""

    samples: EventSamples
    report: CohortReport


def build_samples(
    table: EventRecords,
    labels: Labels,
    *,
    after: Literal["error", "drop"] = "error",
    window: float | None = None,
    text: Literal["code", "flag"] = "code",
    without_events: Literal["keep", "drop", "error"] = "keep",
) -> Cohort:
    """Join labels with the events that lie before their prediction times.

    Times become hours since the subject's first event, if there is one before the prediction time, else since the
    prediction time (clocks "naive" and "utc"), or stay as they are ("relative").

    Args:
        table: Of events.
        labels: Of the same subjects, on the same clock.
        after: What to do with events after the prediction time of their sample: "error", or "drop" and count.
        window: Hours before the prediction time from which events count; None for all.
        text: "code" makes an event with a text one of its own code, "<code>=<text>"; "flag" forgets the text.
        without_events: What to do with labels that no event belongs to.

    Raises:
        ValueError: The clocks differ, no label's subject has events at all, an event lies after its prediction time
            (with "error"), or a label has no events (with "error").
    """
    for name, value, allowed in (
        ("after", after, ("error", "drop")),
        ("text", text, ("code", "flag")),
        ("without_events", without_events, ("keep", "drop", "error")),
    ):
        if value not in allowed:
            raise ValueError(f"{name}: expected {' or '.join(map(repr, allowed))}, got {value!r}")
    if window is not None and not window > 0:
        raise ValueError(f"window: expected hours above 0 or None, got {window}")
    if labels.clock != table.clock:
        raise ValueError(
            f"labels: expected prediction times on the clock of the events, {table.clock}, got {labels.clock}"
        )
    place = _places(table.subjects, labels.subjects)
    if len(place) and len(table) and (place == NONE).all():
        raise ValueError(
            f"labels: expected subjects of the event table (such as {str(table.subjects[0])!r}), got none of them "
            f"(such as {str(labels.subjects[0])!r})"
        )
    table = _text_as_code(table) if text == "code" else table
    known = place != NONE
    begins = np.append(table.offsets[:-1], 0)  # place -1 is the last entry: no events
    lengths = np.append(np.diff(table.offsets), 0)[place]
    start = begins[place]
    owner = np.repeat(np.arange(len(place)), lengths)
    event = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(start, lengths)
    origin = np.zeros(len(place))
    if table.clock != "relative":
        first = np.append(table.time, np.inf)[np.where(lengths > 0, start, len(table))]
        origin = np.minimum(first, labels.prediction_time)  # a first event that is still to come says nothing
    prediction = labels.prediction_time.astype(np.float64) - origin
    late = table.time[event] > labels.prediction_time[owner]
    early = np.zeros_like(late) if window is None else table.time[event] < labels.prediction_time[owner] - window
    keep = ~early if after == "error" else ~(late | early)
    static = np.full((len(place), len(table.static_names)), np.nan, dtype=np.float32)
    static[known] = table.static[place[known]]
    counts = np.bincount(owner[keep], minlength=len(place))
    samples = EventSamples(
        subjects=labels.subjects,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        time=(table.time[event] - origin[owner])[keep],
        prediction_time=prediction,
        code=table.code[event][keep],
        value=table.value[event][keep],
        codes=table.codes,
        static=static,
        static_names=table.static_names,
        static_flags=table.static_flags,
        target=labels.target,
        kind=labels.kind,
        target_names=labels.target_names,
        auxiliary=labels.auxiliary,  # type: ignore[arg-type]
        auxiliary_names=labels.auxiliary_names,
        stamps=_stamps(labels) if labels.stamps is None else labels.stamps,
    )
    empty = samples.lengths == 0
    report = CohortReport(
        len(samples),
        int(late.sum()) if after == "drop" else 0,
        int(early.sum()),
        int(empty.sum()),
        int((~known).sum()),
        {"exact repeats": labels.repeated} if labels.repeated else {},
    )
    if empty.any() and without_events == "error":
        raise ValueError(f"labels: expected events for every label, got none for {labels.subjects[empty][0]}")
    if empty.any() and without_events == "drop":
        samples = samples.select(~empty)
        left_out = {**report.left_out, "without events": report.without_events}
        report = replace(report, samples=len(samples), without_events=0, strangers=0, left_out=left_out)
    return Cohort(samples, report)


def iso(times: np.ndarray, clock: Clock) -> np.ndarray:
    """Timestamps as text in ISO 8601, seconds with as many decimals as they have; UTC ends in Z.

    Args:
        times: On that clock.
        clock: "naive" or "utc".

    Shapes:
        times (N,) datetime64; answer (N,) str
    """
    words = [word.rstrip("0").rstrip(".") if "." in word else word for word in np.datetime_as_string(times).tolist()]
    return np.array([word + "Z" for word in words] if clock == "utc" else words, dtype=np.str_)


def _stamps(labels: Labels) -> np.ndarray:
    hours = labels.prediction_time.astype(np.float64)
    if labels.clock == "relative":
        return hours
    return iso(np.round(hours * 3.6e9).astype(np.int64).astype("datetime64[us]"), labels.clock)


def _places(subjects: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted subject stands among the subjects; -1 where it does not."""
    if len(subjects) == 0:
        return np.full(len(wanted), NONE)
    order = np.argsort(subjects)
    found = order[np.minimum(np.searchsorted(subjects, wanted, sorter=order), len(subjects) - 1)]
    return np.where(subjects[found] == wanted, found, NONE)


def _text_as_code(table: EventRecords) -> EventRecords:
    """The same events; those with a text get the code "<code>=<text>"."""
    has = table.text != NONE
    if not has.any():
        return table
    pairs, number = np.unique(
        table.code[has].astype(np.int64) * len(table.texts) + table.text[has], return_inverse=True
    )
    codes = list(table.codes)
    places = {code: k for k, code in enumerate(codes)}
    numbers = np.empty(len(pairs), dtype=np.int32)
    for k, pair in enumerate(pairs.tolist()):
        name = f"{table.codes[pair // len(table.texts)]}={table.texts[pair % len(table.texts)]}"
        if name not in places:
            places[name] = len(codes)
            codes.append(name)
        numbers[k] = places[name]
    code = table.code.copy()
    code[has] = numbers[number]
    return replace(table, code=code, codes=tuple(codes))
