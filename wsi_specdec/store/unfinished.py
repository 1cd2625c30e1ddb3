"""What both writers of this room share: a result under a temporary name until it is finished."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from wsi_specdec.errors import StoreError


class UnfinishedGroup(ABC):
    """A group that is written within a `with` block; a clean exit moves it into place.

    Parameters
    ----------
    path
        Where it shall be.

    Raises
    ------
    StoreError
        If the block is left, without an error of its own, before `_finished` was set.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._finished = False

    @abstractmethod
    def _begin(self, stack: ExitStack) -> None:
        """Create the group below a temporary name, entering into `stack` what must be left."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._begin(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self._finished:
            unfinished = StoreError(f"{self.path} was left before finish() was called")
            self._stack.__exit__(StoreError, unfinished, None)
            raise unfinished
        self._stack.__exit__(kind, error, trace)
