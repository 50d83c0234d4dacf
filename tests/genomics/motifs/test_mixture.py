import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from genomics.motifs.mixture import part_windows


def draw(matrices, sizes, seed):
    rng = np.random.default_rng(seed)
    windows, truth = [], []
    for k, (matrix, size) in enumerate(zip(matrices, sizes, strict=True)):
        for _ in range(size):
            windows.append("".join("ACGT"[rng.choice(4, p=row)] for row in matrix))
            truth.append(k)
    order = rng.permutation(len(truth))
    return [windows[i] for i in order], np.array(truth)[order]


def matrices(number, width, seed, strong=8):
    """`strong` columns of .9 for one letter, the others flat."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        rows = np.full((width, 4), 0.25)
        for i in rng.choice(width, strong, replace=False):
            rows[i] = 0.1 / 3
            rows[i, rng.integers(4)] = 0.9
        found.append(rows)
    return found


@pytest.mark.parametrize(("sizes", "seed"), [((200,), 0), ((120, 80), 1), ((100, 70, 40), 2)])
def test_parts_are_those_that_were_drawn(sizes, seed):
    windows, truth = draw(matrices(len(sizes), 20, seed), sizes, seed)
    found = part_windows(windows, 4, np.random.default_rng(0))
    assert len(set(found)) == len(sizes)
    assert len(sizes) == 1 or adjusted_rand_score(truth, found) > 0.9
    assert np.bincount(found).tolist() == sorted(np.bincount(found), reverse=True)


def test_noise_is_one_part():
    windows, _ = draw([np.full((25, 4), 0.25)], [150], 3)
    assert part_windows(windows, 4, np.random.default_rng(0)).tolist() == [0] * 150


def test_the_same_seed_gives_the_same_parts_and_n_says_nothing():
    windows, truth = draw(matrices(2, 16, 4, strong=10), (60, 60), 4)
    masked = ["N" * 3 + window[3:] for window in windows]
    a = part_windows(masked, 3, np.random.default_rng(1))
    assert a.tolist() == part_windows(masked, 3, np.random.default_rng(1)).tolist()
    assert adjusted_rand_score(truth, a) > 0.8
    assert part_windows(["NNN"] * 5, 2, np.random.default_rng(0)).tolist() == [0] * 5


def test_errors():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="windows: expected at least one, all of one length, got lengths"):
        part_windows(["ACG", "AC"], 2, rng)
    with pytest.raises(ValueError, match="windows: expected at least one"):
        part_windows([], 2, rng)
    with pytest.raises(ValueError, match="most, starts, prior: expected at least 1, 1 and above 0, got 0, 4, 1"):
        part_windows(["ACG"], 0, rng)
