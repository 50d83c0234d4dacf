"""What a module with attention in it must survive: copies, pickles, checkpointing, and several processes."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import core
from core import masks
from core.backends import BACKENDS


class Model(nn.Module):
    """One layer with a learned decay in a window, or over listed neighbours where a backend wants these."""

    def __init__(self, backend="auto"):
        super().__init__()
        self.attention = core.MultiheadAttention(8, 2, backend=backend)
        self.decay = core.TimeDecayBias(2, half_lives=[1.0, 10.0])
        near = (torch.arange(7)[:, None] + torch.arange(-2, 3)).clamp(0, 6)
        self.mask = masks.Neighbours(near) if backend == "gathered" else masks.Window(2, 2)

    def forward(self, x, times):
        return self.attention(x, mask=self.mask, bias=self.decay(times))


X, TIMES = torch.randn(2, 7, 8), torch.rand(2, 7) * 10
ON_CPU = [name for name in BACKENDS if name != "flex"]


def gradients(model, run):
    model.zero_grad()
    run(model).square().sum().backward()
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_compute_the_same(backend, again):
    model = Model(backend)
    model(X, TIMES).sum().backward()  # with what a step leaves behind
    other = again(model)
    for a, b in zip(*(gradients(m, lambda m: m(X, TIMES)) for m in (model, other)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("backend", ON_CPU)
def test_checkpointing_gives_the_same_gradients(backend):
    model = Model(backend)
    plain = gradients(model, lambda m: m(X, TIMES))
    again = gradients(model, lambda m: checkpoint(m, X, TIMES, use_reentrant=False))
    for a, b in zip(plain, again, strict=True):
        assert torch.equal(a, b)


def test_compile_breaks_the_graph_nowhere():
    model = Model()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X, TIMES), model(X, TIMES))
    counts = torch._dynamo.explain(model)(X, TIMES)
    assert counts.graph_break_count == 0


TWO_PROCESSES = """
import os
import sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, {root!r})
from tests.core.test_modules import Model

def main(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{{folder}}/meet", rank=rank, world_size=2)
    for backend in {backends!r}:
        torch.manual_seed(0)
        model = Model(backend).double()
        g = torch.Generator().manual_seed(1)
        x, times = torch.randn(4, 7, 8, generator=g).double(), torch.rand(4, 7, generator=g).double() * 10
        whole = torch.autograd.grad(model(x, times).square().sum() / 2, list(model.parameters()))
        own = slice(2 * rank, 2 * rank + 2)
        parallel = DistributedDataParallel(model)
        parallel(x[own], times[own]).square().sum().backward()
        for parameter, expected in zip(model.parameters(), whole, strict=True):
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-10)
        if rank == 0:
            print(backend, flush=True)
    dist.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads end at times in an abort while Python shuts down

if __name__ == "__main__":
    torch.multiprocessing.spawn(main, (sys.argv[1],), nprocs=2)
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_two_processes_add_up_to_one(tmp_path, request):
    """DistributedDataParallel's mean of two halves is half of the gradient of both, learned half-lives included."""
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES.format(root=str(request.config.rootpath), backends=ON_CPU), encoding="utf-8")
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ON_CPU
