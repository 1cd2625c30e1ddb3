"""What is served of each slide: tiles, its description, scores, outlines. No network in here."""

from collections.abc import Sequence
from typing import Any

from wsi_specdec.config import ViewConfig
from wsi_specdec.store import encode_jpeg
from wsi_specdec.store.calls import Call
from wsi_specdec.viewer import layers
from wsi_specdec.viewer.cache import ByteCache
from wsi_specdec.viewer.catalogue import Catalogue, Entry
from wsi_specdec.viewer.pool import ReaderPool
from wsi_specdec.viewer.pyramid import Place, Pyramid, render
from wsi_specdec.viewer.stored import stored_jpeg

_MB = 1 << 20


class Content:
    """Serves a catalogue, in bounded memory, to several threads at once.

    Parameters
    ----------
    catalogue
        All that may be served.
    config
        Limits.
    """

    def __init__(self, catalogue: Catalogue, config: ViewConfig) -> None:
        self.catalogue = catalogue
        self.config = config
        self.pool = ReaderPool(config.open_slides)
        self.cache = ByteCache(config.cache_mb * _MB)

    def listing(self) -> dict[str, Any]:
        """Describe all slides and their calls, for the page's list."""
        sources = self.catalogue.sources
        return {
            "title": self.catalogue.title,
            "sources": [source.name for source in sources],
            "colours": layers.score_colours(),
            "slides": [
                _row(entry, [source.calls.get(entry.slide.slide_id) for source in sources])
                for entry in self.catalogue.entries.values()
            ],
        }

    def description(self, entry: Entry) -> dict[str, Any]:
        """Describe one slide's pixels and what can lie over them.

        Raises
        ------
        SlideError
            If it cannot be opened.
        """
        with self.pool.borrow(entry.key, entry.open) as opened:
            info = opened.reader().info
        pyramid = Pyramid(info.level_sizes[0], self.config.tile_size)
        bounds = info.bounds
        slide_id = entry.slide.slide_id
        return {
            "width": pyramid.level0.width,
            "height": pyramid.level0.height,
            "tile": pyramid.tile,
            "top": pyramid.top,
            "mpp": info.mpp,
            "bounds": [bounds.x, bounds.y, bounds.width, bounds.height],
            "vendor": info.vendor,
            "scored": [source.tile_scores(slide_id).is_file() for source in self.catalogue.sources],
            "outlines": sorted(entry.outlines),
        }

    def tile(self, entry: Entry, place: Place) -> bytes | None:
        """Return one tile as JPEG; None where the slide has no such tile.

        Raises
        ------
        SlideError
            If the slide cannot be read.
        """
        key = (entry.key, place)
        kept = self.cache.get(key)
        if kept is not None:
            return kept
        with self.pool.borrow(entry.key, entry.open) as opened:
            reader = opened.reader()
            pyramid = Pyramid(reader.info.level_sizes[0], self.config.tile_size)
            if not pyramid.holds(place):
                return None
            data = stored_jpeg(opened, pyramid, place)
            if data is None:
                pixels = render(reader, pyramid, place, opened.overview)
                data = encode_jpeg(pixels, self.config.jpeg_quality)
        self.cache.put(key, data)
        return data

    def thumbnail(self, entry: Entry) -> bytes | None:
        """Return a small JPEG of the whole slide: the preview that tiling left, or else a tile.

        Raises
        ------
        SlideError
            If there is no preview and the slide cannot be read.
        """
        if entry.thumbnail is not None:
            return entry.thumbnail.read_bytes()
        return self.tile(entry, Place(0, 0, 0))

    def scores(self, entry: Entry, source: int) -> dict[str, Any] | None:
        """Return the tile scores that one source has of a slide; None where it has none.

        Raises
        ------
        StoreError
            If the file is damaged.
        """
        if source >= len(self.catalogue.sources):
            return None
        path = self.catalogue.sources[source].tile_scores(entry.slide.slide_id)
        return layers.tile_scores(path) if path.is_file() else None

    def outlines(self, entry: Entry, name: str) -> list[dict[str, Any]] | None:
        """Return outlines of one kind; None where there are none.

        Raises
        ------
        SlideError, ManifestError
            If the slide or the file of outlines cannot be read.
        """
        path = entry.outlines.get(name)
        if path is None:
            return None
        with self.pool.borrow(entry.key, entry.open) as opened:
            info = opened.reader().info
        return layers.outlines(path, info.level_sizes[0], info.bounds)


def _row(entry: Entry, calls: Sequence[Call | None]) -> dict[str, Any]:
    slide, outcome = entry.slide, entry.outcome
    return {
        "key": entry.key,
        "id": slide.slide_id,
        "label": slide.label,
        "cohort": slide.split,
        "state": outcome.state if outcome else None,
        "reason": outcome.reason if outcome else "",
        "problem": entry.problem,
        "thumbnail": entry.thumbnail is not None or not entry.problem,
        "calls": [
            call
            and {
                "score": call.score,
                "call": call.call,
                "threshold": call.threshold,
                "tiles": call.n_tiles,
            }
            for call in calls
        ],
    }
