"""Small events with known contents."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
        outcomes.append(f"{record},{record % 20},-1,{3 + record % 20},{2 if died else -1},{died}")
    (root / f"Outcomes-{name}.txt").write_text("\n".join(outcomes) + "\n")
    return root


def write_table(folder: Path, subjects: int = 40, *, seed: int = 0) -> tuple[Path, Path]:
    """A long table of events in CSV, and labels for a prediction at 24 hours: the odd subjects have larger values."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows, labels = ["subject,time,code,value,unit"], ["subject,prediction_time,target"]
    for k in range(subjects):
        for time in np.sort(rng.integers(0, 24 * 60, rng.integers(1, 12)) / 60):
            code = rng.choice(["HR", "Na", "visit"])
            value = "" if code == "visit" else f"{rng.normal(80 + 20 * (k % 2), 5):.1f}"
            rows.append(f"s{k},{time:.4f},{code},{value},{'' if code == 'visit' else 'unit'}")
        labels.append(f"s{k},24,{k % 2}")
    (folder / "events.csv").write_text("\n".join(rows) + "\n")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    return folder / "events.csv", folder / "labels.csv"


def write_meds(root: Path, subjects: int = 40, *, shards: int = 2, split: bool = True, seed: int = 0) -> Path:
    """A MEDS folder with shards, static codes, texts, labels and a split; records go on after the prediction time."""
    rng = np.random.default_rng(seed)
    start = dt.datetime(2020, 1, 1)
    (root / "metadata").mkdir(parents=True)
    (root / "labels").mkdir()
    labels: dict[str, list] = {"subject_id": [], "prediction_time": [], "boolean_value": []}
    for shard in range(shards):
        rows: list[tuple] = []
        for subject in range(shard, subjects, shards):
            rows.append((subject, None, f"GENDER//{'FM'[subject % 2]}", None, None))
            for hour in range(0, 48, 4):
                level = 5.0 + 2 * (subject % 2) + rng.normal()
                rows.append((subject, start + dt.timedelta(hours=hour), f"LAB//{'ab'[hour % 8 // 4]}", level, None))
            rows.append((subject, start + dt.timedelta(hours=50), "CULTURE", None, "positive"))
            labels["subject_id"].append(subject)
            labels["prediction_time"].append(start + dt.timedelta(hours=24))
            labels["boolean_value"].append(subject % 2 == 1)
        columns = list(zip(*rows, strict=True))
        schema = [("subject_id", pa.int64()), ("time", pa.timestamp("us")), ("code", pa.string())]
        schema += [("numeric_value", pa.float32()), ("text_value", pa.large_string())]
        arrays = {name: pa.array(column, kind) for (name, kind), column in zip(schema, columns, strict=True)}
        path = root / "data" / f"{shard}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table(arrays), path)
    kinds = {"subject_id": pa.int64(), "prediction_time": pa.timestamp("us"), "boolean_value": pa.bool_()}
    label_table = pa.table({name: pa.array(column, kinds[name]) for name, column in labels.items()})
    pq.write_table(label_table, root / "labels" / "0.parquet")
    if split:
        parts = ["train" if k % 10 < 6 else "tuning" if k % 10 < 8 else "held_out" for k in range(subjects)]
        table = pa.table({"subject_id": pa.array(range(subjects), pa.int64()), "split": parts})
        pq.write_table(table, root / "metadata" / "subject_splits.parquet")
    return root
