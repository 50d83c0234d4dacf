"""The fences against leaks, and the proof that each test bites: with its fence removed, it fails.

Each check is a function that raises AssertionError where something leaks. It runs once on the code as it is and must
pass, and once with the fence taken out and must fail.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from timeseries import EventDataModule, EventSamples, LoadedEvents, Split, SummaryFeatures, Vocabulary
from timeseries.ehr.baselines.tabular import TabularBaselines
from timeseries.ehr.baselines.tabular_methods import Winsorizer
from timeseries.events import splits as splits_module

from ..event_fakes import drawn, samples


class Held(EventDataModule):
    """A data module of samples in memory."""

    def __init__(self, held: EventSamples, split: Split | None = None, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.held, self.given = held, split

    def load(self) -> LoadedEvents:
        return LoadedEvents(self.held, self.given)


def thirds(held: EventSamples) -> Split:
    return Split(held.subjects, *np.split(np.arange(len(held)), [len(held) // 2, len(held) * 3 // 4]))


def with_strange_tests(held: EventSamples) -> EventSamples:
    """The same training part; in the test part every third event has a code of its own, and values are other ones."""
    split = thirds(held)
    in_test = np.isin(held.owners(), split.test)
    code = held.code.copy()
    code[in_test & (np.arange(len(code)) % 3 == 0)] = len(held.codes)
    value = np.where(in_test, 1000 * held.value + 500, held.value).astype(np.float32)
    static = held.static.copy()
    static[split.test] = 500
    return replace(held, codes=(*held.codes, "only in test"), code=code, value=value, static=static)


def check_vocabulary(held: EventSamples) -> None:
    """What the test part holds changes neither the vocabulary nor the training part."""
    plain, strange = Held(held, thirds(held)), Held(with_strange_tests(held), thirds(held))
    plain.setup()
    strange.setup()
    assert strange.codes == plain.codes and strange.static_names == plain.static_names
    assert strange.samples["train"].fingerprint() == plain.samples["train"].fingerprint()


def check_scaling(held: EventSamples) -> None:
    """What the test part holds changes no training sample's probability, nor does one test sample change another's."""
    found = []
    for whole in (held, with_strange_tests(held)):
        data = Held(whole, thirds(held))
        data.setup()
        model = TabularBaselines(folds=2, trees=2, strengths=[0.1]).fit(data.samples["train"])
        test = data.samples["test"]
        together, few = model.probabilities(test), model.probabilities(test.select(np.arange(5)))
        assert all(np.allclose(together[name][:5], few[name], rtol=1e-9) for name in few)
        found.append(model.probabilities(data.samples["train"]))
    assert all(np.allclose(found[0][name], found[1][name], rtol=1e-9) for name in found[0])


def check_scaling_of_hazards(held: EventSamples) -> None:
    """The same for a time to an event."""
    duration = np.where(held.target == 1, 2.0, 20.0) + np.arange(len(held)) % 7
    target = np.stack([duration, np.arange(len(held)) % 5 > 0], axis=1).astype(np.float32)
    check_scaling(replace(held, target=target, kind="time_to_event"))


def check_future(held: EventSamples) -> None:
    """An event behind the prediction time cannot get into samples."""
    late = held.time.copy()
    late[held.offsets[1:][held.lengths > 0] - 1] += 1000
    with pytest.raises(ValueError, match="after the prediction time"):
        replace(held, time=late)


def check_patients(held: EventSamples) -> None:
    """No drawn split has a subject on two sides, though every subject has several samples."""
    later = held.prediction_time + np.arange(len(held))
    several = replace(
        held, subjects=np.array([f"s{k % 20}" for k in range(len(held))]), prediction_time=later, stamps=later
    )
    data = Held(several)
    try:
        data.setup()
    except ValueError as error:
        raise AssertionError(str(error)) from error
    parts = [set(part.subjects.tolist()) for part in data.samples.values()]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def vocabulary_of_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EventDataModule, "fit_vocabulary", lambda self, held, split: Vocabulary.fit(held))


def clipped_by_what_comes(patch: pytest.MonkeyPatch) -> None:
    """Fit the clipping anew on whatever is transformed."""

    def transform(self: Winsorizer, table: np.ndarray) -> np.ndarray:
        table = table[:, self.known_]
        return np.clip(table, *np.quantile(np.nan_to_num(table), [0.1, 0.9], axis=0))

    patch.setattr(Winsorizer, "transform", transform)


def scaled_by_what_comes(patch: pytest.MonkeyPatch) -> None:
    """Fit the scaling anew on whatever is transformed."""

    def transform(self: StandardScaler, table: np.ndarray) -> np.ndarray:
        return (table - table.mean(axis=0)) / (table.std(axis=0) + 1e-9)

    patch.setattr(StandardScaler, "transform", transform)


def trained_on_all(patch: pytest.MonkeyPatch) -> None:
    """Let the training part be everything."""
    fitted = TabularBaselines.fit
    whole: list[EventSamples] = []
    set_up = Held.setup

    def setup(self: Held, stage: str | None = None) -> None:
        set_up(self, stage)
        whole.append(self.whole)

    patch.setattr(Held, "setup", setup)
    patch.setattr(TabularBaselines, "fit", lambda self, train: fitted(self, whole[-1]))


def future_let_in(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EventSamples, "_check_times", lambda self: None)


def split_by_sample(patch: pytest.MonkeyPatch) -> None:
    def draw(self: EventDataModule, held: EventSamples) -> Split:
        order = np.random.default_rng(0).permutation(len(held))
        return Split(held.subjects, *np.split(order, [len(held) // 2, len(held) * 3 // 4]))

    patch.setattr(EventDataModule, "draw", draw)


def split_by_sample_without_the_type(patch: pytest.MonkeyPatch) -> None:
    split_by_sample(patch)
    patch.setattr(splits_module.Split, "__post_init__", lambda self: None)


FENCES = [
    (check_vocabulary, vocabulary_of_all),
    (check_scaling, clipped_by_what_comes),
    (check_scaling, scaled_by_what_comes),
    (check_scaling, trained_on_all),
    (check_scaling_of_hazards, clipped_by_what_comes),
    (check_scaling_of_hazards, scaled_by_what_comes),
    (check_scaling_of_hazards, trained_on_all),
    (check_future, future_let_in),
    (check_patients, split_by_sample),
    (check_patients, split_by_sample_without_the_type),
]


@pytest.fixture(scope="module")
def held() -> Iterator[EventSamples]:
    yield drawn(80, seed=5)


@pytest.mark.parametrize("check", dict.fromkeys(check for check, _ in FENCES))
def test_nothing_leaks(check: Callable[[EventSamples], None], held: EventSamples) -> None:
    check(held)


@pytest.mark.parametrize(("check", "remove"), FENCES)
def test_without_its_fence_the_check_fails(
    check: Callable[[EventSamples], None],
    remove: Callable[[pytest.MonkeyPatch], None],
    held: EventSamples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remove(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(held)


def test_summary_features_know_the_names_of_the_training_part_alone() -> None:
    train = samples([[(1, "a", 5.0)], [(2, "a", 3.0)]])
    test = samples([[(1, "b", 5.0), (2, "a", 1.0)]], codes=("b", "a"))
    features = SummaryFeatures.of(train)
    assert all(name.startswith("a:") for name in features.names)
    assert features(test)[0, features.names.index("a:last")] == 1


def test_a_code_first_seen_in_the_test_part_is_counted_by_name() -> None:
    held = with_strange_tests(drawn(80, seed=5))
    data = Held(held, thirds(held))
    data.setup()
    strange = int((held.code == 3).sum())
    assert f"outside the vocabulary in test, taken as 'ignore': only in test ({strange})" in data.report()
    assert len(data.samples["test"].time) == np.isin(held.owners(), thirds(held).test).sum() - strange
    mapped = Held(held, thirds(held), unseen="unknown")
    mapped.setup()
    assert (mapped.samples["test"].code == mapped.codes.index("[unknown]")).sum() == strange
    with pytest.raises(ValueError, match="expected those of the vocabulary, got 'only in test'"):
        Held(held, thirds(held), unseen="error").setup()
