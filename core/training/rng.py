"""The state of every random number generator, as tensors and numbers that load without running code."""

import random
from typing import Any

import numpy as np
import torch


def get_rng_state(cuda: bool = True) -> dict[str, Any]:
    """State of torch's, numpy's and Python's generators.

    Args:
        cuda: also those of every visible GPU.

    Returns:
        a map of tensors, numbers and strings (readable with `torch.load(..., weights_only=True)`).
    """
    state: Any = np.random.get_state()
    name, keys, position, has_gauss, cached = state
    version, numbers, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda and torch.cuda.is_available() else [],
        "numpy": [str(name), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "python": [version, torch.tensor(numbers, dtype=torch.int64), gauss],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Put a state back that `get_rng_state` answered.

    A state saved on another number of GPUs leaves the GPUs' generators as they are.
    """
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
