"""The bar of a scoring run: tiles where their number is known, else slides; and tiles a second."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wsi_specdec.progress import Ticker, progress
from wsi_specdec.scoring.sources import TileSource


class Pace:
    """What scoring tells of its advance."""

    def __init__(self, tick: Ticker, *, counts_tiles: bool) -> None:
        self._tick = tick
        self._counts_tiles = counts_tiles
        self._done = 0
        self._started = time.monotonic()

    def tiles(self, n: int, /) -> None:
        """Advance by tiles of the slide under way."""
        self._done += n
        rate = self._done / max(time.monotonic() - self._started, 1e-9)
        note = f"{rate:,.0f} tiles/s"
        if self._counts_tiles:
            self._tick(n, note)
        else:
            self._tick(0, f"{self._done:,} tiles, {note}")

    def slide(self) -> None:
        """Count a slide as ended."""
        if not self._counts_tiles:
            self._tick(1)


@contextmanager
def pace(sources: Sequence[TileSource], *, shown: bool) -> Iterator[Pace]:
    """Show the advance of slides that are about to be scored."""
    numbers = [source.n_tiles for source in sources]
    known = [n for n in numbers if n is not None]
    counts_tiles = len(known) == len(numbers)
    if not shown:
        yield Pace(_silent, counts_tiles=counts_tiles)
        return
    title, total = ("score tiles", sum(known)) if counts_tiles else ("score slides", len(numbers))
    with progress(title, total) as tick:
        yield Pace(tick, counts_tiles=counts_tiles)


def _silent(advance: int = 1, note: str = "") -> None:
    """Tell nobody."""
