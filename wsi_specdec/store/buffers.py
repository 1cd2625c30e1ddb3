"""Memory for batches, used again once nobody refers to it."""

import math
import weakref
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

# As many as are alive at a time: one in use, and those prepared ahead.
_KEPT: Final = 3


class Buffers:
    """Hands out uint8 arrays. Fresh memory is mapped page by page, a tenth of a batch's time.

    An array's memory comes back by itself when the array and all views of it are gone, so a caller
    may keep an array as long as it likes. At most three are kept for later.
    """

    def __init__(self) -> None:
        self._free: deque[NDArray[np.uint8]] = deque(maxlen=_KEPT)

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return an array of `shape` with undefined content."""
        size = math.prod(shape)
        if size == 0:
            return np.empty(shape, np.uint8)
        memory = self._fitting(size)
        # Through a memoryview, so that views refer to this array and not to the memory itself.
        array = np.frombuffer(memory.data, np.uint8, size)
        weakref.finalize(array, self._free.append, memory).atexit = False
        return array.reshape(shape)

    def _fitting(self, size: int) -> NDArray[np.uint8]:
        """Take memory that is large enough; what is too small is let go."""
        while True:
            try:
                memory = self._free.popleft()
            except IndexError:
                return np.empty(size, np.uint8)
            if memory.size >= size:
                return memory
