"""No code from data: class paths in checkpoints and in options of plain values, and functions of unknown modules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from jsonargparse import Namespace
from torch import nn

from core.training.checkpoint.plain import annotations_of, check_functions, check_given, check_stored, is_plain_type

COMMAND = {"class_path": "subprocess.Popen", "init_args": {"args": "touch PWNED", "shell": True}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": {"a": COMMAND}}, r"got a class path, 'subprocess\.Popen' at width\.a"),
        ({"width": [1, {"b": [COMMAND]}]}, r"at width\[1\]\.b\[0\]"),
        ({"width": torch.zeros(2)}, "got a Tensor at width"),
        ({"width": {(1, 2): 3}}, "got a key of type tuple at width"),
        ({"_class_path": COMMAND}, "at _class_path"),
        ([COMMAND], "expected options by name in hyper_parameters of x.ckpt, got list"),
    ],
)
def test_a_checkpoint_holds_plain_values_alone(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        check_stored(options, "hyper_parameters", "x.ckpt")


def test_plain_options_of_a_checkpoint_pass() -> None:
    options = {"a": None, "b": [1, (2.5, "x")], "c": {"d": {"e": True}, 3: "y"}, "_class_path": "vision.Task"}
    check_stored(options, "hyper_parameters", "x.ckpt")


class Base:
    def __init__(self, options: dict[str, Any] | None = None, names: Sequence[str] = ()) -> None: ...


class Own(Base):
    def __init__(self, encoder: nn.Module | None = None, kind: Literal["a", "b"] = "a", **more: Any) -> None: ...


def test_which_types_are_plain() -> None:
    hints = annotations_of(Own)
    plain = {name: is_plain_type(hint) for name, hint in hints.items() if name not in ("self", "more")}
    assert plain == {"encoder": False, "kind": True, "options": True, "names": True}


def test_a_configuration_names_classes_where_a_class_is_taken_and_nowhere_else() -> None:
    check_given({"encoder": Namespace(class_path="torch.nn.Identity", init_args=Namespace())}, Own, "model")
    with pytest.raises(ValueError, match=r"model\.options\.a: expected plain values, got a class path"):
        check_given({"options": {"a": Namespace(**COMMAND)}}, Own, "model")


def test_functions_come_from_known_modules(monkeypatch) -> None:
    config = Namespace(trainer=Namespace(callbacks=[Namespace(init_args=Namespace(on_fit_start=print))]))
    place = (
        r"trainer\.callbacks\[0\]\.init_args\.on_fit_start: expected a function of torch\.nn, core, got builtins\.print"
    )
    with pytest.raises(ValueError, match=place):
        check_functions(config, ["torch.nn", "core"])
    check_functions({"activation": nn.functional.gelu, "layer": nn.ReLU, "n": 3}, ["torch.nn", "torch._C._nn"])
    monkeypatch.setenv("ATTENTION_SUITE_ALLOW", "json,builtins")
    check_functions(config, ["torch.nn"])


@pytest.fixture
def trained(lightning, tmp_path: Path) -> Path:
    assert lightning("fit").status == 0
    return tmp_path / "runs/toy/version_0/best.ckpt"


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("key", ["hyper_parameters", "datamodule_hyper_parameters"])
def test_a_checkpoint_runs_nothing(lightning, trained: Path, tmp_path: Path, command: str, key: str) -> None:
    checkpoint = torch.load(trained, weights_only=True)
    checkpoint[key]["width"] = {"a": {**COMMAND, "init_args": {"args": f"touch {tmp_path}/PWNED", "shell": True}}}
    torch.save(checkpoint, tmp_path / "bad.ckpt")
    result = lightning(command, "--ckpt_path", tmp_path / "bad.ckpt")
    assert result.status == 1 and "expected plain values in" in result.err and "width.a" in result.err, result.err
    assert not (tmp_path / "PWNED").exists()


def test_a_configuration_runs_nothing_through_an_option_of_plain_values(lightning, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "model:\n  class_path: vision.ImageClassificationTask\n  init_args:\n    model_options: {a: {class_path: "
        f"subprocess.Popen, init_args: {{args: 'touch {tmp_path}/PWNED', shell: true}}}}}}\n"
        "data: {class_path: vision.DigitsData}\ntrainer: {max_epochs: 1}\n"
    )
    result = lightning("fit", config=bad)
    assert result.status == 1, result.err
    assert "model.model_options.a: expected plain values, got a class path, 'subprocess.Popen'" in result.err
    assert not (tmp_path / "PWNED").exists()


def test_a_callback_calls_no_function_of_an_unknown_module(lightning, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "trainer:\n  callbacks:\n  - class_path: lightning.pytorch.callbacks.LambdaCallback\n"
        "    init_args: {on_train_start: json.dumps}\n"
    )
    result = lightning("fit", "--config", bad)
    assert result.status == 1 and "expected a function of torch.nn, " in result.err, result.err
    assert "ATTENTION_SUITE_ALLOW=json" in result.err


@pytest.mark.parametrize("text", ["{a: {class_path: x.Y}}", '[{"class\\x5fpath": x.Y}]'])
def test_a_class_path_in_a_text_that_is_yaml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected plain values in hyper_parameters of p, got a class path, 'x\.Y'"):
        check_stored({"model_options": text}, "hyper_parameters", "p")
    check_stored({"title": "no mapping", "odd": "a: [", "day": "2020-13-45"}, "hyper_parameters", "p")
