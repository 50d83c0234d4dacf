"""Citation networks in Planetoid's files: Cora, Citeseer, PubMed, with their public split."""

import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import coalesce, remove_self_loops

from core.training import Split, hash_files

from .base import LabelledGraph, NodeData

CLASSES = {
    "cora": (
        "Theory",
        "Reinforcement_Learning",
        "Genetic_Algorithms",
        "Neural_Networks",
        "Probabilistic_Methods",
        "Case_Based",
        "Rule_Learning",
    ),
    "citeseer": ("Agents", "AI", "DB", "IR", "ML", "HCI"),
    "pubmed": ("Diabetes_Experimental", "Diabetes_Type_1", "Diabetes_Type_2"),
}
PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
VALIDATION = 500


class PlanetoidData(NodeData):
    """Which topic a paper is of: bag-of-words features, citations as edges in both directions.

    The public split: the first 20 papers of each class train, the next 500 validate, 1,000 are tested. Read are the
    files ind.<name>.* as they are published; six of them are pickles, of which only numpy arrays, scipy matrices and
    lists are admitted. Citations of a paper by itself are left out, repeated ones count once; the papers of Citeseer
    that no file describes have no features, as everywhere.

    Args:
        root: The folder that holds ind.<name>.x, or <name>/raw with it.
        name: "Cora", "Citeseer" or "PubMed" (or another in the same form).
        split: As `NodeData`.
        options: See `NodeData`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file holds something else; the message names it.
    """

    name: str
    licence = "MIT (the files of kimiyoung/planetoid)"
    source = "Yang, Cohen, Salakhutdinov: Revisiting semi-supervised learning with graph embeddings, ICML 2016"

    def __init__(
        self, root: str | None = None, name: str = "Cora", split: str | None = "given", **options: Any
    ) -> None:
        super().__init__(split=split, **options)
        self.root, self.name = None if root is None else Path(root).expanduser(), name

    def load(self) -> LabelledGraph:
        """Read the eight files."""
        folder = self._folder()
        data, split = read_planetoid(folder, self.name)
        count = int(data.y.max()) + 1
        names = CLASSES.get(self.name.lower(), ())
        classes = names if len(names) == count else tuple(str(k) for k in range(count))
        return LabelledGraph(data, classes, split)

    def fingerprint(self) -> str:
        """A hash of the eight files."""
        folder = self._folder()
        return hash_files([folder / f"ind.{self.name.lower()}.{part}" for part in PARTS])

    def _folder(self) -> Path:
        if self.root is None:
            raise ValueError(f"root: expected the folder of ind.{self.name.lower()}.x, got None")
        first = f"ind.{self.name.lower()}.x"
        places = [self.root, self.root / "raw", self.root / self.name / "raw", self.root / self.name.lower() / "raw"]
        for place in places:
            if (place / first).is_file():
                return place
        raise FileNotFoundError(f"root: expected a folder with {first} (or {self.name}/raw/{first}), got {self.root}")


def read_planetoid(folder: str | Path, name: str) -> tuple[Data, Split]:
    """Read a data set in Planetoid's form; the answer is PyG's, and the public split.

    Shapes:
        data: x (N, F) float32, y (N,), edge_index (2, E) sorted by target, then source.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file holds something else; the message names it.
    """
    stem = f"ind.{name.lower()}"
    read = {part: _read(Path(folder) / f"{stem}.{part}") for part in PARTS}
    listed = read["test.index"]
    order = listed.sort().values
    first, last = int(order[0]), int(order[-1])
    tx, ty = read["tx"], read["ty"]
    if last - first + 1 > len(listed):  # Citeseer: some papers of the test range are described nowhere
        tx, ty = (_spread(part, order - first, last - first + 1) for part in (tx, ty))
    x, y = torch.cat([read["allx"], tx]), torch.cat([read["ally"], ty])
    if len(x) != last + 1:
        raise ValueError(f"{folder}/{stem}: expected features of {last + 1} papers, got {len(x)}")
    x[listed], y[listed] = x[order], y[order]
    train = np.arange(len(read["y"]))
    val = np.arange(len(train), len(train) + VALIDATION)
    if len(train) + VALIDATION > first:
        raise ValueError(
            f"{folder}/{stem}: expected {VALIDATION} papers before the test part, got {first - len(train)}"
        )
    edge_index = _edges(read["graph"], len(x), f"{folder}/{stem}.graph")
    data = Data(x=x, edge_index=edge_index, y=y.argmax(dim=1))
    return data, Split(train, val, order.numpy())


def _spread(part: Tensor, place: Tensor, length: int) -> Tensor:
    whole = part.new_zeros(length, part.shape[1])
    whole[place] = part
    return whole


def _edges(lists: Any, nodes: int, path: str) -> Tensor:
    pairs = [(source, target) for source, targets in lists.items() for target in targets]
    edge_index = torch.tensor(pairs, dtype=torch.long).view(-1, 2).T
    if edge_index.numel() and (int(edge_index.min()) < 0 or int(edge_index.max()) >= nodes):
        raise ValueError(f"{path}: expected papers 0 .. {nodes - 1}, got {int(edge_index.max())}")
    edge_index, _ = remove_self_loops(edge_index)
    return coalesce(edge_index, num_nodes=nodes, sort_by_row=False)


class _Sparse:
    """What a pickled scipy.sparse.csr_matrix holds."""

    _shape: tuple[int, int]
    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray

    def dense(self) -> np.ndarray:
        whole = np.zeros(self._shape, dtype=np.float32)
        rows = np.repeat(np.arange(self._shape[0]), np.diff(self.indptr))
        np.add.at(whole, (rows, self.indices), self.data)
        return whole


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in the pickles of Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding}, expected latin1")
    return text.encode("latin1")


class _Restricted(pickle.Unpickler):
    """Admits arrays, sparse matrices and lists: nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        admitted = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_reconstruct",): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
            ("csr_matrix",): _Sparse,
            ("collections", "defaultdict"): defaultdict,
            ("_codecs", "encode"): _latin1,
            ("list",): list,
        }
        if (module, name) in admitted:
            return admitted[module, name]
        if module.startswith(("numpy.", "scipy.sparse.")) or module in ("__builtin__", "builtins"):
            found = admitted.get((name,))
            if found is not None:
                return found
        raise pickle.UnpicklingError(f"{module}.{name}, which is neither an array, a matrix nor a list")


def _read(path: Path) -> Any:
    """Read one file: a tensor, or the dictionary of the graph."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected one of Planetoid's files, got none")
    if path.name.endswith(".test.index"):
        return torch.tensor([_whole_number(path, n, line) for n, line in enumerate(path.read_text().split(), 1)])
    try:
        with path.open("rb") as file:
            content = _Restricted(file, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, AttributeError, TypeError, IndexError, KeyError) as error:
        raise ValueError(f"{path}: expected one of Planetoid's files, got {error}") from error
    if path.name.endswith(".graph"):
        if not isinstance(content, dict):
            raise ValueError(f"{path}: expected a dictionary of lists, got a {type(content).__name__}")
        return content
    array = content.dense() if isinstance(content, _Sparse) else content
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        raise ValueError(f"{path}: expected a matrix, got a {type(array).__name__}")
    return torch.from_numpy(array.astype(np.float32))


def _whole_number(path: Path, line: int, text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{path}, line {line}: expected a paper's number, got {text!r}")
    return int(text)
