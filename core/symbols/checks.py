"""Checks of what a mask or bias is made of, in the words of every error: "argument: expected ..., got ..."."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def values_are_visible(tensor: Tensor) -> bool:
    """Whether tensor values may be looked at: on the CPU and outside torch.compile and torch.export."""
    return not torch.compiler.is_compiling() and tensor.device.type == "cpu"


def check_range(name: str, index: Tensor, low: int, high: int, what: str) -> None:
    """Raise ValueError unless low <= index < high; looks only where `values_are_visible`."""
    if index.numel() == 0 or not values_are_visible(index):
        return
    least, most = int(index.min()), int(index.max())
    if least < low or most >= high:
        got = least if least < low else most
        raise ValueError(f"{name}: expected {what} from {low} to {high - 1}, got {got}")


def expect_shape(name: str, tensor: Tensor, fits: bool, expected: str) -> None:
    """Raise ValueError, with the shape got and the one expected, unless the tensor `fits`."""
    if not fits:
        raise ValueError(f"{name}: expected {expected}, got shape {tuple(tensor.shape)}")


def expect_tensor(name: str, value: Any, *, integer: bool = False, boolean: bool = False) -> None:
    """Raise TypeError unless `value` is a tensor (of an integer or boolean dtype, if asked)."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got a {type(value).__name__}")
    is_integer = not (value.dtype.is_floating_point or value.dtype.is_complex or value.dtype == torch.bool)
    if integer and not is_integer:
        raise TypeError(f"{name}: expected an integer dtype, got {value.dtype}")
    if boolean and value.dtype != torch.bool:
        raise TypeError(f"{name}: expected torch.bool, got {value.dtype}")


def check_constant(name: str, value: Tensor) -> None:
    """Raise unless `value` is a tensor that asks for no gradient: places and times carry none."""
    expect_tensor(name, value)
    if value.requires_grad:
        raise ValueError(
            f"{name}: expected a tensor without gradient, as none flows to it, such as {name}.detach(), "
            "got one that requires grad"
        )


def check_per_head(name: str, value: float | Tensor, H: int) -> None:
    """Raise ValueError unless `value` is a number, a scalar tensor or a tensor (H,)."""
    if isinstance(value, Tensor):
        expect_shape(name, value, value.ndim == 0 or tuple(value.shape) == (H,), f"a scalar or (H,) = ({H},)")


def check_broadcast(name: str, tensor: Tensor, B: int, H: int, Lq: int, Lk: int) -> None:
    """Raise ValueError unless `tensor` is 4-D and broadcasts to (B, H, Lq, Lk)."""
    full = (B, H, Lq, Lk)
    expect_shape(
        name,
        tensor,
        tensor.ndim == 4 and all(size in (1, target) for size, target in zip(tensor.shape, full, strict=True)),
        f"4-D, broadcastable to (B, H, Lq, Lk) = {full}",
    )


def check_times(owner: str, times: Tensor, key_times: Tensor | None, B: int, Lq: int, Lk: int) -> None:
    """Raise ValueError unless times is (B, Lq) and key_times (B, Lk), which may only be missing when Lq = Lk."""
    expect_shape(f"{owner}.times", times, tuple(times.shape) == (B, Lq), f"(B, Lq) = ({B}, {Lq})")
    if key_times is None:
        if Lq != Lk:
            raise ValueError(f"{owner}.key_times: expected a tensor where Lq ({Lq}) differs from Lk ({Lk}), got None")
    else:
        expect_shape(f"{owner}.key_times", key_times, tuple(key_times.shape) == (B, Lk), f"(B, Lk) = ({B}, {Lk})")


def check_edges(owner: str, edge_index: Tensor, **per_edge: Tensor | None) -> None:
    """Raise unless edge_index is (2, E) and each of `per_edge` is an integer (E,) or None."""
    expect_shape(
        f"{owner}.edge_index",
        edge_index,
        edge_index.ndim == 2 and edge_index.shape[0] == 2,
        "(2, E): keys, then queries",
    )
    for name, value in per_edge.items():
        if value is not None:
            expect_tensor(f"{owner}.{name}", value, integer=True)
            expect_shape(
                f"{owner}.{name}",
                value,
                tuple(value.shape) == (edge_index.shape[1],),
                f"(E,) = ({edge_index.shape[1]},)",
            )


def check_edge_range(owner: str, edge_index: Tensor, batch: Tensor | None, B: int, Lq: int, Lk: int) -> None:
    """Raise ValueError unless every edge leads from a key to a query of an item that exists."""
    check_range(f"{owner}.edge_index[0]", edge_index[0], 0, Lk, "keys")
    check_range(f"{owner}.edge_index[1]", edge_index[1], 0, Lq, "queries")
    if batch is not None:
        check_range(f"{owner}.batch", batch, 0, B, "items")
