import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from timeseries.ehr.model.tokens import Tokenizer

from ...event_fakes import drawn, samples

NAN = float("nan")


def tokens_of(batch, item=0):
    """Of one item: (time, scale, [(code, score, has_value, count), ...]) token by token."""
    L = batch.time.shape[1]
    ends = [*batch.starts.tolist()[1:], len(batch.code)]
    found = []
    for k, slot in enumerate(batch.slot.tolist()):
        if slot // L == item:
            entries = [
                (int(batch.code[e]), round(float(batch.score[e]), 4), bool(batch.has_value[e]), float(batch.count[e]))
                for e in range(int(batch.starts[k]), ends[k])
            ]
            found.append((float(batch.time.flatten()[slot]), int(batch.scale[k]), entries))
    return found


def encoded(given, unit="bin", hours=4.0, **options):
    tokenizer = Tokenizer(unit, hours, **options)
    scores = tokenizer.fit(given)
    return tokenizer.encode(given, scores), scores


def example():
    events = [[(0.5, "a", 1.0), (2.0, "a", 3.0), (2.0, "b", NAN), (6.0, "b", 5.0), (9.0, "a", 2.0), (10.0, "a", 4.0)]]
    return samples([*events, []], static=np.array([[7.0], [NAN]], dtype=np.float32), static_names=("age",))


def test_bins_by_hand():
    given = example()
    found, scores = encoded(given)  # prediction at 10 h: bins (-10, -8], (-8, -4], (-4, 0]
    z = {v: round(float(scores.score(np.array([v]), np.array([0]))[0]), 4) for v in (1.0, 2.0, 3.0, 4.0)}
    batch = found.batch(np.array([0, 1]))
    mean = lambda *values: round(sum(values) / len(values), 4)  # noqa: E731
    assert tokens_of(batch) == [
        (-8.0, 0, [(0, mean(z[1.0], z[3.0]), True, 2.0), (1, 0.0, False, 1.0)]),  # at 2 h = -8 h: the bin holds its end
        (-4.0, 0, [(1, 0.0, True, 1.0)]),  # b has one value: score 0
        (0.0, 0, [(0, mean(z[2.0], z[4.0]), True, 2.0)]),
        (0.0, 1, [(2, 0.0, True, 1.0)]),  # the query, with the static
    ]
    assert tokens_of(batch, 1) == [(0.0, 1, [])]  # no event, no known static
    assert batch.keep.tolist() == [[True] * 4, [False, False, False, True]]


@pytest.mark.parametrize(
    ("unit", "times", "entries"),
    [
        ("event", [-9.5, -8.0, -8.0, -4.0, -1.0, 0.0, 0.0], [1, 1, 1, 1, 1, 1, 1]),
        ("timestamp", [-9.5, -8.0, -4.0, -1.0, 0.0, 0.0], [1, 2, 1, 1, 1, 1]),
        ("code_bin", [-8.0, -8.0, -4.0, 0.0, 0.0], [1, 1, 1, 1, 1]),
    ],
)
def test_other_units(unit, times, entries):
    found = tokens_of(encoded(example(), unit)[0].batch(np.array([0])))
    assert [time for time, _, _ in found] == times
    assert [len(e) for _, _, e in found] == entries


def test_several_widths_stand_in_order_of_time():
    found = tokens_of(encoded(example(), hours=[4.0, 10.0])[0].batch(np.array([0])))
    assert [(time, scale) for time, scale, _ in found] == [(-8, 0), (-4, 0), (0, 0), (0, 1), (0, 2)]
    assert [count for _, _, _, count in found[3][2]] == [4.0, 2.0]  # all events of a and of b


def test_one_code_twice_at_one_time_is_one_entry():
    twice = samples([[(1.0, "a", 2.0), (1.0, "b", 1.0), (1.0, "a", NAN)]])
    found = tokens_of(encoded(twice, "timestamp")[0].batch(np.array([0])))
    assert [(code, has, count) for code, _, has, count in found[0][2]] == [(0, True, 2.0), (1, True, 1.0)]


def test_without_values_numbers_change_nothing():
    first = example()
    second = samples(
        [[(0.5, "a", 9.0), (2.0, "a", 1.0), (2.0, "b", 2.0), (6.0, "b", NAN), (9.0, "a", 7.0), (10.0, "a", 0.0)], []],
        static=first.static,
        static_names=("age",),
    )
    batches = [encoded(given, values=False)[0].batch(np.array([0, 1])) for given in (first, second)]
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))
    assert not all(
        torch.equal(a, b)
        for a, b in zip(*[encoded(g)[0].batch(np.array([0, 1])) for g in (first, second)], strict=True)
    )


def test_shuffled_times_keep_times_and_events_of_each_sample():
    given = drawn(40)
    plain, mixed = (encoded(given, "event", shuffle=seed)[0] for seed in (None, 3))
    moved = 0
    for n in range(40):
        one, two = plain.batch(np.array([n])), mixed.batch(np.array([n]))
        assert torch.equal(one.event_time, two.event_time)
        assert sorted(one.event_code.tolist()) == sorted(two.event_code.tolist())
        moved += one.event_code.tolist() != two.event_code.tolist()
    assert moved > 20


def test_batches_do_not_depend_on_their_company():
    found, _ = encoded(drawn(30))
    alone = [tokens_of(found.batch(np.array([n]))) for n in range(30)]
    order = np.random.default_rng(0).permutation(30)
    batch = found.batch(torch.from_numpy(order))
    assert [tokens_of(batch, k) for k in range(30)] == [alone[n] for n in order]
    assert found.lengths.tolist() == [len(tokens) for tokens in alone]


def test_nothing_is_fitted_on_what_is_encoded():
    train, new = drawn(50, seed=1), drawn(50, seed=2)
    tokenizer = Tokenizer()
    scores = tokenizer.fit(train)
    before = scores.quantiles.clone()
    tokenizer.encode(new, scores)
    assert torch.equal(scores.quantiles, before)
    assert not torch.equal(Tokenizer().fit(new).quantiles, before)  # the data differ: this could have changed


@settings(max_examples=30)
@given(st.lists(st.floats(0.0, 10.0), max_size=12), st.floats(0.1, 30.0), st.sampled_from(["bin", "code_bin"]))
def test_no_token_knows_what_comes_after_its_time(times, hours, unit):
    one = samples([[(t, "a", t) for t in sorted(times)]])
    batch = encoded(one, unit, hours)[0].batch(np.array([0]))
    found = tokens_of(batch)
    assert sum(e[3] for _, _, entries in found[:-1] for e in entries) == len(times)
    seen = 0
    for time, _, entries in found[:-1]:
        seen += sum(e[3] for e in entries)
        assert (batch.event_time <= np.float32(time)).sum() >= seen  # all that it and those before hold has happened


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(("day",), "unit"), (("bin", 0.0), "hours"), (("bin", []), "hours"), (("bin", [1, -1]), "hours")],
)
def test_refuses(arguments, name):
    with pytest.raises(ValueError, match=name):
        Tokenizer(*arguments)


def test_refuses_another_vocabulary():
    tokenizer = Tokenizer()
    scores = tokenizer.fit(drawn(5))
    with pytest.raises(ValueError, match="expected 4 codes and statics"):
        tokenizer.encode(samples([[(0.0, "a", 1.0)]]), scores)
