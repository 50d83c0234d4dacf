"""Small events with known contents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from timeseries import EventSamples

Event = tuple[float, str, float]


def samples(
    events: Sequence[Sequence[Event]],
    target: Sequence[float] | None = None,
    *,
    subjects: Sequence[str] | None = None,
    codes: Sequence[str] = ("a", "b"),
    at: float = 10.0,
    **options: object,
) -> EventSamples:
    """Samples of (time, code, value) events, all predicted at one time."""
    flat = [event for sample in events for event in sample]
    n = len(events)
    fields: dict = {
        "subjects": np.array(subjects if subjects is not None else [f"s{k}" for k in range(n)], dtype=np.str_),
        "offsets": np.cumsum([0, *(len(sample) for sample in events)]).astype(np.int64),
        "time": np.array([time for time, _, _ in flat], dtype=np.float64),
        "prediction_time": np.full(n, at),
        "code": np.array([list(codes).index(code) for _, code, _ in flat], dtype=np.int32),
        "value": np.array([value for _, _, value in flat], dtype=np.float32),
        "codes": tuple(codes),
        "static": np.zeros((n, 0), dtype=np.float32),
        "static_names": (),
        "target": np.array([k % 2 for k in range(n)] if target is None else target, dtype=np.float32),
    }
    return EventSamples(**{**fields, **options})


def drawn(n: int, seed: int = 0, *, codes: Sequence[str] = ("a", "b", "c"), longest: int = 12) -> EventSamples:
    """Random samples: the target depends on the mean of code a; values are missing at times, a sample may be empty."""
    rng = np.random.default_rng(seed)
    events, target = [], []
    for _ in range(n):
        times = np.sort(rng.integers(0, 40, rng.integers(0, longest + 1)) / 4.0)
        level = rng.normal()
        sample = []
        for time in times:
            code = codes[rng.integers(len(codes))]
            value = level * (code == codes[0]) + 0.3 * rng.normal() if rng.random() < 0.9 else np.nan
            sample.append((float(time), code, value))
        events.append(sample)
        target.append(float(level + 0.3 * rng.normal() > 0))
    static = np.where(rng.random((n, 1)) < 0.1, np.nan, rng.normal(60, 10, (n, 1))).astype(np.float32)
    return samples(events, target, codes=codes, static=static, static_names=("age",))


def write_physionet(root: Path, name: str, stays: int, *, first: int = 1, seed: int = 0) -> Path:
    """A set of the challenge: every stay has heart rates that are higher where it ends in death."""
    rng = np.random.default_rng(seed)
    folder = root / f"set-{name}"
    folder.mkdir(parents=True)
    outcomes = ["RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"]
    for record in range(first, first + stays):
        died = int(record % 4 == 0)
        lines = ["Time,Parameter,Value", f"00:00,RecordID,{record}", f"00:00,Age,{rng.integers(20, 90)}"]
        lines += [f"00:00,Gender,{record % 2}", "00:00,Height,-1", f"00:00,ICUType,{record % 4 + 1}", "00:00,Weight,70"]
        for hour in range(1, 12):
            lines.append(f"{hour:02}:{rng.integers(0, 60):02},HR,{70 + 30 * died + rng.integers(-5, 6)}")
            if hour % 3 == 0:
                lines.append(f"{hour:02}:59,Lactate,{1 + died + rng.random():.1f}")
        (folder / f"{record}.txt").write_text("\n".join(lines) + "\n")
        outcomes.append(f"{record},-1,-1,5,-1,{died}")
    (root / f"Outcomes-{name}.txt").write_text("\n".join(outcomes) + "\n")
    return root
