"""Arrows between packages point one way, and `import core` loads torch and nothing else."""

import json
import subprocess
import sys

import pytest

from .tree import DOMAINS, HEAVY, PACKAGES, ROOT, Import, imports, is_standard, sources

LOADED = """
import json, sys
import torch
before = {name.partition(".")[0] for name in sys.modules}
import core
after = {name.partition(".")[0] for name in sys.modules}
print(json.dumps({"all": sorted(after), "new": sorted(after - before)}))
"""

ON_REQUEST = ("matplotlib", "captum")
"""What core.analysis imports inside the function, or for the type, that needs it."""


def all_imports(package: str) -> list[Import]:
    found = [one for path in sources(package) for one in imports(path)]
    assert found, f"{package} has no imports: is it still at the top level?"
    return found


def test_imports_are_resolved_to_full_names():
    found = {one.module: one for one in imports(ROOT / "core" / "masks" / "time.py")}
    assert found["core.symbols.symbolic"].relative and found["core.masks.base"].relative
    assert not found["torch"].relative and not found["torch"].deferred


def test_import_core_loads_torch_and_nothing_else():
    run = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = json.loads(run.stdout)
    assert not set(loaded["all"]) & set(HEAVY)
    assert [name for name in loaded["new"] if not is_standard(name)] == ["core"]


def test_core_outside_training_imports_torch_and_the_standard_library():
    strangers = [
        str(one)
        for one in all_imports("core")
        if not one.file.is_relative_to(ROOT / "core" / "training")
        and not (one.deferred and one.top in ON_REQUEST and one.file.is_relative_to(ROOT / "core" / "analysis"))
        and not one.relative
        and one.top != "torch"
        and not is_standard(one.top)
    ]
    assert not strangers
    assert set(ON_REQUEST) <= {one.top for one in all_imports("core")}


def test_core_outside_training_does_not_import_training():
    strangers = [
        str(one)
        for one in all_imports("core")
        if not one.file.is_relative_to(ROOT / "core" / "training") and one.module.startswith("core.training")
    ]
    assert not strangers


def test_the_command_imports_the_standard_library_alone():
    assert not [str(one) for one in all_imports("attention_suite") if not one.relative and not is_standard(one.top)]


def test_core_imports_no_domain():
    assert not [str(one) for one in all_imports("core") if one.top in DOMAINS]


def test_core_reaches_itself_relatively():
    assert not [str(one) for one in all_imports("core") if one.top == "core" and not one.relative]


@pytest.mark.parametrize("domain", DOMAINS)
def test_domains_reach_core_absolutely_and_no_other_domain(domain):
    found = [one for path in sources(domain) for one in imports(path)]
    others = set(PACKAGES) - {"attention_suite", "core", domain}
    assert not [str(one) for one in found if one.top in others]
    assert not [str(one) for one in found if one.top == "core" and one.relative]
    assert not [str(one) for one in found if one.top == domain and not one.relative]


def test_the_suite_imports_nothing_from_tests_demos_or_benchmarks():
    outside = {"tests", "demos", "benchmarks"}
    assert not [str(one) for package in PACKAGES for one in all_or_none(package) if one.top in outside]


def all_or_none(package: str) -> list[Import]:
    return [one for path in sources(package) for one in imports(path)]
