"""A file of a few bytes cannot claim gigabytes: tensors shown many times over what is stored of them."""

from pathlib import Path

import pytest
import torch

from core.training import read_checkpoint
from core.training.checkpoint import check_sizes


def bomb() -> torch.Tensor:
    return torch.zeros(1).expand(1 << 16, 1 << 16)  # 16 GiB of one number


def test_a_tensor_is_as_large_as_what_is_stored() -> None:
    whole = torch.zeros(4, 5)
    check_sizes([("a", whole), ("part", whole[:, 1:]), ("shown twice", torch.zeros(3).expand(2, 3))], "x.pt")
    message = r"x\.pt: b: expected 17,179,869,184 bytes, as its shape says, got 4 in the file"
    with pytest.raises(ValueError, match=message):
        check_sizes([("a", whole), ("b", bomb())], "x.pt")


def test_checkpoints_are_checked(tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": bomb()}}, tmp_path / "x.ckpt")
    assert (tmp_path / "x.ckpt").stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"ckpt_path: .*x\.ckpt: weight: expected 17,179,869,184 bytes"):
        read_checkpoint(tmp_path / "x.ckpt")
    torch.save({"state_dict": {"weight": "text"}}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="state_dict: expected tensors by name"):
        read_checkpoint(tmp_path / "x.ckpt")
