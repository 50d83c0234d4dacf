"""Whether a batch is what a task takes, said in one sentence."""

from typing import Any


def check_batch(batch: Any, expected: type | None, owner: str, source: str = "") -> None:
    """Raise unless the batch is of the type that is expected (None: any).

    Args:
        batch: That a step was given.
        expected: Its type.
        owner: The task, for the message.
        source: A data module that makes such batches from arrays, for the message.

    Raises:
        TypeError: The batch is of another type.
    """
    if expected is None or isinstance(batch, expected):
        return
    fields = getattr(expected, "_fields", ())
    what = f"{expected.__name__}({', '.join(fields)})" if fields else expected.__name__
    hint = f"; {source} makes such batches from your own arrays" if source else ""
    raise TypeError(f"batch: {owner} expected {what}, got {type(batch).__name__}{hint}")
