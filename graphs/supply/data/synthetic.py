"""Synthetic economies: layered, cyclic, with several relations; nothing to download."""

from typing import Any, ClassVar, NamedTuple

import torch

from ..economy import EconomyOptions, draw_economy
from ..shocks import sparse_shocks, unit_shocks
from .flows import FlowData, ShockItem, in_a_row

SHOCKS = ("unit", "sparse")


class Economies(NamedTuple):
    """Shocks to economies of three parts."""

    train: list[ShockItem]
    val: list[ShockItem]
    test: list[ShockItem]


class SyntheticEconomyData(FlowData[Economies]):
    """Economies drawn at random, split by economy: no part shares a table with another.

    Each economy is drawn from (seed, its number) alone, so that more economies in one part change no other; the parts
    draw from different streams. See `graphs.supply.economy.EconomyOptions` for what the options of the draw mean.

    Args:
        economies: In the training part.
        held_out: In the validation part, and as many in the test part.
        shocks: "unit" (one of size 1 at every sector) or "sparse" (lognormal sizes at 1 to `hit` sectors).
        count: Shocks of a training economy: sparse ones, or unit shocks at as many sectors, drawn without repetition.
            Validation and test have as many sparse shocks, and a unit shock at every sector.
        hit: Sectors that a sparse shock hits at most.
        observed: Share of sectors of a training economy whose answers are known; the others are masked. Validation
            and test know all.
        min_sectors: Least number of sectors.
        max_sectors: Greatest number of sectors.
        tiers: Number of tiers.
        feedback: Probability that suppliers are not of the tier above.
        hub: Greatest exponent of the preference for few suppliers.
        smallest: Coefficients below it are left out.
        seed: Of the draws and of the order.
        options: Of `FlowData`.

    Raises:
        ValueError: An option is out of range.
    """

    licence = "none needed: drawn at random"
    source = "drawn by graphs.supply.economy.draw_economy"

    def __init__(
        self,
        economies: int = 200,
        held_out: int = 20,
        shocks: str = "unit",
        count: int = 24,
        hit: int = 3,
        observed: float = 1.0,
        min_sectors: int = 30,
        max_sectors: int = 80,
        tiers: int = 4,
        feedback: float = 0.5,
        hub: float = 1.6,
        smallest: float = 0.02,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(seed=seed, **options)
        if shocks not in SHOCKS:
            raise ValueError(f"shocks: expected one of {', '.join(SHOCKS)}, got {shocks!r}")
        if economies < 1 or held_out < 1 or count < 1:
            raise ValueError(
                f"economies, held_out, count: expected at least 1, got {economies}, {held_out} and {count}"
            )
        if not 0 < observed <= 1:
            raise ValueError(f"observed: expected a share above 0, got {observed}")
        if not 1 <= hit <= min_sectors:
            raise ValueError(f"hit: expected 1 .. {min_sectors}, got {hit}")
        self.economies, self.held_out, self.shocks, self.observed = economies, held_out, shocks, observed
        self.count, self.hit = count, hit
        self.options = EconomyOptions(
            (min_sectors, max_sectors), tiers=tiers, feedback=feedback, hub=hub, smallest=smallest
        )

    def load(self) -> Economies:
        """Economies of three streams."""
        sizes = (self.economies, self.held_out, self.held_out)
        return Economies(*([self.item(part, k) for k in range(size)] for part, size in enumerate(sizes)))

    def arrange(self, loaded: Economies, stage: str | None) -> None:
        """They are drawn in parts."""
        self.split = in_a_row(len(loaded.train), len(loaded.val), len(loaded.test))
        self.use_items(*loaded)

    def split_words(self) -> str:
        """How the parts were drawn."""
        return f"economies drawn one by one, seed {self.seed}"

    def item(self, part: int, number: int) -> ShockItem:
        """Economy `number` of part 0 (training), 1 (validation) or 2 (test)."""
        generator = torch.Generator().manual_seed(((self.seed * 3 + part) << 24) + number)
        economy = draw_economy(generator, self.options)
        n = len(economy)
        if self.shocks == "sparse":
            shock = sparse_shocks(n, self.count, self.hit, generator)
            labels = tuple(f"shock {k}" for k in range(self.count))
        else:
            hit = torch.arange(n) if part else torch.randperm(n, generator=generator)[: self.count].sort().values
            shock, labels = unit_shocks(n)[:, hit], tuple(economy.names[int(k)] for k in hit)
        known = torch.ones(n, dtype=torch.bool)
        if part == 0 and self.observed < 1:
            known[torch.randperm(n, generator=generator)[max(1, round(self.observed * n)) :]] = False
        return ShockItem(economy, shock, known[:, None].expand_as(shock).contiguous(), number, labels)


class SyntheticEconomy(SyntheticEconomyData):
    """Former name of `SyntheticEconomyData`."""

    former: ClassVar[bool] = True
