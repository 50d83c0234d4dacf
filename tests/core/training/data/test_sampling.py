import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.training.data.sampling import BatchKeys, Loader, mix, seeded
from core.training.rng import get_rng_state, set_rng_state


class Numbers(torch.utils.data.Dataset):
    """Sample i is i plus noise of every global generator."""

    def __init__(self, n: int, noise: bool = True) -> None:
        self.n, self.noise = n, noise

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> torch.Tensor:
        noise = [float(torch.rand(())), float(np.random.rand()), random.random()] if self.noise else [0.0, 0.0, 0.0]
        return torch.tensor([float(i), *noise])


class Batched(Numbers):
    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        noise = torch.rand(len(indices))
        return [torch.stack([torch.tensor(float(i)), e]) for i, e in zip(indices, noise, strict=True)]


def indices(keys: BatchKeys) -> list[list[int]]:
    return [[key.sample for key in batch] for batch in keys]


def loader(n: int = 10, batch_size: int = 4, workers: int = 0, dataset: type = Numbers, **options) -> Loader:
    return Loader(dataset(n), BatchKeys(n, batch_size, shuffle=True, **options), random=True, num_workers=workers)


@given(n=st.integers(1, 60), size=st.integers(1, 9), world=st.integers(1, 4))
def test_evaluation_takes_every_sample_once_and_equally_many_steps(n: int, size: int, world: int) -> None:
    if n < world:
        with pytest.raises(ValueError, match="at least one sample per process"):
            BatchKeys(n, size, world=world)
        return
    shares = [indices(BatchKeys(n, size, rank=r, world=world)) for r in range(world)]
    assert sorted(i for share in shares for batch in share for i in batch) == list(range(n))
    assert len({len(share) for share in shares}) == 1
    assert all(1 <= len(batch) <= size + 1 for share in shares for batch in share)
    assert all(len(BatchKeys(n, size, rank=r, world=world)) == len(share) for r, share in enumerate(shares))


@given(n=st.integers(4, 60), size=st.integers(1, 9), world=st.integers(1, 4), drop=st.booleans())
def test_processes_share_the_global_batches_of_one(n: int, size: int, world: int, drop: bool) -> None:
    options = {"seed": 3, "shuffle": True, "drop_last": drop}
    shares = [indices(BatchKeys(n, size, rank=r, world=world, **options)) for r in range(world)]
    alone = indices(BatchKeys(n, size * world, **options))
    together = [sorted(i for batch in parts for i in batch) for parts in zip(*shares, strict=True)]
    assert len(alone) - len(together) in (0, 1)  # less than one sample per process is left out
    for one, many in zip(alone, together, strict=False):
        assert set(many) <= set(one) and len(one) - len(many) < world
    assert len({len(batch) for parts in zip(*shares, strict=True) for batch in parts[:1]}) <= 2
    assert all(len({len(batch) for batch in parts}) == 1 for parts in zip(*shares, strict=True))


def test_drop_last_drops_the_rest_but_never_everything() -> None:
    assert [len(b) for b in BatchKeys(10, 4, shuffle=True, drop_last=True)] == [4, 4]
    assert [len(b) for b in BatchKeys(10, 4, shuffle=True)] == [4, 4, 2]
    assert [len(b) for b in BatchKeys(3, 4, shuffle=True, drop_last=True)] == [3]
    assert [len(b) for b in BatchKeys(10, 4, drop_last=True)] == [4, 4, 2]  # evaluation drops nothing


def test_order_depends_on_seed_and_epoch_alone() -> None:
    a, b, other = (BatchKeys(50, 5, shuffle=True, seed=s) for s in (1, 1, 2))
    torch.manual_seed(99)
    assert indices(a) == indices(b) != indices(other)
    b.set_epoch(1)
    assert indices(a) != indices(b)
    assert sorted(i for batch in indices(b) for i in batch) == list(range(50))
    assert indices(BatchKeys(5, 2)) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 1, "rank": 2, "world": 2}])
def test_wrong_sizes_are_named(options: dict) -> None:
    with pytest.raises(ValueError, match=r"batch_size|rank"):
        BatchKeys(4, **options)


def test_workers_and_the_global_generators_change_nothing() -> None:
    torch.manual_seed(5)
    plain = torch.cat(list(loader()))
    torch.manual_seed(6)
    assert torch.equal(plain, torch.cat(list(loader(workers=2))))
    again = loader()
    again.sampler.set_epoch(1)
    assert not torch.equal(plain, torch.cat(list(again)))
    assert plain[:, 1:].unique().numel() == plain[:, 1:].numel()  # every sample has noise of its own


def test_reading_leaves_the_global_generators_alone() -> None:
    before = get_rng_state()
    list(loader())
    after = get_rng_state()
    assert torch.equal(before["torch"], after["torch"])
    assert torch.equal(before["numpy"][1], after["numpy"][1]) and before["numpy"][2:] == after["numpy"][2:]
    assert torch.equal(before["python"][1], after["python"][1])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_loader_goes_on_where_it_stood(done: int, workers: int) -> None:
    first = loader(workers=workers)
    first.sampler.set_epoch(4)
    iterator = iter(first)
    for _ in range(done):
        next(iterator)
    state = first.state_dict()
    rest = list(iterator)
    second = loader(workers=workers)
    started = iter(second)  # as the trainer does, before it restores anything
    second.load_state_dict(state)
    assert len(second) == len(first) == 3
    got = list(started)
    assert len(got) == len(rest) and all(torch.equal(a, b) for a, b in zip(rest, got, strict=True))
    assert second.state_dict() == {"epoch": 4, "delivered": 3}
    assert len(list(second)) == 3  # the next epoch is whole


def test_a_batched_data_set_is_asked_once_per_batch() -> None:
    a, b = (torch.cat(list(loader(dataset=Batched))) for _ in range(2))
    assert torch.equal(a, b) and sorted(a[:, 0].tolist()) == list(range(10))


def test_seeded_is_reproducible_and_puts_all_generators_back() -> None:
    def draw() -> list[float]:
        return [float(torch.rand(())), float(np.random.rand()), random.random()]

    state = get_rng_state()
    expected = draw()
    set_rng_state(state)
    with seeded(1, 2):
        inside = draw()
    assert draw() == expected
    with seeded(1, 2):
        assert draw() == inside
    with seeded(2, 1):
        assert draw() != inside


def test_mix_separates_neighbours_and_fits_a_seed() -> None:
    seeds = {mix(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900 and all(0 <= s < 2**63 for s in seeds)


def test_generator_states_load_without_code(tmp_path) -> None:
    torch.save(get_rng_state(), tmp_path / "state")
    expected = [float(torch.rand(())), float(np.random.rand()), random.gauss(0, 1), random.gauss(0, 1)]
    set_rng_state(torch.load(tmp_path / "state", weights_only=True))
    assert [float(torch.rand(())), float(np.random.rand()), random.gauss(0, 1), random.gauss(0, 1)] == expected
