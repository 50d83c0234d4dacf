"""How far two correct computations of the same number may lie apart, on any processor.

A product or sum of floating-point numbers errs by at most u = eps / 2 of its result, and a sum of n terms, in whatever
order and width of register, by n u times the sum of their sizes to first order (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 4.2). Two orders of the same sum thus lie at most

.. math::
    n \\, \\text{eps} \\, \\sum_i |x_i|

apart, and errors of steps that follow each other add. An elementary function (exp, log, tanh, a root) errs by a few
units in the last place in every library that torch uses: it counts as `FUNCTION` operations. What a step does to the
error of its input (a derivative above 1, a difference of large numbers) belongs to `size`.

So: count the operations on the longest way from an input to the answer, a dot product of n numbers as n; take for
`size` the largest sum of sizes on that way. The bound is a worst case, and errors fall far below it.
"""

import torch

FUNCTION = 4  # units in the last place: SLEEF's and MKL's functions err by at most 1 to 4


def rounding(operations: int, size: float = 1.0, dtype: torch.dtype = torch.float32) -> float:
    """Answer the absolute tolerance of two computations of `operations` steps on numbers up to `size`."""
    return operations * torch.finfo(dtype).eps * size
