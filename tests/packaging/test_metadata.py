"""pyproject.toml: reasons for every bound, one version, requirements that cover what the code imports."""

import ast
import re
import tomllib
from importlib import metadata

import pytest

import core

from .tree import DOMAINS, PACKAGES, ROOT, imports, is_standard, sources, tracked

TEXT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(TEXT)["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTION = {
    "Bio": "biopython",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "torch_geometric": "torch-geometric",
    "yaml": "pyyaml",
}
"""Module names that differ from the name of their distribution."""
OPTIONAL = {"matplotlib": "viz", "captum": "viz", "mlxtend": "data", "pyjaspar": "data"}
"""What any package may import, inside a function, from an extra that is not its own."""


def requirement(line: str) -> str:
    return re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower()


def required_by(extra: str) -> set[str]:
    """The distributions of an extra, with those of the extras that it refers to, and the base."""
    found = {requirement(line) for line in PROJECT["dependencies"]}
    for line in EXTRAS.get(extra, []):
        if line.startswith("attention-suite["):
            for other in line[len("attention-suite[") : -1].split(","):
                found |= required_by(other)
        else:
            found.add(requirement(line))
    return found


def test_the_base_install_is_torch_alone():
    assert [requirement(line) for line in PROJECT["dependencies"]] == ["torch"]


def test_the_extras_are_the_documented_ones():
    assert set(EXTRAS) == {"train", "vision", "genomics", "graphs", "timeseries", "viz", "data", "all", "dev"}
    everything = set().union(*(required_by(extra) for extra in EXTRAS if extra not in ("all", "dev")))
    assert required_by("all") == everything


def test_every_requirement_has_a_lower_bound_and_its_reason():
    lines = [line for line in TEXT.splitlines() if re.match(r'\s+"[\w.-]+(\[\w+\])?(>=|<|==|",?)', line)]
    named = [line for line in lines if "attention-suite[" not in line and re.match(r'\s+"[\w.\[\]-]+>=', line)]
    declared = [*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]
    declared = [one for one in declared if not one.startswith("attention-suite[")]
    assert len(named) == len(declared), "a requirement without a lower bound, or not on a line of its own"
    assert all(">=" in one for one in declared)
    silent = [line.strip() for line in named if len(line.partition("#")[2].split()) < 2]
    assert not silent, f"requirements without a reason: {silent}"


def test_lightning_is_never_a_compromised_release():
    (bound,) = [line for line in EXTRAS["train"] if requirement(line) == "lightning"]
    assert bound == "lightning>=2.6.4"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_is_covered_by_the_packages_extra(package):
    covered = required_by("train" if package == "core" else package)
    strangers = []
    for one in [one for path in sources(package) for one in imports(path)]:
        name = DISTRIBUTION.get(one.top, one.top)
        if one.relative or is_standard(one.top) or one.top in PACKAGES or name in covered:
            continue
        if not (one.deferred and one.top in OPTIONAL):
            strangers.append(str(one))
    assert not strangers


def test_the_version_stands_in_one_place():
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
    pattern = re.compile(r"^(__version__|version)\s*[:=]", re.MULTILINE)
    python = [path for path in tracked() if path.suffix in (".py", ".toml", ".cfg")]
    assert [path.relative_to(ROOT).as_posix() for path in python if pattern.search(path.read_text("utf-8"))] == [
        "core/_version.py"
    ]
    assert re.search(rf"^## \[{re.escape(core.__version__)}\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)


def test_entry_points_name_every_domain_and_both_scripts():
    assert PROJECT["entry-points"]["attention_suite.domains"] == {name: name for name in DOMAINS}
    assert PROJECT["scripts"] == dict.fromkeys(("lightning", "attention-suite"), "attention_suite.cli:main")


def test_no_other_distribution_claims_a_name_of_ours():
    claims = metadata.packages_distributions()
    for package in PACKAGES:
        assert set(claims.get(package, [])) <= {"attention-suite"}


def test_installed_entry_points_are_ours():
    ours = metadata.distribution("attention-suite")
    scripts = {one.name: one.value for one in ours.entry_points if one.group == "console_scripts"}
    assert scripts == PROJECT["scripts"], "the environment is out of date: run `pip install -e .` again"
    assert ours.version == core.__version__


def test_every_package_says_that_it_is_typed():
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("domain", DOMAINS)
def test_domains_without_systems_say_so(domain):
    said = ast.get_docstring(ast.parse((ROOT / domain / "__init__.py").read_text("utf-8")))
    holds_code = len(sources(domain)) > 1
    assert ("holds nothing yet" in " ".join(said.split())) != holds_code
