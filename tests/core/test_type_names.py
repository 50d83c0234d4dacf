"""The names under which nodes stand in saved programs are those of the first release, wherever the classes are now.

torch.export writes a node's `serialized_type_name` into the file; a program that was saved under one name cannot be
loaded by a suite that registers another. A string of this table is never changed; a new node gets a line of its own.
"""

import importlib
import pkgutil

from torch.utils import _pytree as pytree

import core

NAMES = {
    "analysis.cut._CutBias": "attention_suite.core.analysis.cut._CutBias",
    "analysis.cut._CutMask": "attention_suite.core.analysis.cut._CutMask",
    "analysis.heads._Closed": "attention_suite.core.analysis.heads._Closed",
    "biases.base.Sum": "attention_suite.core.biases.base.Sum",
    "biases.decay.DistanceDecay": "attention_suite.core.biases.decay.DistanceDecay",
    "biases.decay.TimeDecay": "attention_suite.core.biases.decay.TimeDecay",
    "biases.dense.Dense": "attention_suite.core.biases.dense.Dense",
    "biases.edges.EdgeBias": "attention_suite.core.biases.edges.EdgeBias",
    "biases.edges._ByQuery": "attention_suite.core.biases.edges._ByQuery",
    "biases.index.Alibi": "attention_suite.core.biases.index.Alibi",
    "biases.index.Relative": "attention_suite.core.biases.index.Relative",
    "biases.key.KeyBias": "attention_suite.core.biases.key.KeyBias",
    "masks.base.And": "attention_suite.core.masks.base.And",
    "masks.base.Not": "attention_suite.core.masks.base.Not",
    "masks.base.Or": "attention_suite.core.masks.base.Or",
    "masks.dense.Dense": "attention_suite.core.masks.dense.Dense",
    "masks.index.Causal": "attention_suite.core.masks.index.Causal",
    "masks.index.Dilated": "attention_suite.core.masks.index.Dilated",
    "masks.index.Global": "attention_suite.core.masks.index.Global",
    "masks.index.Window": "attention_suite.core.masks.index.Window",
    "masks.padding.Padding": "attention_suite.core.masks.padding.Padding",
    "masks.pairs.Edges": "attention_suite.core.masks.pairs.Edges",
    "masks.pairs.Neighbours": "attention_suite.core.masks.pairs.Neighbours",
    "masks.segments.Segments": "attention_suite.core.masks.segments.Segments",
    "masks.time.NotAfter": "attention_suite.core.masks.time.NotAfter",
    "tiles._Plain": "attention_suite.core.tiles._Plain",
    "tiles._Tempered": "attention_suite.core.tiles._Tempered",
}
"""Class, as found below `core` -> its name in saved programs."""


def registered(package: str) -> dict[str, str]:
    """Every class of the package that torch's registry of pytrees knows, with its name there."""
    found = {
        f"{one.__module__}.{one.__qualname__}": name for name, one in pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE.items()
    }
    return {one.removeprefix(f"{package}."): name for one, name in found.items() if one.startswith(f"{package}.")}


def test_nodes_keep_their_names_in_saved_programs():
    for module in pkgutil.walk_packages(core.__path__, f"{core.__name__}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    assert registered(core.__name__) == NAMES
