"""How a data module and a task meet: the task takes from the data what its model must know."""

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
            raise ValueError(f"data: {type(self).__name__} expected {expected}, got {type(data).__name__}")
        self.adapt_to(data)

    def adapt_to(self, data: Any) -> None:
        """Take from the data what the model must know, and check the rest against it; by default nothing."""
