"""Checks that any task and any data module must pass, after scikit-learn's estimator checks.

    from core.training import checks

    @pytest.mark.parametrize("check", checks.DATA, ids=checks.name)
    def test_my_data(check):
        check(lambda: MyData(path="small.csv"))

    @pytest.mark.parametrize("check", checks.TASK, ids=checks.name)
    def test_my_task(check, tmp_path):
        check(lambda: MyTask(dim=8), lambda: MyData(path="small.csv"), tmp_path)

Each check takes functions that make a new task and a new data module every time they are called, on data so small that
an epoch takes seconds, and raises `CheckError` with what was expected and what was found.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from .data.module import DataModule
from .load import load_run
from .run.folder import RunFolder
from .task import Task

MakeTask = Callable[[], Task]
MakeData = Callable[[], DataModule]


class CheckError(AssertionError):
    """A task or a data module does not do what it must."""


def name(check: Callable[..., None]) -> str:
    """The name of a check, for reports."""
    return check.__name__


def data_states_its_origin(make_data: MakeData) -> None:
    """Licence and source are stated."""
    data = make_data()
    _expect(bool(data.licence and data.source), "licence, source", "texts", f"{data.licence!r}, {data.source!r}")


def data_can_be_set_up_twice(make_data: MakeData) -> None:
    """A second `setup` changes nothing, and reads nothing anew."""
    data = make_data()
    data.setup("fit")
    before = data.train_set
    data.setup("test")
    _expect(data.train_set is before, "train_set", "the same after a second setup", "another one")


def data_have_a_stable_fingerprint(make_data: MakeData) -> None:
    """Two data modules of the same options have one fingerprint."""
    first, second = make_data(), make_data()
    for data in (first, second):
        data.setup("fit")
    prints = first.fingerprint(), second.fingerprint()
    _expect(prints[0] == prints[1] and prints[0].startswith("sha256:"), "fingerprint", "one sha256:...", prints)


def data_parts_do_not_leak(make_data: MakeData) -> None:
    """No item is in the batches of two parts, as far as batches number their items; the split is told in words."""
    data = make_data()
    data.setup("fit")
    loaders = {"train": data.train_dataloader()}
    loaders |= {} if data.val_set is None else {"val": data.val_dataloader()}
    loaders |= {} if data.test_set is None else {"test": data.test_dataloader()}
    numbers = {part: {n for batch in loader for n in _numbers(batch)} for part, loader in loaders.items()}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        both = numbers.get(first, set()) & numbers.get(second, set())
        _expect(
            not both, f"items of {first} and {second}", "none in common", f"{len(both)}, such as {min(both, default=0)}"
        )
    _expect(bool(data.describe_split()), "describe_split()", "the parts in words", "nothing")


def data_batches_are_reproducible(make_data: MakeData) -> None:
    """Two data modules of the same options give the same first training batch."""
    batches = []
    for data in (make_data(), make_data()):
        data.setup("fit")
        torch.manual_seed(3)
        batches.append([*_tensors(next(iter(data.train_dataloader())))])
    _expect(bool(batches[0]), "train_dataloader()", "tensors in the first batch", "none")
    same = len(batches[0]) == len(batches[1]) and all(map(_equal, *batches))
    _expect(same, "train_dataloader()", "the same first batch twice", "two different ones")


DATA = (
    data_states_its_origin,
    data_can_be_set_up_twice,
    data_have_a_stable_fingerprint,
    data_parts_do_not_leak,
    data_batches_are_reproducible,
)
"""What every data module must pass."""


def task_options_are_plain(make_task: MakeTask, make_data: MakeData, folder: Path) -> None:
    """The options that a checkpoint stores are plain values before and after the data are known."""
    task = make_task()
    _trained(task, make_data(), folder)
    strange = [key for key, value in task.hparams.items() if not _is_plain(value)]
    _expect(not strange, "hparams", "numbers, texts, lists and mappings of them", strange)


def task_trains_and_tests(make_task: MakeTask, make_data: MakeData, folder: Path) -> None:
    """An epoch changes weights; loss and main metric are logged for validation and test."""
    task, data = make_task(), make_data()
    trainer = _trainer(folder)
    with _quiet():
        trainer.fit(task, datamodule=data)
        _expect(task.is_built, "model", "a module", "none")
        _expect(bool(np.isfinite(float(trainer.callback_metrics["train/loss"]))), "train/loss", "finite", "not")
        found = trainer.test(task, datamodule=data, verbose=False)[0] if data.test_set is not None else {}
    if data.test_set is not None:
        main = f"test/{task.monitor.removeprefix('val/')}"
        _expect("test/loss" in found and main in found, "test metrics", f"test/loss and {main}", sorted(found))


def task_predicts_a_table(make_task: MakeTask, make_data: MakeData, folder: Path) -> None:
    """A row for each item, "id" first, all ids different, columns of one length, probabilities in 0 .. 1."""
    task, data = make_task(), make_data()
    trainer = _trained(task, data, folder)
    table = _table(trainer, task, data)
    lengths = {column: len(values) for column, values in table.items()}
    _expect(next(iter(table)) == "id", "columns", "id first", list(table))
    _expect(len(set(lengths.values())) == 1, "columns", "one length", lengths)
    ids = [str(one) for one in table["id"]]
    _expect(len(set(ids)) == len(ids), "id", "different for each row", f"{len(ids) - len(set(ids))} repeated")
    for column, values in table.items():
        if column == "probability" or column.startswith("probability_"):
            numbers = np.asarray(values, dtype=float)
            inside = bool(((numbers >= 0) & (numbers <= 1)).all())
            _expect(inside, column, "0 .. 1", f"{numbers.min()} .. {numbers.max()}")
    classes = [np.asarray(v, float) for column, v in table.items() if column.startswith("probability_")]
    if len(classes) > 1 and "prediction" in table:
        total = np.sum(classes, axis=0)
        _expect(
            bool(np.allclose(total, 1, atol=1e-5)), "probability_*", "a sum of 1", f"{total.min()} .. {total.max()}"
        )


def task_comes_back_from_its_checkpoint(make_task: MakeTask, make_data: MakeData, folder: Path) -> None:
    """`load_run` gives a model that predicts the same, without the data."""
    task, data = make_task(), make_data()
    trainer = _trained(task, data, folder)
    before = _table(trainer, task, data)
    trainer.save_checkpoint(folder / "check.ckpt")
    loaded = load_run(folder / "check.ckpt", trusted=True).task
    with _quiet():
        after = _table(_trainer(folder), loaded, make_data())
    for column, values in before.items():
        _expect(_equal(values, after[column]), f"column {column} after loading", "the same", "others")


def task_refuses_other_data(make_task: MakeTask, make_data: MakeData, folder: Path) -> None:
    """Data of another type, and batches of another type, are refused with a sentence that names the right one."""
    task = make_task()
    if task.data_type is not None:
        try:
            task.meet(_Other())
        except ValueError as error:
            _expect("_Other" in str(error), "the error", "the type that was got", str(error))
        else:
            raise CheckError(f"data: expected {type(task).__name__} to refuse another data module, it did not")
    if task.batch_type is not None:
        try:
            task.check_batch([torch.zeros(2), torch.zeros(2)])
        except TypeError as error:
            _expect(task.batch_type.__name__ in str(error), "the error", task.batch_type.__name__, str(error))
        else:
            raise CheckError(f"batch: expected {type(task).__name__} to refuse a list of tensors, it did not")


def task_baselines_are_named(make_task: MakeTask, make_data: MakeData, folder: Path) -> None:
    """Baselines have names in snake_case and keys of the stage that was asked for."""
    task, data = make_task(), make_data()
    trainer = _trained(task, data, folder)
    if data.test_set is None:
        return
    with _quiet():
        trainer.test(task, datamodule=data, verbose=False)
        found = task.baselines("test")
    _expect(isinstance(found, Mapping), "baselines", "a mapping", type(found).__name__)
    for method, scores in found.items():
        _expect(method.isidentifier() and method == method.lower(), "baselines", "names in snake_case", method)
        _expect(all(key.startswith("test/") for key in scores), method, "keys test/...", sorted(scores))


def run_leaves_its_environment(make_task: MakeTask, make_data: MakeData, folder: Path) -> None:
    """environment.json holds fingerprint, licence and split of the data."""
    task = make_task()
    run = RunFolder("check")
    trainer = _trainer(folder, run)
    with _quiet():
        trainer.fit(task, datamodule=make_data())
    path = run.file("environment.json")
    _expect(path is not None and path.is_file(), "environment.json", "a file", "none")
    assert path is not None
    data = json.loads(path.read_text(encoding="utf-8"))["data"]
    keys = ("fingerprint", "licence", "split")
    _expect(all(data.get(key) for key in keys), "environment.json: data", ", ".join(keys), data)


TASK = (
    task_options_are_plain,
    task_trains_and_tests,
    task_predicts_a_table,
    task_comes_back_from_its_checkpoint,
    task_refuses_other_data,
    task_baselines_are_named,
    run_leaves_its_environment,
)
"""What every task must pass, on its own data."""


class _Other(DataModule):
    """Data of no task."""


def _expect(holds: bool, what: str, expected: Any, got: Any) -> None:
    if not holds:
        raise CheckError(f"{what}: expected {expected}, got {got}")


def _trainer(folder: Path, *callbacks: L.Callback) -> L.Trainer:
    return L.Trainer(
        default_root_dir=folder,
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
    )


def _trained(task: Task, data: DataModule, folder: Path) -> L.Trainer:
    trainer = _trainer(folder)
    with _quiet():
        trainer.fit(task, datamodule=data)
    return trainer


def _table(trainer: L.Trainer, task: Task, data: DataModule) -> dict[str, list[Any]]:
    with _quiet():
        batches = trainer.predict(task, datamodule=data)
    table: dict[str, list[Any]] = {}
    for batch in batches or []:
        for column, values in dict(batch).items():
            table.setdefault(column, []).extend(values.tolist() if hasattr(values, "tolist") else list(values))
    _expect(bool(table), "predict_step", "rows", "none")
    return table


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the trainer and metrics say about data so small."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _numbers(batch: Any) -> list[int]:
    """The numbers of a batch's items in the whole data set: its field "index", or the key "index" or "id"."""
    if isinstance(batch, Mapping):
        found = batch.get("index", batch.get("id"))
    else:
        found = getattr(batch, "index", None)
    return [int(n) for n in found.flatten()] if isinstance(found, Tensor) and not found.is_floating_point() else []


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _tensors(value)
    elif isinstance(batch, (tuple, list)):
        for value in batch:
            yield from _tensors(value)
    elif hasattr(batch, "to_dict"):
        yield from _tensors(batch.to_dict())


def _equal(first: Any, second: Any) -> bool:
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape:
        return False
    if a.dtype.kind == "f":
        return bool(np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True))
    return bool((a == b).all())


def _is_plain(value: Any) -> bool:
    if value is None or isinstance(value, (bool, int, float, str)):
        return True
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, Mapping) and all(isinstance(key, str) and _is_plain(x) for key, x in value.items())
