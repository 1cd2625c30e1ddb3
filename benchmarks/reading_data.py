"""The tiles that benchmarks/reading.py reads: real tissue, in every form that is compared."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import Size
from wsi_specdec.keys import TILES
from wsi_specdec.slides import open_slide
from wsi_specdec.store import TileStore, TileStoreWriter, open_store
from wsi_specdec.store.schema import shard_name
from wsi_specdec.store.shards import Shard

SOURCE = Path(__file__).parents[1] / "tests" / "data" / "CMU-1-Small-Region.svs"
TILE = 256
STORES = 4
# JPEG quality: our default for new scans, and what the source's scanner used.
OWN, SCANNED = 90, 30
# Folder: JPEG quality (None: lossless) and chunk size.
KINDS: dict[str, tuple[int | None, int]] = {
    "jpeg": (OWN, TILE),
    "scanned": (SCANNED, TILE),
    "quarters": (SCANNED, TILE // 2),
    "lossless": (None, TILE),
}

Tiles = NDArray[np.uint8]


def cut_tiles(n: int, seed: int) -> Iterator[Tiles]:
    """Yield `n` different crops of the shipped slide, (TILE, TILE, 3), turned and mirrored."""
    with open_slide(SOURCE) as slide:
        size = slide.info.level_sizes[0]
        pixels = slide.read_region(0, 0, 0, Size(size.width, size.height))
    rng = np.random.default_rng(seed)
    for _ in range(n):
        x, y = rng.integers(size.width - TILE), rng.integers(size.height - TILE)
        tile = np.rot90(pixels[y : y + TILE, x : x + TILE], int(rng.integers(4)))
        yield np.ascontiguousarray(tile[:, :: rng.choice([-1, 1])])


def build(folder: Path, n_tiles: int, seed: int = 0) -> None:
    """Write the tiles in every form, unless they are there."""
    each = n_tiles // STORES
    marker = folder / f"{each}-{seed}.complete"
    if marker.exists():
        return
    for owner in range(STORES):
        tiles = np.stack(list(cut_tiles(each, seed + owner)))
        for kind in KINDS:
            _write_store(folder / kind / f"{owner}.zarr", tiles, kind)
    _write_others(folder, open_stores(folder, "jpeg"), open_stores(folder, "lossless"))
    marker.touch()


def open_stores(folder: Path, kind: str) -> list[TileStore]:
    """Open the stores of one kind."""
    return [open_store(folder / kind / f"{owner}.zarr") for owner in range(STORES)]


def encoded(store: TileStore) -> list[bytes]:
    """Return all chunks of a store, as they are in its shards."""
    layout, chunks = store.layout, list[bytes]()
    for number in range(layout.n_shards):
        shard = Shard(store.path / TILES / shard_name(number), layout.chunks_per_shard)
        here = min(layout.tiles_per_shard, layout.n_tiles - number * layout.tiles_per_shard)
        (located,) = shard.locate(np.zeros(1, np.int64), here * layout.chunks_per_tile)
        chunks += shard.read(located)
    return chunks


def _write_store(path: Path, tiles: Tiles, kind: str) -> None:
    quality, chunk_size = KINDS[kind]
    with TileStoreWriter(
        path,
        n_tiles=len(tiles),
        tile_size=TILE,
        codec="lossless" if quality is None else "jpeg",
        jpeg_quality=quality or OWN,
        chunk_size=chunk_size,
        attributes={"slide_id": path.stem, "tile_size_level0_px": TILE},
    ) as writer:
        writer.append(tiles)
        zeros = np.zeros(len(tiles))
        writer.finish(np.zeros((len(tiles), 2)), zeros, zeros, {})


def _write_others(folder: Path, jpeg: Sequence[TileStore], lossless: Sequence[TileStore]) -> None:
    """HDF5 with pixels, HDF5 with JPEGs, and JPEG files: the same bytes as in the stores."""
    chunks = [chunk for store in jpeg for chunk in encoded(store)]
    with h5py.File(folder / "pixels.h5", "w") as file:
        shape = (len(chunks), TILE, TILE, 3)
        pixels = file.create_dataset("tiles", shape, np.uint8, chunks=(1, *shape[1:]))
        for owner, store in enumerate(lossless):
            pixels[owner * len(store) : (owner + 1) * len(store)] = store.read(range(len(store)))
    with h5py.File(folder / "jpeg.h5", "w") as file:
        dataset = file.create_dataset("tiles", len(chunks), h5py.vlen_dtype(np.uint8))
        for number, chunk in enumerate(chunks):
            dataset[number] = np.frombuffer(chunk, np.uint8)
    for number, chunk in enumerate(chunks):
        owner, tile = divmod(number, len(jpeg[0]))
        path = folder / "files" / str(owner) / f"{tile}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chunk)
