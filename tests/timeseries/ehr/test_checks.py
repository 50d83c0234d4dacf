"""What any task and data module must do: `core.training.checks` on ours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.training import checks
from timeseries import EventArrayData, EventClassificationTask, EventDataModule, EventTableData, SyntheticEventsData

from ..event_fakes import write_table

TINY = {"dim": 8, "depth": 1, "heads": 2, "summary_hidden": 8}


def synthetic(folder: Path) -> EventDataModule:
    return SyntheticEventsData(count=60, events_per_code=4, batch_size=16)


def table(folder: Path) -> EventDataModule:
    events, labels = folder / "events.csv", folder / "labels.csv"
    if not events.exists():
        write_table(folder, 60)
    return EventTableData(str(events), str(labels), batch_size=16)


def arrays(folder: Path) -> EventDataModule:
    who = np.arange(60)
    events = {"subject": who.repeat(2), "time": np.tile([1.0, 2], 60), "code": ["a", "b"] * 60, "value": np.arange(120)}
    return EventArrayData(events, {"subject": who, "prediction_time": who + 9, "target": who % 2}, batch_size=16)


@pytest.mark.parametrize("check", checks.DATA, ids=checks.name)
@pytest.mark.parametrize("make", [synthetic, table, arrays])
def test_data(make: Callable[[Path], EventDataModule], check: Callable[..., None], tmp_path: Path) -> None:
    check(lambda: make(tmp_path))


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # lightning 2.6 on torch 2.14
@pytest.mark.filterwarnings("ignore:.*num_workers.*")
@pytest.mark.parametrize("check", checks.TASK, ids=checks.name)
def test_task(check: Callable[..., None], tmp_path: Path) -> None:
    check(lambda: EventClassificationTask(model_options=TINY, baselines=[]), lambda: synthetic(tmp_path), tmp_path)
