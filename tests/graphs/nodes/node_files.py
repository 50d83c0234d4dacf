"""Small files in Planetoid's and PyG's forms."""

import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch_geometric.data import Data


def write_planetoid(folder: Path, name: str = "cora", classes: int = 3, missing: int = 0, seed: int = 0) -> Path:
    """Write ind.<name>.*: 9 training papers, 500 more, 40 of the test range of which `missing` are nowhere described.

    A paper's features are the one-hot of its class, plus noise; it cites papers of its class.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    nodes, trained, before = 9 + 500 + 40, 9, 509
    label = np.arange(nodes) % classes
    x = (random.random((nodes, 12)) < 0.1).astype(np.float32)
    x[np.arange(nodes), label] = 1
    y = np.eye(classes, dtype=np.int32)[label]
    described = np.arange(before, nodes)
    described = np.concatenate([described[:1], random.permutation(described[1:-1])[missing:], described[-1:]])
    order = random.permutation(described)
    graph = defaultdict(list)
    for paper in range(nodes):
        graph[paper] += [int(p) for p in random.choice(np.flatnonzero(label == label[paper]), 2)]
    graph[3] += [3, graph[3][0]]  # a self loop and a duplicate
    content = {
        "x": sp.csr_matrix(x[:trained]),
        "y": y[:trained],
        "allx": sp.csr_matrix(x[:before]),
        "ally": y[:before],
        "tx": sp.csr_matrix(x[np.sort(described)][np.argsort(np.argsort(order))]),
        "ty": y[np.sort(described)][np.argsort(np.argsort(order))],
        "graph": graph,
    }
    for part, value in content.items():
        (folder / f"ind.{name}.{part}").write_bytes(pickle.dumps(value, protocol=2))
    (folder / f"ind.{name}.test.index").write_text("\n".join(map(str, order)) + "\n")
    return folder


def communities(nodes: int = 60, classes: int = 3, edge_dim: int = 0, seed: int = 0) -> Data:
    """A graph whose edges mostly stay within classes, with features that hint at them; edges in both directions."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(nodes) % classes
    near = (y[:, None] == y[None]).float() * 0.2 + 0.01
    upper = (torch.rand(nodes, nodes, generator=generator) < near).triu(1)
    edge_index = (upper | upper.T).nonzero().T.contiguous()
    x = torch.nn.functional.one_hot(y, classes).float() + 0.5 * torch.rand(nodes, classes, generator=generator)
    data = Data(x=x, edge_index=edge_index, y=y)
    if edge_dim:
        data.edge_attr = torch.rand(edge_index.shape[1], edge_dim, generator=generator)
    return data
