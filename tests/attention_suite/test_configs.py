"""`attention-suite configs`: what comes along, shown and copied."""

from pathlib import Path

import pytest

from attention_suite import configs
from attention_suite.cli import main, run

FOLDER = Path(__file__).parents[2] / "configs"


def test_every_configuration_is_listed_with_its_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["configs"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(FOLDER.rglob("*.yaml")))
    assert (
        f"{'vision/digits':<28} scikit-learn's 1,797 digits of 8 x 8 pixels: a vision transformer of 137 thousand "
        "parameters."
    ) in lines
    assert lines == sorted(lines)


def test_one_is_shown_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("graphs/saved", "graphs/saved.yaml"):
        main(["configs", "cat", name])
        assert capsys.readouterr().out == (FOLDER / "graphs/saved.yaml").read_text(encoding="utf-8")


def test_one_is_copied_and_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, text = tmp_path / "mine.yaml", (FOLDER / "graphs/saved.yaml").read_text(encoding="utf-8")
    main(["configs", "cp", "graphs/saved", str(mine)])
    assert mine.read_text(encoding="utf-8") == text and capsys.readouterr().out == f"wrote {mine}\n"
    mine.write_text("my own")
    assert run(["configs", "cp", "graphs/saved", str(mine)]) == 1
    assert f"FILE: expected a new file, got {mine}, which is there already" in capsys.readouterr().err
    assert mine.read_text() == "my own"
    main(["configs", "cp", "graphs/saved", str(tmp_path)])
    assert (tmp_path / "saved.yaml").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("action", [["cat"], ["cp"]])
def test_a_name_that_is_not_there_is_named(
    action: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = [str(tmp_path / "x.yaml")] if action == ["cp"] else []
    for name, hint in (("vision/digts", "; did you mean 'vision/digits'?"), ("../pyproject", ""), ("/etc/passwd", "")):
        assert run(["configs", *action, name, *rest]) == 1
        expected = f"attention-suite: error: NAME: expected one of `attention-suite configs`, got {name!r}{hint}\n"
        assert capsys.readouterr().err == expected
    assert not list(tmp_path.iterdir())


def test_a_wheel_s_own_come_before_a_folder_that_is_called_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configs, "__file__", str(tmp_path / "attention_suite/configs.py"))
    with pytest.raises(FileNotFoundError, match="configs: expected a folder in "):
        configs.folder()
    for place in ("configs", "core/training/configs"):
        (tmp_path / place).mkdir(parents=True)
        assert configs.folder() == tmp_path / place
