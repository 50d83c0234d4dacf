"""Batches: padding, the order by length, data modules and the trainer's view of them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.training.data.sampling import BatchKeys
from timeseries import (
    EventDataModule,
    EventDataset,
    EventSamples,
    EventTableData,
    LengthKeys,
    LoadedEvents,
    MedsData,
    Vocabulary,
    pad,
)
from timeseries.events.vocabulary import merge

from ..event_fakes import drawn, samples, write_meds, write_table

NAN = float("nan")


def test_padding_by_hand() -> None:
    held = samples([[(1, "a", 5.0), (4, "b", NAN)], [], [(10, "b", 2.0)]])
    batch = pad([held[2], held[0], held[1]])
    assert batch.length.tolist() == [1, 2, 0] and batch.index.tolist() == [2, 0, 1]
    assert batch.time.tolist() == [[0, 0], [-9, -6], [0, 0]] and batch.code.tolist() == [[1, 0], [0, 1], [0, 0]]
    np.testing.assert_array_equal(batch.value, [[2, NAN], [5, NAN], [NAN, NAN]])
    assert batch.target.tolist() == [0, 0, 1] and batch.prediction_time.tolist() == [10, 10, 10]
    kinds = [tensor.dtype for tensor in batch]
    f, i = torch.float32, torch.int64
    assert kinds == [f, i, f, i, f, torch.float64, f, i]
    assert pad([held[1]]).time.shape == (1, 1)


def test_a_data_set_says_where_an_item_stands_in_the_whole() -> None:
    held = drawn(10)
    part = EventDataset(held.select([7, 2]), np.array([7, 2]))
    assert [part[k].index for k in range(2)] == [7, 2] and (part[1].time == held[2].time).all()
    with pytest.raises(ValueError, match="one number for each of 10 samples"):
        EventDataset(held, np.arange(3))


@given(
    st.lists(st.integers(0, 50), min_size=4, max_size=80),
    st.integers(1, 6),
    st.integers(1, 5),
    st.sampled_from([(1, False), (2, True), (3, False)]),
    st.integers(0, 3),
)
def test_an_epoch_by_length_has_the_samples_of_a_plain_epoch(
    lengths: list[int], size: int, bucket: int, how: tuple[int, bool], epoch: int
) -> None:
    world, drop_last = how
    each, sizes = [], []
    for rank in range(world):
        options = {"shuffle": True, "drop_last": drop_last, "seed": 3, "rank": rank, "world": world}
        keys = LengthKeys(np.array(lengths), size, bucket=bucket, **options)
        plain = BatchKeys(len(lengths), size, **options)
        keys.set_epoch(epoch)
        plain.set_epoch(epoch)
        mine = [[key.sample for key in batch] for batch in keys]
        assert [len(batch) for batch in mine] == [len(batch) for batch in plain]
        assert [list(batch) for batch in keys] == [list(batch) for batch in keys]
        each += [sample for batch in mine for sample in batch]
        sizes += [key.sample for batch in plain for key in batch]
    assert sorted(each) == sorted(sizes)


def test_batches_by_length_waste_less_and_change_from_epoch_to_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 640)
    by_length = LengthKeys(lengths, 16, bucket=20, shuffle=True)
    plain = BatchKeys(640, 16, shuffle=True)

    def padded(keys: BatchKeys) -> int:
        return sum(len(batch) * max(lengths[key.sample] for key in batch) for batch in keys)

    assert padded(by_length) < 1.1 * lengths.sum() and padded(plain) > 1.7 * lengths.sum()
    first = by_length.order()
    by_length.set_epoch(1)
    assert by_length.order() != first
    longest = [max(lengths[key.sample] for key in batch) for batch in by_length]
    assert longest != sorted(longest), "batches come in random order"
    assert LengthKeys(lengths, 16).order() == list(range(640)), "without shuffling the order is that of the data"
    with pytest.raises(ValueError, match="bucket: expected at least 1"):
        LengthKeys(lengths, 16, bucket=0)


def test_a_table_becomes_batches(tmp_path: Path) -> None:
    path, labels = write_table(tmp_path)
    data = EventTableData(str(path), str(labels), batch_size=8)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert len(batch.length) == 8 and data.codes == ("HR", "Na", "visit") and data.kind == "binary"
    assert batch.time.max() <= 0 and data.names_of(batch.index)[0].startswith("s")
    assert [len(part) for part in data.samples.values()] == [28, 4, 8]
    seen = torch.cat([batch.index for batch in data.test_dataloader()])
    assert seen.tolist() == data.split.test.tolist() if data.split else False
    assert data.target_names == ("target",)
    plain = EventTableData(str(path), str(labels), batch_size=8, bucket=1)
    plain.setup()
    assert type(plain.train_dataloader().sampler) is BatchKeys and isinstance(
        data.train_dataloader().sampler, LengthKeys
    )
    with pytest.raises(RuntimeError, match=r"expected setup\(\) to have been called"):
        EventTableData(str(path), str(labels)).report()
    with pytest.raises(ValueError, match="unseen: expected"):
        EventTableData(str(path), str(labels), unseen="maybe")


def test_columns_that_join_samples_with_their_labels(tmp_path: Path) -> None:
    path, labels = write_table(tmp_path)
    labels.write_text("subject,prediction_time,target\n" + "".join(f"s{k},{1 + k / 8},{k % 2}\n" for k in range(40)))
    data = EventTableData(str(path), str(labels), all_test=True, time_unit="days", after_prediction="drop")
    data.setup("predict")
    keys = data.keys_of(torch.tensor([8, 1]))
    assert keys["id"] == ["s8@2", "s1@1.125"] and keys["subject"] == ["s8", "s1"]
    assert keys["prediction_time"].tolist() == [2, 1.125] and data.names_of(torch.tensor([8])) == ["s8@2"]


def test_a_sample_that_is_there_twice_is_refused() -> None:
    class Twice(EventDataModule):
        def load(self) -> LoadedEvents:
            return LoadedEvents(samples([[], [], []], subjects=["p", "q", "p"]))

    with pytest.raises(ValueError, match="one sample per subject and prediction time, got p@10 twice"):
        Twice(all_test=True).setup()


def test_an_event_after_the_prediction_time_stops_a_table_unless_it_may_be_left_out(tmp_path: Path) -> None:
    path, labels = write_table(tmp_path)
    path.write_text(path.read_text() + "s3,24.5,HR,99,unit\n")
    with pytest.raises(ValueError, match=r"subject s3 has 'HR' at 24\.5 h, its prediction time is 24 h"):
        EventTableData(str(path), str(labels)).setup()
    data = EventTableData(str(path), str(labels), after_prediction="drop")
    data.setup()
    assert "1 events after the prediction time left out" in data.report()


def test_a_trained_models_vocabulary_can_be_laid_over_new_data(tmp_path: Path) -> None:
    data = MedsData(str(write_meds(tmp_path)))
    data.setup()
    data.use_vocabulary(Vocabulary(("LAB//b", "older"), ("HEIGHT", "GENDER//M")))
    assert data.codes == ("LAB//b", "older") and data.whole is not None
    assert set(data.whole.code.tolist()) == {0} and data.whole.lengths.tolist() == [3] * 40
    assert np.isnan(data.whole.static[:, 0]).all() and set(data.whole.static[:, 1].tolist()) == {0.0, 1.0}
    assert "outside the vocabulary in train, taken as 'ignore': LAB//a" in data.report()
    assert data.report().count("split by subject") == 1


def test_a_vocabulary_counts_subjects_not_events() -> None:
    held = samples(
        [[(1, "a", 1.0), (2, "a", 1.0), (3, "b", 1.0)], [(1, "b", 1.0)], [(1, "a", 1.0)]], subjects=["p", "q", "p"]
    )
    assert Vocabulary.fit(held).codes == ("a", "b") and Vocabulary.fit(held, min_subjects=2).codes == ("b",)
    unknown = Vocabulary.fit(held, min_subjects=2, unknown=True)
    assert unknown.codes == ("b", "[unknown]")
    encoded, unseen = unknown.encode(held, "unknown")
    assert unseen == {"a": 3} and encoded.code.tolist() == [1, 1, 0, 0, 1]
    assert unknown.encode(held, "ignore").samples.lengths.tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match="expected a vocabulary with"):
        Vocabulary(("b",)).encode(held, "unknown")
    with pytest.raises(ValueError, match="min_subjects"):
        Vocabulary.fit(held, min_subjects=0)


FLAGS = {"static_names": ("age", "F", "M"), "static_flags": ("F", "M")}


def test_a_flag_that_nobody_has_is_0_for_whoever_has_other_statics() -> None:
    def people(*rows: list[float], **options: object) -> EventSamples:
        return samples([[]] * len(rows), static=np.array(rows, dtype=np.float32), **options)

    train = people([50, 1, 0], [NAN, 0, 1], [NAN, NAN, NAN], **FLAGS)
    vocabulary = Vocabulary.fit(train)
    assert vocabulary == Vocabulary((), ("age", "F", "M"), ("F", "M"))
    whole = vocabulary.encode(train).samples
    np.testing.assert_array_equal(whole.static, train.static)
    assert whole.static_flags == ("F", "M")
    for row, names in ((0, ["age", "F"]), (1, ["M"])):  # as a file with this subject alone would have them
        columns = [FLAGS["static_names"].index(name) for name in names]
        flags = tuple(name for name in names if name != "age")
        alone = people(train.static[row, columns].tolist(), static_names=tuple(names), static_flags=flags)
        np.testing.assert_array_equal(vocabulary.encode(alone).samples.static[0], train.static[row])
    unknown = vocabulary.encode(people([], static_names=())).samples
    assert np.isnan(unknown.static).all()
    before = Vocabulary((), ("age", "F", "M"))  # of a checkpoint that does not know its flags
    old = before.encode(people([1], static_names=("M",), static_flags=("M",))).samples
    np.testing.assert_array_equal(old.static, [[NAN, NAN, 1]])
    assert old.static_flags == ("M",)
    empty = people([1, 1], static_names=("age", "M"), static_flags=("age", "M"))  # nobody's age has a number
    np.testing.assert_array_equal(vocabulary.encode(empty).samples.static, [[NAN, 0, 1]])
    with pytest.raises(ValueError, match="static_flags: expected 'M' as a flag, there or not"):
        vocabulary.encode(people([1], static_names=("M",)))
    with pytest.raises(ValueError, match="static_flags: expected names of static columns, got 'x'"):
        Vocabulary((), ("age",), ("x",))
    male, old_man = people([1], static_names=("M",), static_flags=("M",)), people([90], static_names=("age",))
    merged = merge([male, old_man])
    np.testing.assert_array_equal(merged.static, [[1, NAN], [0, 90]])
    assert merged.static_flags == ("M",)


def test_parts_with_several_vocabularies_merge_by_name() -> None:
    one = samples([[(1, "x", 1.0)]], codes=("y", "x"))
    two = samples([[(1, "z", 2.0), (2, "x", 3.0)]], codes=("x", "z"))
    merged = merge([one, two])
    assert merged.codes == ("x", "y", "z") and [merged.codes[k] for k in merged.code] == ["x", "z", "x"]


def test_new_data_are_one_test_part_and_targets_may_be_unknown(tmp_path: Path) -> None:
    path, labels = write_table(tmp_path)
    tested = EventTableData(str(path), str(labels), all_test=True)
    tested.setup("test")
    assert set(tested.samples) == {"test"} and len(tested.samples["test"]) == 40 and tested.train_set is None
    labels.write_text("subject,prediction_time\ns1,24\ns2,24\n")
    data = EventTableData(str(path), str(labels), all_test=True)
    data.setup("predict")
    assert data.samples["test"].unlabelled.all() and len(list(data.predict_dataloader())) == 1
    with pytest.raises(ValueError, match="expected a target for every sample, got 2 without; with all_test"):
        EventTableData(str(path), str(labels), all_test=True).setup("test")
    with pytest.raises(ValueError, match="expected the column 'target'"):
        EventTableData(str(path), str(labels)).setup()
    meds = MedsData(str(write_meds(tmp_path / "meds")), all_test=True)
    meds.setup("predict")
    assert set(meds.samples) == {"test"} and len(meds.samples["test"]) == 40


def test_a_trainers_user_is_told_once_what_was_met(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, labels = write_table(tmp_path)
    data = EventTableData(str(path), str(labels))
    data.setup("fit")
    assert capsys.readouterr().err == ""  # from Python, report() answers it
    data.trainer = SimpleNamespace(is_global_zero=True, lightning_module=None)  # type: ignore[assignment]
    data.setup("fit")
    data.setup("test")
    shown = capsys.readouterr().err
    assert shown == data.report() + "\n" and "40 samples" in shown and "split by subject: train 28" in shown
