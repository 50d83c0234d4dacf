"""The commands that train: Lightning's command line with our run folders, safe checkpoints and one message an error.

What is typed wins over what a checkpoint stores, that over configuration files, those over the defaults.
"""

import logging
import pkgutil
import sys
import warnings
from argparse import ArgumentError
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from attention_suite import FAILED, INTERRUPTED, PREFIX, TERMINATED, USAGE, CommandError, registered

from ..checkpoint.averaging import WeightAverage
from ..checkpoint.best import EarlyStop
from ..checkpoint.checkpoints import RunCheckpoint, SafeCheckpointIO, check_fits, read_checkpoint
from ..checkpoint.plain import check_functions, check_given, check_stored
from ..checkpoint.stored import Stored, settle_names
from ..data.module import DataModule
from ..run.folder import RunFolder
from ..run.logger import MetricsTable
from ..run.predictions import PredictionTable
from ..task import Task
from .domains import load_domains
from .errors import explain

_PARSER: dict[str, Any] = {"exit_on_error": False, "allow_abbrev": False}


class SuiteCLI(LightningCLI):
    """Lightning's command line with our run folders, safe checkpoints and one-line errors."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Short cuts that stand beside model, data and trainer."""
        parser.add_argument("--ema", type=float | None, help="train with an exponential moving average of this decay")
        parser.add_argument(
            "--early_stopping", type=int | None, help="stop after this many validations without a better main metric"
        )
        parser.add_argument(
            "--checkpoint_every", type=int | None, help="save last.ckpt every so many steps, not only after epochs"
        )
        parser.add_argument("--test_after_fit", type=bool, default=False, help="fit: then test the best checkpoint")
        parser.add_argument("--run_name", type=str | None, help="name of the run's folder; default: the config's name")
        parser.add_argument("--out", type=str | None, help="predict: table to write, .csv or .parquet")
        parser.add_argument(
            "--raw_cells",
            type=bool,
            default=False,
            help="predict: texts like =A1 go into a .csv without apostrophe",
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The subcommands, without the option to load pickled code."""
        skip = {"model", "dataloaders", "datamodule", "weights_only"}
        return {
            "fit": {"train_dataloaders", "val_dataloaders", *skip},
            "validate": skip,
            "test": skip,
            "predict": {"return_predictions", *skip},
        }

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and read the checkpoint before anything is built."""
        super().parse_arguments(parser, args)
        self.arguments = list(args) if args is not None else sys.argv[1:]
        options = self.config[self.config["subcommand"]]
        self.ckpt_path: str | None = options.get("ckpt_path")
        if self.ckpt_path in ("last", "best", "hpc", "registry"):
            raise ValueError(f"ckpt_path: expected a checkpoint file, got {self.ckpt_path!r}")
        self.stored: Stored | None = None
        if self.ckpt_path is not None:
            self.checkpoint = read_checkpoint(self.ckpt_path)
            for key in ("hyper_parameters", "datamodule_hyper_parameters"):
                check_stored(self.checkpoint.get(key, {}), key, self.ckpt_path)
            self.stored = Stored(self.checkpoint, self.ckpt_path, options.model.clone(), self.arguments)

    def before_instantiate_classes(self) -> None:
        """Settle what the checkpoint and the options say differently."""
        if self.subcommand is None:
            return
        options = self.config[self.subcommand]
        check_functions(options, _known_modules())
        task = pkgutil.resolve_name(options.model.class_path)
        for part in ("model", "data"):
            given = options.get(part)
            if given is not None:
                check_given(given.get("init_args") or {}, pkgutil.resolve_name(given.class_path), part)
        settle_names(options.model.get("init_args") or {}, task, self.arguments)
        if self.stored is not None:
            for note in self.stored.settle(options.model, resume=self.subcommand == "fit", task=task):
                print(note, file=sys.stderr)
            if self.subcommand == "fit" and "loops" not in self.checkpoint:
                raise ValueError(f"ckpt_path: expected a run, got {self.ckpt_path}, which holds weights alone")
        elif self.subcommand != "fit":
            print(
                f"note: {self.subcommand} without --ckpt_path: the model is as built, not trained by this suite",
                file=sys.stderr,
            )

    def after_instantiate_classes(self) -> None:
        """A checkpoint of another model stops here, before any folder is made."""
        if self.ckpt_path is not None:
            check_fits(self.checkpoint, self.model, self.ckpt_path)
            del self.checkpoint

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """The trainer with the run's folder, its checkpoints, its table of metrics and the short cuts."""
        assert self.subcommand is not None
        options = self.config_init[self.subcommand]
        trainer = options["trainer"]
        folder = RunFolder(
            options["run_name"] or _config_name(self.arguments), self.ckpt_path, options["seed_everything"]
        )
        callbacks: list[Any] = [folder]
        if self.subcommand == "fit":
            if options["ema"] is not None:
                callbacks.append(WeightAverage(options["ema"]))
            if options["early_stopping"] is not None:
                callbacks.append(EarlyStop(options["early_stopping"]))
            if trainer["enable_checkpointing"] is not False and not trainer["fast_dev_run"]:
                callbacks.append(RunCheckpoint(folder, options["checkpoint_every"]))
        elif self.subcommand == "predict":
            callbacks.append(PredictionTable(options["out"], folder, options["raw_cells"]))
        loggers = trainer["logger"]
        if loggers is not False:
            others = [] if loggers in (None, True) else loggers if isinstance(loggers, list) else [loggers]
            kwargs["logger"] = [MetricsTable(folder), *others]
        kwargs["callbacks"] = [*callbacks, *_as_list(trainer["callbacks"])]
        kwargs["plugins"] = [SafeCheckpointIO(), *_as_list(trainer["plugins"])]
        return super().instantiate_trainer(**kwargs)

    def fit(self, **kwargs: Any) -> None:
        """Train, test if asked for, and say where the run is kept."""
        self.trainer.fit(**kwargs)
        if self.config_init["fit"]["test_after_fit"]:
            self._take_best()
            self.trainer.test(self.model, datamodule=self.datamodule)
        self._say_where()

    def _take_best(self) -> None:
        """Give the model the weights of best.ckpt, averaged ones if the run averages; none is there in a dry run."""
        folder = next(one for one in self.trainer.callbacks if isinstance(one, RunFolder))  # type: ignore[attr-defined]
        best = folder.file("best.ckpt")
        if best is not None and best.is_file():
            checkpoint = read_checkpoint(str(best))
            self.model.on_load_checkpoint(checkpoint)
            self.model.load_state_dict(checkpoint["state_dict"])

    def validate(self, **kwargs: Any) -> None:
        """Validate, and say where the numbers are kept."""
        self.trainer.validate(**kwargs)
        self._say_where()

    def test(self, **kwargs: Any) -> None:
        """Test, and say where the numbers are kept."""
        self.trainer.test(**kwargs)
        self._say_where()

    def predict(self, **kwargs: Any) -> None:
        """Predict; the table is written by a callback, nothing is kept in memory twice."""
        self.trainer.predict(**kwargs, return_predictions=False)
        self._say_where()

    def _say_where(self) -> None:
        for callback in self.trainer.callbacks if self.trainer.is_global_zero else ():  # type: ignore[attr-defined]
            if isinstance(callback, RunFolder) and callback.path is not None:
                print(f"run: {_short(callback.path)}")
            if isinstance(callback, PredictionTable) and callback.written is not None:
                print(f"predictions: {_short(callback.written)}")


class SaveRunConfig(SaveConfigCallback):
    """Writes config.yaml into a new run's folder."""

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Once per folder: a resumed run keeps the configuration it began with."""
        folder = next(callback for callback in trainer.callbacks if isinstance(callback, RunFolder))
        path = folder.file("config.yaml")
        if path is not None and not path.exists():
            self.parser.save(self.config, str(path))


def run(arguments: list[str]) -> int:
    """Run `fit`, `validate`, `test` or `predict`; answer the exit code.

    Args:
        arguments: What was typed, the command's name first.

    Raises:
        CommandError: Whatever went wrong, in one message; the error itself is its cause.
    """
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_advertisement)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # lightning 2.6, torch 2.14
        warnings.filterwarnings(
            "ignore", "(?s).*(JSONARGPARSE|deprecated in v4)", DeprecationWarning
        )  # lightning's calls
        warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")  # no validation data
        warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")  # not to evaluate it
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    domains = load_domains()
    if "" not in sys.path:
        sys.path.append("")  # class paths of the user's own modules in the working folder, behind what is installed
    try:
        _start(_configs_first(arguments))
    except SIGTERMException:
        return TERMINATED
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning's own end of an interrupted run
            return INTERRUPTED
        raise
    except Exception as error:
        status = USAGE if isinstance(error, ArgumentError) else FAILED
        raise CommandError(explain(error, domains), status) from error
    return 0


class StartParser(LightningArgumentParser):
    """Prints a configuration that ends: where nothing says when, after `EPOCHS`, not Lightning's 1,000."""

    EPOCHS = 20

    def dump(self, cfg: Any, **kwargs: Any) -> str:
        """The text of a configuration; `cfg` is left as it is."""
        trainer = cfg.get("trainer")
        if trainer is not None and trainer["max_epochs"] is trainer["max_time"] is None and trainer["max_steps"] == -1:
            cfg = cfg.clone()
            cfg["trainer"]["max_epochs"] = self.EPOCHS
        text: str = super().dump(cfg, **kwargs)
        return text


def _start(arguments: list[str]) -> None:
    printing = arguments[0] == "fit" and any(one.startswith("--print_config") for one in arguments)
    program, sys.argv[1:] = sys.argv[1:], arguments  # processes that the trainer starts read them from there
    try:
        SuiteCLI(
            Task,
            DataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults={"default_root_dir": "runs", "log_every_n_steps": 1, "use_distributed_sampler": False},
            parser_kwargs={"prog": PREFIX, **_PARSER, **{name: dict(_PARSER) for name in SuiteCLI.subcommands()}},
            parser_class=StartParser if printing else LightningArgumentParser,
        )
    finally:
        sys.argv[1:] = program


def _no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip: For seamless cloud" not in record.getMessage()


def _short(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _configs_first(arguments: list[str]) -> list[str]:
    """Move the configuration files before all other options, so that what is typed wins wherever it stands."""
    configs: list[str] = []
    others: list[str] = []
    rest = list(arguments[1:])
    while rest:
        argument = rest.pop(0)
        if argument in ("--config", "-c") and rest:
            configs += [argument, rest.pop(0)]
        else:
            (configs if argument.startswith("--config=") else others).append(argument)
    return [*arguments[:1], *configs, *others]


def _known_modules() -> list[str]:
    """The packages whose functions a configuration may name."""
    return ["torch.nn", "torch._C._nn", "core", *(point.module for point in registered().values())]


def _config_name(arguments: list[str]) -> str | None:
    """The stem of the last configuration file that was named; a run's own config.yaml gives that run's name."""
    name = None
    for k, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option in ("--config", "-c"):
            path = Path(value or (arguments[k + 1] if k + 1 < len(arguments) else "")).resolve()
            own = path.name == "config.yaml" and (path.parent / "environment.json").is_file()
            name = (path.parent.parent.name if own else path.stem) or None
    return name
