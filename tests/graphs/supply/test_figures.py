import matplotlib.image
import pytest
import torch

from graphs.supply import figures as pictures
from graphs.supply import shocks
from graphs.supply.economy import EconomyOptions, draw_economy
from graphs.supply.relations import match_heads


def test_rings_are_hops():
    links = torch.tensor([[0, 0, 1, 2, 3], [1, 2, 3, 3, 4]])
    place = pictures.ring_layout([0, 1, 1, 2, 3, -1], links)
    assert place.norm(dim=1).tolist() == pytest.approx([0, 1, 1, 2, 3, 4])
    assert len({tuple(p) for p in place.tolist()}) == 6


def drawn(path):
    image = matplotlib.image.imread(path)
    return image.shape[0] > 100 and image.std() > 0.01


def test_every_picture_is_drawn(tmp_path):
    economy = draw_economy(torch.Generator().manual_seed(0), EconomyOptions((12, 14)))
    steps = list(shocks.travel(economy, shocks.shock_at(economy, {economy.names[0]: 1.0}), 2))
    pictures.draw_travel(economy, [*steps, sum(steps)], ["0", "1", "2", "all"], "title", tmp_path / "travel.png")
    pictures.draw_hops({"D = 1": [[0.9, None], [1.0, None]], "I + A": [[0.5, None]]}, "title", tmp_path / "hops.png")
    whole = torch.rand(2, 4)
    pictures.draw_embodied(list("abcd"), whole / 2, whole, ("labour", "capital"), tmp_path / "embodied.png")
    matching = match_heads(torch.eye(3).double())
    curves = {"free": ([1, 2, 3], [[0.3], [0.1], [0.0]]), "masked": ([3], [[1e-3]])}
    pictures.draw_relations(
        curves, {1: 0.33, 2: 0.17, 3: 0.0}, {"free": matching, "other": matching}, ("a", "b", "c"), tmp_path / "r.png"
    )
    assert all(drawn(tmp_path / name) for name in ("travel.png", "hops.png", "embodied.png", "r.png"))
