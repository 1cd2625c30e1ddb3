"""Encoded tiles kept in memory, the least recently used let go of first."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock


class ByteCache:
    """Bytes by key, no more than `limit` bytes in all; safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._items: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = Lock()

    @property
    def held(self) -> int:
        """Number of bytes kept."""
        return self._held

    def get(self, key: Hashable) -> bytes | None:
        """Return what is kept under a key, which counts as a use of it."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key]

    def put(self, key: Hashable, data: bytes) -> None:
        """Keep bytes, unless they alone are over the limit."""
        with self._lock:
            self._held -= len(self._items.pop(key, b""))
            if len(data) > self._limit:
                return
            self._items[key] = data
            self._held += len(data)
            while self._held > self._limit:
                _, oldest = self._items.popitem(last=False)
                self._held -= len(oldest)
