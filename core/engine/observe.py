"""Who watches calls of `attend`: how `core.analysis` sees queries, keys and structure without changing a model."""

from __future__ import annotations

from collections.abc import Callable

from .problem import AttentionOutput, Problem

Observer = Callable[[Problem, AttentionOutput], None]

observers: list[Observer] = []
"""Called in turn after each `attend`, with the problem as it was posed and the answer; empty unless someone watches.

An observer must leave both as they are. While the list is empty, it costs the check of its length."""
