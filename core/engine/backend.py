"""What a backend is, and the table that holds those there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

from torch import Tensor

from .cost import Cost
from .problem import AttentionOutput, Problem

METHODS = ("not_supported_reasons(problem)", "cost(problem)", "run(problem, seed)")


class Backend(ABC):
    """A way to compute attention, equal to the reference wherever it does not refuse.

    A plan is made of shapes, dtypes and structure. `not_supported_reasons` and `cost` may not look at tensor values
    under torch.compile, under torch.export or off the CPU; elsewhere only `fused` does, where it folds a bias.

    Attributes:
        name: Its name in `core.backends.BACKENDS`.
    """

    name: ClassVar[str]

    @abstractmethod
    def not_supported_reasons(self, problem: Problem) -> list[str]:
        """Say why this problem cannot be served; empty if it can."""

    @abstractmethod
    def cost(self, problem: Problem) -> Cost:
        """Estimate a training step."""

    @abstractmethod
    def run(self, problem: Problem, seed: Tensor | None) -> AttentionOutput:
        """Compute attention, with what the problem needs beside it.

        Args:
            problem: A problem that nothing was said against.
            seed: Seed of the dropout, for `core.engine.dropout.keep`; None without dropout.
        """


class Backends(dict[str, Backend]):
    """The backends by name, in the order of preference; what lacks a method is refused when it is entered."""

    def __init__(self, backends: Iterable[Backend] = ()) -> None:
        super().__init__()
        for backend in backends:
            self[backend.name] = backend

    def __setitem__(self, name: str, backend: Backend) -> None:
        what = f"BACKENDS[{name!r}]"
        if isinstance(backend, type):
            raise TypeError(f"{what}: expected a backend, got the class {backend.__name__}: enter an instance of it")
        missing = [method for method in METHODS if not callable(getattr(backend, method.partition("(")[0], None))]
        if missing:
            raise TypeError(
                f"{what}: expected a core.backends.Backend, or what has its methods, got a {type(backend).__name__} "
                f"without {', '.join(missing)}"
            )
        if getattr(backend, "name", name) != name:
            raise ValueError(f"{what}: expected a backend of this name, got one that is called {backend.name!r}")
        super().__setitem__(name, backend)

    def update(self, backends: Mapping[str, Backend]) -> None:  # type: ignore[override]  # a mapping alone
        """Enter several, each of them checked."""
        for name, backend in backends.items():
            self[name] = backend

    def setdefault(self, name: str, backend: Backend) -> Backend:
        """Enter a backend, checked, unless there is one of this name; answer the one that stands there."""
        if name not in self:
            self[name] = backend
        return self[name]
