"""Pages of help that are read: laid out for the terminal, and only where they are true."""

import importlib.util
import re
from types import SimpleNamespace

import pytest

from attention_suite import pages
from attention_suite.cli import run
from attention_suite.pages import catalogue, stored_help

WIDE = """\
usage: attention-suite [options] fit [-c CONFIG] [--seed_everything SEED_EVERYTHING] [--model CONFIG | CLASS VALUE]

options:
  -h, --help            Show this help message and exit.
  --trainer.max_epochs MAX_EPOCHS
                        Stop training once this number of epochs is reached. Disabled by default.
"""
NARROW = """\
usage: attention-suite [options] fit [-c CONFIG]
                                     [--seed_everything SEED_EVERYTHING]
                                     [--model CONFIG | CLASS VALUE]

options:
  -h, --help            Show this help message
                        and exit.
  --trainer.max_epochs MAX_EPOCHS
                        Stop training once this
                        number of epochs is
                        reached. Disabled by
                        default.
"""


@pytest.fixture
def stored(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """A page of fit that is true here."""
    import json

    (tmp_path / "fit.txt").write_text(WIDE)
    (tmp_path / "made_with.json").write_text(json.dumps(pages.circumstances()))
    monkeypatch.setattr(pages, "HELP", tmp_path)
    return tmp_path


def test_a_page_is_as_wide_as_the_terminal(stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "49")
    assert stored_help("fit") == NARROW
    monkeypatch.setenv("COLUMNS", "200")
    assert stored_help("fit") == WIDE


def test_other_versions_ask_the_parser(stored, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pages.circumstances()["lightning"] != "none"
    monkeypatch.setattr(pages, "version", lambda name: "99")
    assert stored_help("fit") is None


def point(name: str, dist: str = "attention-suite") -> SimpleNamespace:
    return SimpleNamespace(name=name, module=name, dist=SimpleNamespace(name=dist))


OWN = [point(name) for name in ("genomics", "graphs", "timeseries", "vision")]


def test_a_domain_from_outside_is_asked(stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attention_suite.domains.entry_points", lambda group: [*OWN, point("audio", "audio-domain")])
    assert stored_help("fit") is None
    asked = []

    def resolve(function: str):
        assert function == "core.training.command.domains:ask"

        def ask(one):
            asked.append(one.name)
            return {"needs": [], "tasks": {"ToneTask": "Which of two."}, "data": {}}, None

        return ask

    text = catalogue(resolve)
    assert asked == ["audio"] and f"  {'ToneTask':<28} Which of two.\n" in text and "ImageClassificationTask" in text
    problem = "audio (distribution audio-domain) needs x: pip install x"
    text = catalogue(lambda function: lambda one: (None, problem))
    assert "ToneTask" not in text and text.endswith(f"\n\nNot usable here: {problem}\n")


def test_a_domain_without_its_packages_is_not_offered(stored, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "timm" else whole(name))
    text = catalogue(lambda function: pytest.fail("nothing to be asked"))
    assert "ImageClassificationTask" not in text and "DigitsData" not in text and "MotifDetectionTask" in text
    assert text.endswith('Not usable here: vision needs timm: pip install "attention-suite[vision]"\n')
    assert stored_help("fit") is None


def test_a_domain_whose_folder_is_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "graphs" else whole(name))
    text = catalogue(lambda function: pytest.fail("nothing to be asked"))
    assert text.endswith("Not usable here: graphs cannot be imported: there is no package graphs\n")


def test_without_what_trains_one_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    whole = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "lightning" else whole(name))
    for arguments in ([], ["--help"], ["fit", "--config", "x"]):
        assert run(arguments) == 1
        cure = 'core.training needs lightning: pip install "attention-suite[train]"'
        assert capsys.readouterr().err == f"attention-suite: error: {cure}\n"
    assert run(["configs"]) == 0


def test_the_stored_page_has_every_option_of_the_trainer() -> None:
    import inspect

    from lightning import Trainer

    text = (pages.HELP / "fit.txt").read_text(encoding="utf-8")
    found = set(re.findall(r"^  --trainer\.(\w+)", text, re.MULTILINE))
    assert found >= set(inspect.signature(Trainer.__init__).parameters) - {"self"}
