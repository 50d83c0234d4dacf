"""Under which name a node stands inside an exported program. Names that exported programs may hold never change."""

FROZEN = {
    "biases.Alibi": "core.biases.index.Alibi",
    "biases.Dense": "core.biases.dense.Dense",
    "biases.DistanceDecay": "core.biases.decay.DistanceDecay",
    "biases.EdgeBias": "core.biases.edges.EdgeBias",
    "biases.KeyBias": "core.biases.key.KeyBias",
    "biases.Relative": "core.biases.index.Relative",
    "biases.Sum": "core.biases.base.Sum",
    "biases.TimeDecay": "core.biases.decay.TimeDecay",
    "biases._ByQuery": "core.biases.edges._ByQuery",
    "masks.And": "core.masks.base.And",
    "masks.Causal": "core.masks.index.Causal",
    "masks.Dense": "core.masks.dense.Dense",
    "masks.Dilated": "core.masks.index.Dilated",
    "masks.Edges": "core.masks.pairs.Edges",
    "masks.Global": "core.masks.index.Global",
    "masks.Neighbours": "core.masks.pairs.Neighbours",
    "masks.Not": "core.masks.base.Not",
    "masks.NotAfter": "core.masks.time.NotAfter",
    "masks.Or": "core.masks.base.Or",
    "masks.Padding": "core.masks.padding.Padding",
    "masks.Segments": "core.masks.segments.Segments",
    "masks.Window": "core.masks.index.Window",
    "tiles._Plain": "core.tiles._Plain",
    "tiles._Tempered": "core.tiles._Tempered",
    "analysis._Closed": "core.analysis.heads._Closed",
    "analysis._CutBias": "core.analysis.cut._CutBias",
    "analysis._CutMask": "core.analysis.cut._CutMask",
}
"""Package and class of the nodes that had the name of their file; all others are named by package and class alone."""


def type_name(module: str, name: str) -> str:
    """Answer the name of a node class: attention_suite.<package>.<Class>, without the file that it stands in.

    Args:
        module: Where the class is defined, such as "core.masks.index".
        name: Its qualified name.
    """
    if not module.startswith("core."):
        return f"attention_suite.{module}.{name}"  # a node from outside keeps its module: nobody else's has its name
    short = f"{module.split('.')[1]}.{name}"
    return f"attention_suite.{FROZEN.get(short, short)}"
