"""What the options of the vision transformer may be."""

from collections.abc import Sequence

from core.scores import Cosine, Dot

POOLS = ("token", "avg", "map", "")
"""Class token, mean over the patches, attention pooling, none."""

SCORES = {"dot": Dot, "cosine": Cosine}
"""How queries and keys are compared."""


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width of an image size: one side, or both."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2:
        raise ValueError(f"img_size: expected one side or (height, width), got {size}")
    return int(sides[0]), int(sides[1])


def check_pool(global_pool: str, class_token: bool) -> None:
    """Refuse a pooling that does not exist, or one by a class token that is not there."""
    if global_pool not in POOLS:
        raise ValueError(f"global_pool: expected one of {POOLS}, got {global_pool!r}")
    if global_pool == "token" and not class_token:
        raise ValueError("global_pool: expected class_token=True for 'token', got False")
