"""Simpler methods beside the learned propagation: the output itself, one or two rounds of suppliers, a cut series."""

from torch import Tensor

from core.training import BaselineResult

from .data.flows import ShockBatch
from .economy import FlowEdges
from .scores import log_scores, r_squared
from .shocks import respond

ROUNDS = ("one_round", "two_rounds", "series_against_inverse")
CHANGES = ("output_itself",)


def output_itself(batch: ShockBatch, truth: Tensor, scored: Tensor) -> BaselineResult:
    """As if nothing of the output were used by others."""
    return BaselineResult("output_itself", {"r2": r_squared(batch.shock[scored], truth[scored])})


def rounds_of_suppliers(
    edges: FlowEdges, batch: ShockBatch, truth: Tensor, scored: Tensor, rounds: int
) -> BaselineResult:
    """One or two rounds of suppliers: I + A, I + A + A^2.

    On the log scale a method that answers 0 where the truth does not is given the smallest answer that is scored,
    which flatters it; `reached` is the share that it answers, `r2_reached` is over those pairs alone.
    """
    found = respond(edges, batch.shock, rounds)
    return BaselineResult({1: "one_round", 2: "two_rounds"}[rounds], log_scores(found[scored], truth[scored]))


def series_against_inverse(edges: FlowEdges, batch: ShockBatch, hops: int) -> BaselineResult:
    """The series cut after D hops, measured against the inverse: what D hops leave out."""
    everything = respond(edges, batch.shock)
    elsewhere = batch.observed & (batch.shock == 0)
    cut = respond(edges, batch.shock, hops)
    within = elsewhere & (cut > 0)
    values = {
        "r2_linear": r_squared(cut[elsewhere], everything[elsewhere]),
        "r2_reached": r_squared(cut[within].log(), everything[within].log()),
        "reached": float((within & (everything > 0)).sum() / (elsewhere & (everything > 0)).sum()),
    }
    return BaselineResult("series_against_inverse", values)
