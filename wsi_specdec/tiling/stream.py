"""A slide's tiles read straight from its file, as those of a store are, but none is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TileConfig
from wsi_specdec.runner import hand_back_memory
from wsi_specdec.slides import SlideReader
from wsi_specdec.threads import in_order
from wsi_specdec.tiling.extract import visit_order
from wsi_specdec.tiling.opening import mark_of, open_brightfield
from wsi_specdec.tiling.paths import choose_path, tiles_at
from wsi_specdec.tiling.quality import MEASURES, measure_quality
from wsi_specdec.tiling.selection import Selection, select_tiles
from wsi_specdec.tiling.tile import params_of

# Within so many tiles they are visited strip by strip: what is read for one and needed again by the
# next ones lies close by, and whoever puts results in order holds back no more than these.
_BLOCK_TILES = 4096
# Measured at a time by one thread.
_MEASURED_TILES = 64


@dataclass(frozen=True)
class SlideSource:
    """A slide to be cut into tiles as they are asked for. Crosses process boundaries.

    Attributes
    ----------
    slide
        Row of the manifest.
    config
        How it is cut; what concerns a store's files (`codec`, `jpeg_quality`) must be the default
        of a lossless one, and stains are left as they are.
    previews
        Folder for the thumbnail and the tissue mask.
    """

    slide: Slide
    config: TileConfig
    previews: Path

    @classmethod
    def of(cls, slide: Slide, config: TileConfig, previews: Path) -> "SlideSource":
        """Make one that finds its files from any folder."""
        files = ("path", "tissue_mask_path", "annotation_path")
        found = {name: getattr(slide, name) for name in files}
        absolute = {name: path and path.absolute() for name, path in found.items()}
        coords = config.coords and config.coords.absolute()
        here = config.model_copy(update={"coords": coords})
        return cls(replace(slide, **absolute), here, previews.absolute())

    @property
    def slide_id(self) -> str:
        """The slide's id."""
        return self.slide.slide_id

    @property
    def n_tiles(self) -> None:
        """Not known before it is opened."""
        return

    def identity(self) -> dict[str, Any]:
        """Return what its tiles depend on: the same as of a store that these settings made.

        Raises
        ------
        SlideNotFoundError
            If there is no such file.
        """
        mark = mark_of(self.slide, self.config)
        return {
            "slide_id": self.slide_id,
            "params_sha256": params_of(self.slide, self.config),
            "slide_fingerprint": mark,
        }

    def open(self, threads: int) -> "SlideStream":
        """Open the slide and choose its tiles; so many threads decode.

        Raises
        ------
        SlideError, ManifestError, StoreError, ConfigError
            As tiling does.
        """
        slide, config = self.slide, self.config
        # Threads are shared out by the caller.
        cv2.setNumThreads(1)
        mark = self.identity()
        reader = open_brightfield(slide, config)
        try:
            chosen = select_tiles(reader, slide, config, self.previews)
            hand_back_memory()
            return SlideStream(reader, chosen, config, mark, threads)
        except BaseException:
            reader.close()
            raise


class SlideStream:
    """An opened slide's tiles, in the shape of a store's. One thread at a time reads.

    Parameters
    ----------
    reader
        The open slide, closed by `close`.
    chosen
        Its tiles.
    config
        How it is cut.
    identity
        What the tiles depend on, for `attributes`.
    threads
        How many decode.

    Raises
    ------
    ConfigError
        If `config` names a pixel path that cannot be taken.
    """

    def __init__(
        self,
        reader: SlideReader,
        chosen: Selection,
        config: TileConfig,
        identity: Mapping[str, Any],
        threads: int,
    ) -> None:
        self._reader, self._chosen, self._threads = reader, chosen, threads
        self._path = choose_path(reader, chosen.plan, chosen.coords, config)
        self.path = reader.path
        self.slide_id = str(identity["slide_id"])
        self.tile_size = config.tile_size
        self.n_tiles = len(chosen.coords)
        self.coords = chosen.coords
        self.tissue_fraction = chosen.fractions
        # As a store has it: the one asked for, else the one reached.
        self.mpp = chosen.plan.mpp if chosen.plan.mpp is not None else chosen.plan.mpp_effective
        self.reason = chosen.reason or "; ".join(reader.info.warnings)
        self.attributes: Mapping[str, Any] = MappingProxyType(
            {
                **identity,
                "mpp_level0": reader.info.mpp,
                "mpp": chosen.plan.mpp,
                "mpp_effective": chosen.plan.mpp_effective,
                "tile_size_px": config.tile_size,
                "tile_size_level0_px": chosen.plan.tile_size_level0_px,
                "stride_px": config.tile_size - config.overlap,
            }
        )

    @cached_property
    def quality(self) -> Mapping[str, NDArray[np.float32]]:
        """Measures by name, float32, (N,) each: all tiles are read for them, the first time."""
        order = self.order(np.arange(self.n_tiles))
        parts = [order[i : i + _MEASURED_TILES] for i in range(0, len(order), _MEASURED_TILES)]
        measures = np.empty((self.n_tiles, len(MEASURES)), np.float32)
        mpp = self._chosen.plan.mpp_effective

        def measure(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            return measure_quality(list(self._tiles(rows, 1)), mpp)

        found = in_order(measure, parts, self._threads, waiting=self._threads)
        for rows, values in zip(parts, found, strict=True):
            measures[rows] = values
        return MappingProxyType(dict(zip(MEASURES, measures.T, strict=True)))

    def order(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of tiles, (n,), rising, in the order in which they are best read."""
        blocks = [rows[i : i + _BLOCK_TILES] for i in range(0, len(rows), _BLOCK_TILES)]
        visited = [block[visit_order(self.coords[block], self._chosen.plan)] for block in blocks]
        return np.concatenate([rows[:0], *visited])

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read tiles: uint8, (n, T, T, 3), in the order asked for.

        Raises
        ------
        SlideReadError
            If the file turns out to be corrupt or truncated.
        """
        if not len(indices):
            return np.empty((0, self.tile_size, self.tile_size, 3), np.uint8)
        return self._tiles(indices, self._threads)

    def _tiles(self, rows: NDArray[np.int64], threads: int) -> NDArray[np.uint8]:
        return tiles_at(self._path, self._reader, self._chosen.plan, self.coords[rows], threads)

    def close(self) -> None:
        """Close the slide."""
        self._reader.close()
