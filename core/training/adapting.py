"""How a task and its data meet: are these its data, its batches; what must its model know of them."""

from typing import Any, ClassVar


class AdaptsToData:
    """What a data module looks for in the module that is trained on it, when it has been set up."""

    data_type: ClassVar[type | tuple[type, ...] | None] = None
    """The data modules that this one works with; None: any that gives its batches."""

    def meet(self, data: Any) -> None:
        """Check that these are data of the right type, then adapt to them.

        Raises:
            ValueError: They are not.
        """
        if self.data_type is not None and not isinstance(data, self.data_type):
            types = self.data_type if isinstance(self.data_type, tuple) else (self.data_type,)
            expected = " or ".join(one.__name__ for one in types)
            raise ValueError(f"data: expected {expected} for {type(self).__name__}, got {type(data).__name__}")
        self.adapt_to(data)

    def adapt_to(self, data: Any) -> None:
        """Take from the data what the model must know, and check the rest against it; by default nothing."""


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
    raise TypeError(f"batch: expected {what} for {owner}, got {type(batch).__name__}{hint}")
