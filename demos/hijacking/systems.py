"""The two systems that core_hijacking.py attacks: digits as 16 patches, and sequences of 63 events.

Every attack writes one token. It is found by gradient on held-out items, chosen there too, and counted on test items.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import core
import vision
from core import robust, scores
from core.training import hash_arrays

CELL, GRID = 2, 4  # pixels of a patch, patches of a side
EVENTS, MARKED = 63, 8  # the 64th is inserted
NOISE = 3  # features of an event that mean nothing
BOUND, KEYS = 0.2, 64  # one key of 64 shall not take more than a fifth


class Split(NamedTuple):
    """Items and labels."""

    x: Tensor
    y: Tensor


class Parts(NamedTuple):
    """What is trained on, what attacks are found on, what everything is counted on."""

    train: Split
    held_out: Split
    test: Split
    fingerprint: str

    def first(self, items: int) -> "Parts":
        """The first items of each part."""
        parts = (Split(part.x[:items], part.y[:items]) for part in (self.train, self.held_out, self.test))
        return Parts(*parts, self.fingerprint)


class Success(NamedTuple):
    """Share of the rightly classified test items that one token turns."""

    found: float
    random: float


def options(defence: str, head_dim: int, *, names: bool = False) -> dict[str, Any]:
    """What a layer is built with; `names` where the score is told by its name."""
    if defence == "limits":
        limit = robust.norm_limit_for(BOUND, KEYS, scale=head_dim**-0.5)
        return {"query_norm_limit": limit, "key_norm_limit": limit}
    if defence == "cosine":
        return {"score": "cosine" if names else scores.Cosine(), "scale": robust.cosine_scale_for(BOUND, KEYS)}
    return {}


class Digits(nn.Module):
    """A vision transformer that takes pixels in [0, 1]: 4 x 4 patches of 2 x 2 pixels and a class token."""

    def __init__(self, defence: str, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.vit = vision.VisionTransformer(
            8, CELL, 1, 10, embed_dim=64, depth=2, num_heads=4, mlp_ratio=2.0, **options(defence, 16, names=True)
        )
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images (B, 1, 8, 8)."""
        return self.vit((x - self.mean[:, None, None]) / self.std[:, None, None])


class Events(nn.Module):
    """Two blocks and a pooling query over a set of events; the logit of a positive mean."""

    def __init__(self, defence: str) -> None:
        super().__init__()
        given = options(defence, 8)
        self.embed = nn.Linear(2 + NOISE, 32)
        self.encoder = core.Encoder(32, 2, 4, mlp_ratio=2.0, **given)
        self.pool = core.AttentionPooling(32, 4, **given)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 2) of sequences (B, L, 2 + NOISE)."""
        return self.head(self.pool(self.encoder(self.embed(x))))


def digits_data() -> tuple[Parts, vision.DigitsData]:
    """scikit-learn's digits: 60% to train, 20% to find attacks, 20% to count; stratified."""
    data = vision.DigitsData(val_fraction=0.2, test_fraction=0.2, rotation=10, scale=0.1, translation=0.05)
    data.prepare_data()
    data.setup()

    def whole(part: Any) -> Split:
        items = [part[k] for k in range(len(part))]
        return Split(torch.stack([item.image for item in items]), torch.tensor([int(item.label) for item in items]))

    return Parts(*map(whole, (data.train_set, data.val_set, data.test_set)), data.fingerprint()), data


def rule(x: Tensor) -> Tensor:
    """Whether the values of the marked events have a positive mean: what the sequences are labelled by."""
    marked = (x[..., 0] > 0).to(x.dtype)
    return ((marked * x[..., 1]).sum(1) > 0).long()


