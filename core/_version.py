"""The version of attention-suite, in its one place."""

__version__ = "0.1.0"
