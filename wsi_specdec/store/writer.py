"""Writes a tile store: whole shards by itself, metadata and the small arrays by zarr."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import zarr
from numpy.typing import ArrayLike, DTypeLike, NDArray
from zarr.codecs import BytesCodec

from wsi_specdec.config import TileConfig
from wsi_specdec.errors import StoreError
from wsi_specdec.files import atomic_path
from wsi_specdec.keys import COORDS, LABEL, QUALITY, TILES, TISSUE_FRACTION
from wsi_specdec.store.codec import JpegCodec
from wsi_specdec.store.jpeg import encode_jpeg
from wsi_specdec.store.lossless import LZ4, Lossless
from wsi_specdec.store.schema import COMPLETE, check_attributes, plan_layout, shard_name
from wsi_specdec.store.shards import ShardWriter
from wsi_specdec.store.unfinished import UnfinishedGroup

Codec = Literal["jpeg", "lossless"]

_DEFAULTS = TileConfig()


class TileStoreWriter(UnfinishedGroup):
    """Writes one slide's store under a temporary name; a clean exit moves it into place.

    Parameters
    ----------
    path
        Where the store shall be; one that is there is replaced at the very end.
    n_tiles, tile_size
        How many tiles will be appended, and their side in pixels.
    codec, jpeg_quality
        How tiles are stored.
    attributes
        The store's attributes (`slide_id` and `tile_size_level0_px` at least), plain JSON.
    chunk_size
        Side of a chunk where tiles are assembled from smaller ones; the tile's by default.
    threads
        That `append` encodes with.

    Raises
    ------
    StoreError
        If an attribute is missing, or fewer or more tiles come than were announced.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from wsi_specdec.store import open_store
    >>> folder = tempfile.TemporaryDirectory()
    >>> attributes = {"slide_id": "s", "tile_size_level0_px": 8}
    >>> path = Path(folder.name) / "s.zarr"
    >>> with TileStoreWriter(
    ...     path, n_tiles=1, tile_size=8, codec="lossless", attributes=attributes
    ... ) as writer:
    ...     writer.append(np.zeros((1, 8, 8, 3), np.uint8))
    ...     writer.finish(coords=[[0, 0]], tissue_fraction=[1.0], label=[-1], quality={})
    >>> open_store(path).n_tiles
    1
    >>> folder.cleanup()
    """

    lossless: ClassVar[Lossless] = LZ4

    @classmethod
    def encoder(cls, codec: Codec, jpeg_quality: int) -> Callable[[NDArray[np.uint8]], bytes]:
        """Return what encodes a tile, or a chunk of one, as stores of that codec hold it."""
        if codec == "jpeg":
            return partial(encode_jpeg, quality=jpeg_quality)
        return cls.lossless.encode

    def __init__(  # noqa: PLR0913 - named settings, most with a default
        self,
        path: Path,
        *,
        n_tiles: int,
        tile_size: int,
        codec: Codec,
        attributes: Mapping[str, Any],
        jpeg_quality: int = _DEFAULTS.jpeg_quality,
        chunk_size: int | None = None,
        threads: int = 2,
    ) -> None:
        super().__init__(path)
        self._threads = threads
        self._layout = plan_layout(n_tiles, tile_size, chunk_size)
        self._codec = codec
        self._quality = jpeg_quality
        self._attributes = check_attributes(attributes, tile_size)
        self._encode = self.encoder(codec, jpeg_quality)
        self._missing = np.ones(n_tiles * self._layout.chunks_per_tile, np.bool_)
        self._chunks = 0
        self._open: dict[int, tuple[ExitStack, ShardWriter]] = {}
        self._lock = threading.Lock()

    def _begin(self, stack: ExitStack) -> None:
        self._folder = stack.enter_context(atomic_path(self.path))
        self._pool = stack.enter_context(ThreadPoolExecutor(self._threads))
        self._group = zarr.create_group(self._folder, attributes=self._attributes)
        self._create_tiles()
        # Entered last, so that shards are closed before their folder is moved.
        self._shards = stack.enter_context(ExitStack())

    @property
    def tiles_per_shard(self) -> int:
        """Tiles in each shard but the last, which may have fewer."""
        return self._layout.tiles_per_shard

    @property
    def chunks_per_shard(self) -> int:
        """Chunks in each shard but the last, which may have fewer."""
        return self._layout.chunks_per_shard

    def append(self, tiles: NDArray[np.uint8]) -> None:
        """Add the next tiles, in order.

        Parameters
        ----------
        tiles
            uint8, (n, tile_size, tile_size, 3), any n.

        Raises
        ------
        StoreError
            If the shape or dtype is another, or more tiles come than were announced.
        """
        if tiles.dtype != np.uint8 or tiles.shape[1:] != self._layout.shape[1:]:
            msg = (
                f"{self.path} takes uint8 tiles of shape (n, {self._layout.tile_size}, "
                f"{self._layout.tile_size}, 3), got {tiles.dtype} {tiles.shape}"
            )
            raise StoreError(msg)
        self.append_encoded(list(self._pool.map(self._encode, self._split(tiles))))

    def encode(self, tile: NDArray[np.uint8]) -> list[bytes]:
        """Encode one tile, (tile_size, tile_size, 3), as the chunks that `put_encoded` takes.

        May be called from any thread.
        """
        return [self._encode(chunk) for chunk in self._split(tile[np.newaxis])]

    def append_encoded(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Add the next chunks, in order, as they are, already encoded by the store's codec.

        Parameters
        ----------
        chunks
            Complete JPEGs (or what `lossless` encodes) of `chunk_size` by `chunk_size`
            pixels; those of a tile in row-major order. Their pixels are not checked.

        Raises
        ------
        StoreError
            If more come than were announced.
        """
        self.put_chunks(self._chunks, chunks)

    def put_chunks(
        self, first: int, chunks: Sequence[bytes | memoryview], prefix: bytes = b""
    ) -> None:
        """Add chunks as `append_encoded` takes them, from number `first` of the store's on.

        Threads may call it at once, each for shards of its own.

        Parameters
        ----------
        first
            Number of the first chunk; a tile's follow one another.
        chunks
            The chunks.
        prefix
            Bytes that are put in front of every chunk.

        Raises
        ------
        StoreError
            If a chunk does not exist or came already.
        """
        self._write(np.arange(first, first + len(chunks)), chunks, prefix)

    def put_encoded(self, tiles: ArrayLike, chunks: Sequence[bytes | memoryview]) -> None:
        """Add tiles in any order; the file of a shard is open from its first tile to its last.

        Parameters
        ----------
        tiles
            Their numbers, (n,).
        chunks
            The chunks of one tile after another, as in `append_encoded`.

        Raises
        ------
        StoreError
            If a tile does not exist or came already, or their chunks are not as many as tiles
            have.
        """
        numbers = np.asarray(tiles, np.int64).reshape(-1, 1)
        a_tile = self._layout.chunks_per_tile
        if len(chunks) != len(numbers) * a_tile:
            msg = f"{self.path} got {len(chunks)} chunks for {len(numbers)} tiles of {a_tile}"
            raise StoreError(msg)
        self._write((numbers * a_tile + np.arange(a_tile)).ravel(), chunks)

    def finish(
        self,
        coords: ArrayLike,
        tissue_fraction: ArrayLike,
        label: ArrayLike,
        quality: Mapping[str, ArrayLike],
    ) -> None:
        """Write the small arrays, and mark the store complete.

        Parameters
        ----------
        coords
            int64, (N, 2): x, y of the tiles' top-left corners, in level-0 pixels.
        tissue_fraction
            float32, (N,).
        label
            int16, (N,), -1 where unknown.
        quality
            Name to float32, (N,).

        Raises
        ------
        StoreError
            If tiles are missing, or an array has another length.
        """
        self._check_whole()
        self._array(self._group, COORDS, coords, np.int64, (self._layout.n_tiles, 2))
        self._complete(tissue_fraction, label, quality)

    def _check_whole(self) -> None:
        if self._chunks != len(self._missing):
            msg = f"{self.path} got {self._chunks} chunks of the {len(self._missing)} announced"
            raise StoreError(msg)

    def _complete(
        self, tissue_fraction: ArrayLike, label: ArrayLike, quality: Mapping[str, ArrayLike]
    ) -> None:
        """Write the arrays that every store has, and mark it complete."""
        n_tiles = self._layout.n_tiles
        self._array(self._group, TISSUE_FRACTION, tissue_fraction, np.float32, (n_tiles,))
        self._array(self._group, LABEL, label, np.int16, (n_tiles,))
        group = self._group.create_group(QUALITY)
        for name, values in quality.items():
            self._array(group, name, values, np.float32, (n_tiles,))
        self._group.attrs[COMPLETE] = True
        self._finished = True

    def _split(self, tiles: NDArray[np.uint8]) -> Iterable[NDArray[np.uint8]]:
        """Cut tiles into chunks, row-major within a tile."""
        side, size = self._layout.chunks_per_side, self._layout.chunk_size
        cut = tiles.reshape(len(tiles), side, size, side, size, 3).swapaxes(2, 3)
        return cut.reshape(-1, size, size, 3)

    def _write(
        self,
        numbers: NDArray[np.int64],
        chunks: Sequence[bytes | memoryview],
        prefix: bytes = b"",
    ) -> None:
        """Write chunks, (n,) numbers of the store's."""
        if self._finished or self._chunks + len(chunks) > len(self._missing):
            msg = f"{self.path} was announced to hold {self._layout.n_tiles} tiles, and more came"
            raise StoreError(msg)
        if not len(numbers):
            return
        inside = numbers.min() >= 0 and numbers.max() < len(self._missing)
        repeated = len(set(numbers.tolist())) < len(numbers)
        if not inside or repeated or not self._missing[numbers].all():
            tiles = sorted(set((numbers // self._layout.chunks_per_tile).tolist()))
            msg = f"{self.path} takes each of its {self._layout.n_tiles} tiles once, got {tiles}"
            raise StoreError(msg)
        shards = numbers // self._layout.chunks_per_shard
        ends = [*((shards[1:] != shards[:-1]).nonzero()[0] + 1).tolist(), len(numbers)]
        for start, end in pairwise([0, *ends]):
            part = slice(start, end)
            self._put(int(shards[start]), numbers[part], chunks[part], prefix)

    def _put(
        self,
        number: int,
        numbers: NDArray[np.int64],
        chunks: Sequence[bytes | memoryview],
        prefix: bytes,
    ) -> None:
        """Write chunks of one shard, and close it where it is full."""
        n_chunks = self._layout.chunks_per_shard
        first = number * n_chunks
        with self._lock:
            if number not in self._open:
                stack = self._shards.enter_context(ExitStack())
                path = self._folder / TILES / shard_name(number)
                self._open[number] = stack, stack.enter_context(ShardWriter(path, n_chunks))
            stack, shard = self._open[number]
        shard.put(numbers - first, chunks, prefix)
        with self._lock:
            self._missing[numbers] = False
            self._chunks += len(numbers)
            if not self._missing[first : first + n_chunks].any():
                stack.close()
                del self._open[number]

    def _create_tiles(self) -> None:
        layout = self._layout
        jpeg = self._codec == "jpeg"
        self._group.create_array(
            TILES,
            shape=layout.shape,
            dtype=np.uint8,
            chunks=(1, layout.chunk_size, layout.chunk_size, 3),
            shards=(layout.tiles_per_shard, layout.tile_size, layout.tile_size, 3),
            serializer=JpegCodec(quality=self._quality) if jpeg else BytesCodec(),
            compressors=None if jpeg else self.lossless.codec,
            filters=None,
            fill_value=0,
        )

    def _array(
        self,
        group: zarr.Group,
        name: str,
        values: ArrayLike,
        dtype: DTypeLike,
        shape: tuple[int, ...],
    ) -> None:
        data = np.asarray(values, dtype)
        if data.size == 0:
            data = data.reshape(0, *shape[1:])
        if data.shape != shape:
            msg = f"{name} of {self.path} must have the shape {shape}, got {data.shape}"
            raise StoreError(msg)
        group.create_array(name, data=data, chunks=(max(1, shape[0]), *shape[1:]))
