"""Backends from outside: entered, planned with, refused where they lack a method."""

import types

import pytest
import torch

import core
from core.backends import BACKENDS, Backend, Reference
from core.engine import RATES, Cost


class Mine(Reference):
    """The reference under another name, through a route that nobody has measured."""

    name = "mine"

    def cost(self, problem):
        return Cost(flops=10**9, peak_bytes=1, memory="O(L d)", cells=10**6, route="mine")


@pytest.fixture
def mine(monkeypatch):
    monkeypatch.setitem(BACKENDS, "mine", Mine())


def test_a_backend_without_rates_counts_as_fast_as_the_reference(mine):
    q = torch.randn(1, 1, 8, 4)
    plan = core.plan(q, q, q)
    cost = plan.candidates[-1].cost
    rates = RATES["reference"]
    assert cost.seconds == rates.call + 10**9 * rates.flop + 10**6 * rates.cell
    assert not cost.is_measured and all(c.cost.is_measured for c in plan.candidates[:-1])
    lines = str(plan).splitlines()
    assert f"~{cost.seconds * 1e3:.3g}" in lines[-2] and lines[-1].startswith("~ at the rates of the reference")


def test_it_serves_where_it_is_asked_to(mine):
    q = torch.randn(1, 1, 8, 4)
    torch.testing.assert_close(core.attend(q, q, q, backend="mine"), core.attend(q, q, q))
    assert core.attend(q, q, q, need=("weights",)).weights.shape == (1, 1, 8, 8)


def test_what_has_the_methods_is_a_backend(monkeypatch):
    module = types.ModuleType("module")
    for method in ("not_supported_reasons", "cost", "run"):
        setattr(module, method, getattr(Mine(), method))
    monkeypatch.setitem(BACKENDS, "module", module)
    q = torch.randn(1, 1, 8, 4)
    assert core.plan(q, q, q, backend="module").backend == "module"


def test_what_lacks_a_method_is_refused_when_entered():
    module = types.ModuleType("module")
    module.cost = module.not_supported_reasons = Mine().cost
    message = r"BACKENDS\['module'\]: expected a core.backends.Backend.*got a module without run\(problem, seed\)"
    for enter in (BACKENDS.setdefault, BACKENDS.__setitem__, lambda name, backend: BACKENDS.update({name: backend})):
        with pytest.raises(TypeError, match=message):
            enter("module", module)
    with pytest.raises(TypeError, match=r"expected a backend, got the class Reference: enter an instance"):
        BACKENDS["mine"] = Reference
    with pytest.raises(ValueError, match=r"BACKENDS\['other'\]: expected a backend of this name, got .* called 'mine'"):
        BACKENDS["other"] = Mine()
    assert set(BACKENDS) == {"fused", "flex", "gathered", "reference", "banded", "tiled"}


def test_a_class_that_lacks_a_method_makes_no_backend():
    class Half(Backend):
        name = "half"

        def cost(self, problem):
            return Mine().cost(problem)

    with pytest.raises(TypeError, match="not_supported_reasons"):
        Half()
