"""A graph of 100,000 nodes and 1,000,000 edges: full-batch and by neighbour sampling, beside TransformerConv.

    python benchmarks/graphs_large.py [--nodes 100000] [--rounds 3] [--threads 1]

Two layers of 4 heads of 16 on 64 features, ten edges a node, float32; a tenth of the nodes train. Full-batch, an epoch
is one step over the whole graph; sampled, ten and ten neighbours for batches of 512 training nodes. The contestants
take turns in one process, ratios are medians over the rounds, seconds those that this process computes (on one thread;
else those of the clock on the wall). Peaks are the growth over the graph's own memory in a fresh process, for the graph
and for one of twice the size. Exits with 1 if a bar is missed: ours full-batch takes at most TransformerConv's time and
half its memory, sampling at most a quarter of its memory, and that grows by at most a half with twice the graph.
"""

import argparse
import ctypes
import gc
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
import torch_geometric
from torch_geometric.data import Data

import graphs
from core import __version__
from graphs.layers import in_degree

DEGREE, FEATURES, CLASSES, BATCH, FANOUTS = 10, 64, 8, 512, (10, 10)
NAMES = ("TransformerConv, full-batch", "ours, full-batch", "ours, sampled")


def make(nodes: int) -> tuple[Data, torch.Tensor]:
    """A graph whose edges mostly join nodes of a class, features that hint at it, and the nodes that train."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(CLASSES, (nodes,), generator=generator)
    order = y.argsort(stable=True)
    first = torch.searchsorted(y[order], torch.arange(CLASSES + 1))
    wanted = nodes * DEGREE
    target = torch.arange(nodes).repeat_interleave(DEGREE + 2)
    size = first[y[target] + 1] - first[y[target]]
    near = order[first[y[target]] + (torch.rand(len(target), generator=generator) * size).long()]
    far = torch.randint(nodes, (len(target),), generator=generator)
    source = torch.where(torch.rand(len(target), generator=generator) < 0.7, near, far)
    code = torch.unique(target * nodes + source)
    code = code[torch.randperm(len(code), generator=generator)[:wanted]].sort().values
    x = torch.randn(nodes, FEATURES, generator=generator) + 0.5 * F.one_hot(y, FEATURES)
    data = Data(x=x, edge_index=torch.stack([code % nodes, code // nodes]), y=y)
    data.degree = in_degree(data.edge_index, nodes)
    return data, torch.randperm(nodes, generator=generator)[: nodes // 10]


def epoch_of(name: str, data: Data, train: torch.Tensor) -> tuple[Callable[[], float], torch.nn.Module]:
    """A function that trains for one epoch and answers the mean loss, and the model."""
    torch.manual_seed(0)
    conv = "transformer" if name.startswith("TransformerConv") else "attention"
    model = graphs.GraphTransformer(
        FEATURES, CLASSES, 16, 4, conv=conv, dropout=0.0, attention_dropout=0.0, self_loops=False
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def step(graph: Data, target: torch.Tensor) -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(graph)[target], graph.y[target])
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    if not name.endswith("sampled"):
        return lambda: step(data, train), model
    sampler = graphs.NeighbourSampler(data.edge_index, data.num_nodes, FANOUTS)

    def epoch() -> float:
        parts = train[torch.randperm(len(train))].split(BATCH)
        return statistics.mean(step(sampler.sample_data(data, part), torch.arange(len(part))) for part in parts)

    return epoch, model


def status(key: str) -> int:
    """A number of kilobytes that the kernel keeps about this process."""
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith(key)).split()[1])


def memory_of(name: str, nodes: int) -> float:
    """Train an epoch and answer the growth of the peak in megabytes."""
    small, few = make(500)
    epoch_of(name, small, few)[0]()
    data, train = make(nodes)
    epoch, _ = epoch_of(name, data, train)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # else what making the graph has freed would be used again unseen
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak so far is that of making the graph
    before = status("VmRSS")
    epoch()
    return (status("VmHWM") - before) * 1024 / 1e6


def peak(name: str, nodes: int, threads: int) -> float:
    """Megabytes that an epoch adds at its peak, in a fresh process."""
    command = [sys.executable, "-W", "ignore", __file__, "--threads", str(threads), "--nodes", str(nodes)]
    done = subprocess.run([*command, "--memory-of", name], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> int:
    """Measure, print a table, answer 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-of", choices=NAMES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*sparse", category=UserWarning)
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        print(memory_of(arguments.memory_of, arguments.nodes))
        return 0
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    data, train = make(arguments.nodes)
    held = torch.ones(arguments.nodes, dtype=torch.bool).index_fill(0, train, False)
    contestants = {name: epoch_of(name, data, train) for name in NAMES}
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(arguments.rounds):
        for name, (epoch, _model) in contestants.items():
            start = clock()
            epoch()
            seconds[name].append(clock() - start)
    sizes = (arguments.nodes, 2 * arguments.nodes)
    peaks = {name: [peak(name, nodes, arguments.threads) for nodes in sizes] for name in NAMES}
    batches = -(-len(train) // BATCH)
    print(
        f"attention-suite {__version__}, torch {torch.__version__}, PyTorch Geometric {torch_geometric.__version__}, "
        f"{arguments.threads} threads, {arguments.rounds} rounds; {data.num_nodes:,} nodes, {data.num_edges:,} edges, "
        f"{len(train):,} training nodes\n"
    )
    print(
        f"| | steps an epoch | seconds an epoch | TransformerConv's / its | peak MB | at twice the size | "
        f"accuracy on the other nodes after {arguments.rounds} epochs |\n|---|---|---|---|---|---|---|"
    )
    base = seconds[NAMES[0]]
    ratios = {name: statistics.median(a / b for a, b in zip(base, seconds[name], strict=True)) for name in NAMES}
    for name, (_, model) in contestants.items():
        with torch.no_grad():
            right = (model.eval()(data).argmax(1) == data.y)[held]
        print(
            f"| {name} | {batches if name.endswith('sampled') else 1} | {statistics.median(seconds[name]):.2f} | "
            f"{ratios[name]:.2f} | {peaks[name][0]:.0f} | {peaks[name][1]:.0f} | {100 * right.float().mean():.1f} % |"
        )
    theirs, full, sampled = (peaks[name] for name in NAMES)
    bars = {
        "ours full-batch: time": ratios[NAMES[1]] >= 1.0,
        "ours full-batch: memory": full[0] <= theirs[0] / 2,
        "sampled: memory": sampled[0] <= theirs[0] / 4,
        "sampled: growth with the graph": sampled[1] <= 1.5 * sampled[0],
    }
    missed = [name for name, met in bars.items() if not met]
    print(f"\n{'Every bar is met.' if not missed else 'Missed: ' + '; '.join(missed) + '.'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
