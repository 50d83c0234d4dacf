"""The one table of commands: what it lists, how fast, and how commands end."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from attention_suite import cli
from attention_suite.cli import COMMANDS, Entry, main, run

SCRIPTS = Path(sys.executable).parent


def cpu(*arguments: str) -> tuple[float, str]:
    """Seconds of CPU (user and system) that the command takes, and what it answers."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "attention_suite", *arguments], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


@pytest.mark.parametrize(
    ("arguments", "seconds", "shown"),
    [
        (["--help"], 2, "ImageClassificationTask"),
        (["fit", "--help"], 4, "--trainer.max_epochs MAX_EPOCHS"),
        (["configs"], 2, "vision/digits"),
        (["genomics", "--help"], 2, "motifs"),
        (["timeseries", "report", "--help"], 2, "--no-baselines"),
    ],
)
def test_help_is_quick(arguments: list[str], seconds: float, shown: str) -> None:
    took, out = cpu(*arguments)
    assert shown in out and took <= seconds


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from attention_suite.cli import run\n"
        "for line in ('--help', 'fit --help', 'configs', 'configs cat vision/digits'): assert run(line.split()) == 0\n"
        "print(sorted({'core', 'torch', 'lightning', 'vision', 'genomics', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("command", ["lightning", "attention-suite", "-m core.training", "-m attention_suite"])
def test_every_name_of_the_command_is_ours(command: str) -> None:
    program = [sys.executable, *command.split()] if command.startswith("-m") else [str(SCRIPTS / command)]
    done = subprocess.run([*program, "--help"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("attention-suite: ") and "Tasks (" in done.stdout


def test_help_lists_every_command_and_what_can_be_trained(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    bare = capsys.readouterr().out
    main(["--help"])
    out = capsys.readouterr().out
    assert out == bare
    for name in (*COMMANDS, "genomics scan", "genomics motifs", "timeseries report"):
        assert f"\n  {name:<28} " in out
    assert "\nusage: attention-suite {fit,validate,test,predict} --config FILE" in out
    assert f"  {'ImageClassificationTask':<28} Which of K classes an image shows" in out
    assert f"  {'DigitsData':<28} 1,797 handwritten digits" in out
    for absent in ("RemembersSubjects", "explain", "export", "  lightning ", "Not usable"):
        assert absent not in out


def test_a_command_is_added_by_its_entry(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(COMMANDS, "sum", Entry("add numbers", "tests.attention_suite.test_cli:add"))
    main(["sum", "1", "2"])
    assert capsys.readouterr().out == "3\n"
    main(["--help"])
    assert f"  {'sum':<28} add numbers\n" in capsys.readouterr().out
    assert run(["sum", "one"]) == 1
    assert capsys.readouterr().err == "attention-suite: error: invalid literal for int() with base 10: 'one'\n"
    assert run(["sum", "stop"]) == 130
    assert capsys.readouterr().err == "attention-suite: interrupted\n"
    assert run(["sum", "bug"]) == 1
    assert capsys.readouterr().err == "attention-suite: error: ZeroDivisionError: by hand (--debug shows where)\n"
    with pytest.raises(ZeroDivisionError):
        run(["sum", "bug", "--debug"])
    monkeypatch.setenv("ATTENTION_SUITE_DEBUG", "1")
    with pytest.raises(ValueError, match="invalid literal"):
        run(["sum", "one"])


def add(arguments: list[str]) -> int:
    """Adds numbers; ends badly on request."""
    if "stop" in arguments:
        raise KeyboardInterrupt
    if "bug" in arguments:
        raise ZeroDivisionError("by hand")
    print(sum(int(one) for one in arguments[1:]))
    return 0


def status_of(*arguments: str) -> int:
    try:
        return run(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("ft", "there is no command 'ft'; did you mean 'fit'?"),
        ("xyzzy", "known: fit, validate, test, predict, configs, genomics, graphs, timeseries, vision"),
        ("vision scan", "vision has no commands of its own"),
        ("genomics", "the following arguments are required: COMMAND (`attention-suite genomics --help` shows"),
        ("genomics scam", "argument COMMAND: invalid choice: 'scam'"),
        (
            "genomics scan x.fa",
            "the following arguments are required: --ckpt, --out (`attention-suite genomics sca",
        ),
        ("genomics scan x.fa --ckpt a --out b --window w", "argument --window: invalid int value: 'w'"),
        ("timeseries report", "the following arguments are required: run, --out"),
        ("configs cut", "argument {cat,cp}: invalid choice: 'cut'"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(*arguments.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("attention-suite: error: ") and message in said and said.count("\n") == 1


@pytest.mark.parametrize("domain", ["genomics", "timeseries"])
def test_the_alias_of_a_domain_says_the_same(domain: str, capsys: pytest.CaptureFixture[str]) -> None:
    from importlib import import_module

    alias = import_module(f"{domain}.__main__").main
    texts = []
    for call in (lambda: run([domain, "--help"]), lambda: alias(["--help"])):
        with pytest.raises(SystemExit) as stop:
            call()
        assert stop.value.code in (None, 0)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and texts[0].startswith(f"usage: attention-suite {domain} ")


def test_the_documented_command_is_lightning_s_too() -> None:
    root = Path(__file__).parents[2]
    for page in ("README.md", "docs/command-line.md"):
        assert (root / page).read_text(encoding="utf-8").count("`lightning fit --config") == 1, page
    assert cli.HELP.count("attention-suite fit --config") == 2
