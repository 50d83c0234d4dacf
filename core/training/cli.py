"""The command line in Python: `main(["fit", "--config", ...])` does what `attention-suite fit --config ...` does."""

from attention_suite import main, run

__all__ = ["main", "run"]
