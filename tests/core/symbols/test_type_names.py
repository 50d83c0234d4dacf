"""The names under which nodes stand in saved programs are those of the first release, wherever the classes are now.

torch.export writes a node's `serialized_type_name` into the file; a program that was saved under one name cannot be
loaded by a suite that registers another. A string of this table is never changed; a new
node gets a line of its own, without a file's path.
"""

import importlib
import pkgutil

from torch.utils import _pytree as pytree

import core
from core.symbols.type_names import type_name

NAMES = {
    "analysis._Closed": "attention_suite.core.analysis.heads._Closed",
    "analysis._CutBias": "attention_suite.core.analysis.cut._CutBias",
    "analysis._CutMask": "attention_suite.core.analysis.cut._CutMask",
    "biases.Alibi": "attention_suite.core.biases.index.Alibi",
    "biases.Dense": "attention_suite.core.biases.dense.Dense",
    "biases.DistanceDecay": "attention_suite.core.biases.decay.DistanceDecay",
    "biases.EdgeBias": "attention_suite.core.biases.edges.EdgeBias",
    "biases.KeyBias": "attention_suite.core.biases.key.KeyBias",
    "biases.Relative": "attention_suite.core.biases.index.Relative",
    "biases.Sum": "attention_suite.core.biases.base.Sum",
    "biases.TimeDecay": "attention_suite.core.biases.decay.TimeDecay",
    "biases._ByQuery": "attention_suite.core.biases.edges._ByQuery",
    "masks.And": "attention_suite.core.masks.base.And",
    "masks.Causal": "attention_suite.core.masks.index.Causal",
    "masks.Dense": "attention_suite.core.masks.dense.Dense",
    "masks.Dilated": "attention_suite.core.masks.index.Dilated",
    "masks.Edges": "attention_suite.core.masks.pairs.Edges",
    "masks.Global": "attention_suite.core.masks.index.Global",
    "masks.Neighbours": "attention_suite.core.masks.pairs.Neighbours",
    "masks.Not": "attention_suite.core.masks.base.Not",
    "masks.NotAfter": "attention_suite.core.masks.time.NotAfter",
    "masks.Or": "attention_suite.core.masks.base.Or",
    "masks.Padding": "attention_suite.core.masks.padding.Padding",
    "masks.Segments": "attention_suite.core.masks.segments.Segments",
    "masks.Window": "attention_suite.core.masks.index.Window",
    "tiles._Plain": "attention_suite.core.tiles._Plain",
    "tiles._Tempered": "attention_suite.core.tiles._Tempered",
}
"""Package of core and class -> its name in saved programs; files in between may change."""


def registered(package: str) -> dict[str, str]:
    """Every class of the package that torch's registry of pytrees knows, with its name there."""
    found = {}
    for name, one in pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE.items():
        if one.__module__.startswith(f"{package}."):
            found[f"{one.__module__.split('.')[1]}.{one.__qualname__}"] = name
    return found


def test_nodes_keep_their_names_in_saved_programs():
    for module in pkgutil.walk_packages(core.__path__, f"{core.__name__}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    assert registered(core.__name__) == NAMES


def test_a_new_node_is_named_without_its_file():
    assert type_name("core.masks.sinks", "Sinks") == "attention_suite.masks.Sinks"
    assert type_name("core.masks.index", "Causal") == "attention_suite.core.masks.index.Causal"
    assert type_name("elsewhere.masks", "Causal") == "attention_suite.elsewhere.masks.Causal"
