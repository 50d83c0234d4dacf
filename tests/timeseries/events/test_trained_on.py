"""Who trained a model: digests, and what is counted by them."""

import hashlib

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from timeseries import SyntheticEventsData
from timeseries.ehr.data import EventDataModule, LoadedEvents
from timeseries.events.trained_on import Overlap, TrainedOn

from ..event_fakes import drawn

NAMES = st.sets(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=4))


@given(NAMES, NAMES, NAMES)
def test_the_overlap_is_that_of_the_sets(train: set[str], val: set[str], others: set[str]) -> None:
    trained = TrainedOn.from_state(TrainedOn.of(train, val, "here").state())
    assert trained.overlap(others, "here") == Overlap(len(others), len(others & train), len(others & val))
    assert trained.overlap(train, "elsewhere") == Overlap(len(train), 0, 0)


def test_a_subject_is_a_salted_digest() -> None:
    trained = TrainedOn.of(["b", "a", "b"], ["c"], "here")
    key = bytes(trained.salt.tolist())
    words = [hashlib.blake2b(b"here\0" + name, digest_size=8, key=key).digest() for name in (b"a", b"b")]
    assert trained.train.tolist() == sorted(int.from_bytes(word, "little", signed=True) for word in words)
    assert trained.salt.shape == (16,) and trained.train.dtype == torch.int64 and len(trained.val) == 1
    more = TrainedOn.of(["a", "b", "d"], ["c"], "here")
    assert not np.isin(trained.train, more.train).any(), "two checkpoints cannot be joined by their digests"


def test_the_same_subjects_are_the_same_in_any_order() -> None:
    trained = TrainedOn.of(["b", "a"], ["c"])
    assert trained == TrainedOn.of(["a", "b", "a"], ["c"])
    for other in (TrainedOn.of(["a"], ["c"]), TrainedOn.of(["a", "b"], []), TrainedOn.of(["a", "b"], ["c"], "x")):
        assert trained != other


def test_names_are_compared_within_one_population() -> None:
    """Drawn anew, s0 is another subject; in your own files, he is the same."""
    one, same, other = (
        SyntheticEventsData(count=30, events_per_code=2, data_seed=seed, split_seed=5) for seed in (0, 0, 1)
    )
    for data in (one, same, other):
        data.setup()
    assert one.raw is not None and other.raw is not None and one.split is not None
    train = one.raw.subjects[one.split.train].tolist()
    assert set(train) <= set(other.raw.subjects.tolist())
    assert same.trained_on() == one.trained_on() != other.trained_on()
    assert one.trained_on().overlap(train, same.population()) == Overlap(len(train), len(train), 0)
    assert one.trained_on().overlap(train, other.population()).trained == 0

    class Mine(EventDataModule):
        def load(self) -> LoadedEvents:
            return LoadedEvents(drawn(30, seed=self.seed))

    first, second = Mine(seed=0), Mine(seed=1)
    first.setup()
    second.setup()
    everybody = [f"s{k}" for k in range(30)]
    assert first.trained_on().overlap(everybody, second.population()) == Overlap(30, 21, 3)
