"""Open slides, a bounded number of them, shared by the threads that read tiles."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

from wsi_specdec.slides import EncodedLevel, SlideReader, encoded_level, read_overview
from wsi_specdec.viewer.pyramid import OVERVIEW_PX, Overview

_NOBODY: Final = 0


class OpenSlide:
    """A slide that is opened, and seen as a whole, when first asked for, and only once."""

    def __init__(self, opening: Callable[[], SlideReader]) -> None:
        self.users = _NOBODY
        self._opening = opening
        self._lock = Lock()
        # Apart, since an overview takes long and other tiles need none.
        self._looking = Lock()
        self._reader: SlideReader | None = None
        self._overview: Overview | None = None
        self._encoded: dict[int, EncodedLevel | None] = {}

    def reader(self) -> SlideReader:
        """Return the open reader.

        Raises
        ------
        SlideError
            If the slide cannot be opened.
        """
        with self._lock:
            if self._reader is None:
                self._reader = self._opening()
            return self._reader

    def overview(self) -> Overview:
        """Return the whole slide at low resolution, and its downsample."""
        reader = self.reader()
        with self._looking:
            if self._overview is None:
                self._overview = read_overview(reader, OVERVIEW_PX, None)
            return self._overview

    def encoded(self, level: int) -> EncodedLevel | None:
        """Return direct access to the compressed tiles of a level; None where there is none."""
        reader = self.reader()
        with self._lock:
            if level not in self._encoded:
                self._encoded[level] = encoded_level(reader, level)
            return self._encoded[level]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
            self._reader = self._overview = None
            self._encoded = {}


class ReaderPool:
    """Slides by key, of which at most `limit` stay open when nobody reads them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._slides: OrderedDict[str, OpenSlide] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._slides)

    @contextmanager
    def borrow(self, key: str, opening: Callable[[], SlideReader]) -> Iterator[OpenSlide]:
        """Yield a slide that stays open until it is given back.

        Raises
        ------
        SlideError
            If it cannot be opened; it is tried again the next time.
        """
        with self._lock:
            slide = self._slides.setdefault(key, OpenSlide(opening))
            self._slides.move_to_end(key)
            slide.users += 1
        try:
            slide.reader()
            yield slide
        finally:
            with self._lock:
                slide.users -= 1
                idle = self._idle_beyond_limit()
            for other in idle:
                other.close()

    def close(self) -> None:
        """Close the slides that nobody reads."""
        with self._lock:
            idle = [key for key, slide in self._slides.items() if slide.users == _NOBODY]
            closing = [self._slides.pop(key) for key in idle]
        for slide in closing:
            slide.close()

    def _idle_beyond_limit(self) -> list[OpenSlide]:
        """Take out the slides to close, the least recently used first."""
        surplus = len(self._slides) - self._limit
        idle = [key for key, slide in self._slides.items() if slide.users == _NOBODY]
        return [self._slides.pop(key) for key in idle[: max(0, surplus)]]
