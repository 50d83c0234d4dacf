"""What a computation allocates, told by torch's allocator, so that it is the same on every machine and in every run."""

import gc
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_bytes(step: Callable[[], object]) -> int:
    """Answer the most memory on the CPU that tensors made in a step hold at once, in bytes.

    Tensors of kernels count too; buffers that a library takes from the system by itself do not. A first run is left
    uncounted, and what waits for the garbage collector is freed before, else freeing it would count as the step's.
    """
    step()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