def event_data(seed: int) -> Parts:
    """Sets of 63 events (mark, value, noise); 8 carry the mark 1, the others -1; values and noise are normal."""
    g = torch.Generator().manual_seed(seed)
    parts = []
    for items in (4096, 512, 1000):
        x = torch.randn(items, EVENTS, 2 + NOISE, generator=g)
        x[..., 0] = -1.0
        x[:, :MARKED, 0] = 1.0
        x = torch.stack([row[torch.randperm(EVENTS, generator=g)] for row in x])
        parts.append(Split(x, rule(x)))
    return Parts(*parts, hash_arrays(*(part.x.numpy() for part in parts)))


def train(model: nn.Module, part: Split, seed: int, epochs: int, augment: Callable[..., Tensor] | None = None) -> None:
    """AdamW with one cycle of the learning rate; the last state is kept, nothing is chosen."""
    g = torch.Generator().manual_seed(seed)
    batch = 64
    steps = epochs * (len(part.y) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(part.y), generator=g)
        for index in order[: len(order) // batch * batch].view(-1, batch):
            x = part.x[index] if augment is None else augment(part.x[index], index, seed=seed, epoch=epoch)
            loss = nn.functional.cross_entropy(model(x), part.y[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def right(model: nn.Module, part: Split) -> Tensor:
    """Which items are classified rightly, (n,)."""
    return torch.cat([model(x).argmax(1) for x in part.x.split(500)]) == part.y


def paste(x: Tensor, token: Tensor, place: int) -> Tensor:
    """Images with a patch (4 pixels) at a cell of the grid."""
    top, left = CELL * (place // GRID), CELL * (place % GRID)
    x = x.clone()
    x[..., top : top + CELL, left : left + CELL] = token.view(1, 1, CELL, CELL)
    return x


def insert(x: Tensor, token: Tensor, place: int) -> Tensor:
    """Sequences with one more event."""
    return torch.cat([token.expand(len(x), 1, -1), x], dim=1)


def attack(
    model: nn.Module,
    write: Callable[[Tensor, Tensor, int], Tensor],
    parts: Parts,
    low: Tensor,
    high: Tensor,
    seed: int,
    *,
    tries: int,
    steps: int,
) -> tuple[Success, Tensor, int]:
    """One token for all items, by gradient ascent on the loss of held-out items, within low and high.

    `tries` tokens are begun at random, one for each place, and the one that turns most held-out items is taken. The
    random token is chosen alike among those that the search began with.

    Returns:
        Its success on test items, the token and its place.
    """
    g = torch.Generator().manual_seed(seed)
    x, y = (t[right(model, parts.held_out)] for t in parts.held_out)
    start = low + (high - low) * torch.rand(tries, len(low), generator=g)
    middle, reach = (low + high) / 2, (high - low) / 2
    free = torch.atanh(((start - middle) / reach.clamp(min=1e-9)).clamp(-0.95, 0.95)).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.3)
    for _ in range(steps):
        index = torch.randperm(len(x), generator=g)[:16]
        tokens = middle + reach * free.tanh()
        written = torch.cat([write(x[index], token, place) for place, token in enumerate(tokens)])
        logits = model(written)
        loss = nn.functional.cross_entropy(logits, y[index].repeat(tries), reduction="sum")
        (free.grad,) = torch.autograd.grad(-loss, free)
        optimizer.step()
    found = (middle + reach * free.tanh()).detach()
    chosen = [_best(model, write, Split(x, y), tokens) for tokens in (found, start)]
    tx, ty = (t[right(model, parts.test)] for t in parts.test)
    rates = [_turned(model, write, Split(tx, ty), token, place) for token, place in chosen]
    return Success(*rates), *chosen[0]


def _best(model: nn.Module, write: Any, part: Split, tokens: Tensor) -> tuple[Tensor, int]:
    rates = [_turned(model, write, part, token, place) for place, token in enumerate(tokens)]
    place = int(torch.tensor(rates).argmax())
    return tokens[place], place


def _turned(model: nn.Module, write: Any, part: Split, token: Tensor, place: int) -> float:
    return 1 - float(right(model, Split(write(part.x, token, place), part.y)).double().mean())
