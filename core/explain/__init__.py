"""Explanations of predictions: one contract for all domains, and whether attention may be read as one.

A task answers `task.explains(data, items)` with an `Explains`: what its items and their units are called, what the
model predicts, how the model is asked with units left out, and how numbers of units are drawn. `explain` measures the
rest by `core.analysis.faithfulness` and answers an `Explanation`. `checks.check_explains` holds an implementation to
the contract.
"""

from .contract import Explains, Question
from .explaining import explain
from .items import Explanation, Prediction

__all__ = ["Explains", "Explanation", "Prediction", "Question", "explain"]
