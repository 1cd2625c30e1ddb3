"""Measure how fast random batches of tiles come back from storage, beside other ways to keep them.

Tiles are crops of shipped real tissue, turned and mirrored by a seed, spread over several stores.
Everything is read through the page cache, in one process, the ways taking turns in random order
within each round and all of them reading the same batches; only tensorstore answers from a process
of its own, since it is no dependency of this package. It cannot decode our JPEG codec, so it reads
the lossless stores, sharded Zarr v3 arrays with Blosc.

The limit, `decoding from memory`, takes the very bytes of the store, already in memory, through
libjpeg-turbo into memory that is there, in as many threads.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image

from benchmarks.reading_data import KINDS, STORES, TILE, Tiles, build, encoded, open_stores
from wsi_specdec.keys import TILES
from wsi_specdec.store import BatchReader, TileStore, decode_jpeg

TENSORSTORE = Path(__file__).with_name("reading_tensorstore.py")
BATCH = 256
THREADS = len(os.sched_getaffinity(0))
OURS, LIMIT = "ours", "decoding from memory"
# Mean difference in grey levels, from JPEG at the scanner's quality; other tiles differ by tens.
_ERROR = 12

Index = NDArray[np.int64]
# Reads a batch (store numbers, tile numbers); the tiles, or the seconds it measured itself.
Read = Callable[[Index, Index], "Tiles | Answer"]


@dataclass(frozen=True)
class Answer:
    """What another process measured, and the sum of the pixels it read."""

    seconds: float
    total: int


@dataclass(frozen=True)
class Way:
    """A way to read tiles: from which content, and how many of a batch (slow ways read fewer)."""

    name: str
    content: str
    read: Read
    sample: int = BATCH


@dataclass(frozen=True)
class Row:
    """What a way reached: medians over the rounds, ratios of medians."""

    name: str
    content: str
    tiles_per_s: float
    of_limit: float | None
    of_ours: float
    kb_per_tile: float


def limit(stores: Sequence[TileStore], pool: ThreadPoolExecutor) -> Read:
    """Decode the stores' JPEGs from memory; tiles of several are not put together."""
    parts = stores[0].layout.chunks_per_tile
    side = stores[0].layout.chunk_size
    memory = [encoded(store) for store in stores]
    out = np.zeros((BATCH * parts, side, side, 3), np.uint8)

    def read(owners: Index, numbers: Index) -> Tiles:
        pairs = zip(owners.tolist(), numbers.tolist(), strict=True)
        chunks = [memory[o][n * parts + i] for o, n in pairs for i in range(parts)]
        _share(pool, zip(chunks, out, strict=False), lambda pair: decode_jpeg(*pair))
        return out[: len(chunks)]

    return read


def _share(pool: ThreadPoolExecutor, items: Iterator[Any], work: Callable[[Any], object]) -> None:
    """Let every thread take the next item that is left."""
    shared = iter(list(items))

    def run() -> None:
        for item in shared:
            work(item)

    for future in [pool.submit(run) for _ in range(THREADS)]:
        future.result()


def zarr_ways(stores: Sequence[TileStore]) -> list[Way]:
    """Set up zarr-python, tile by tile and by one orthogonal index a store."""
    arrays: list[Any] = [zarr.open_group(store.path, mode="r")[TILES] for store in stores]

    def singly(owners: Index, numbers: Index) -> Tiles:
        return np.stack([arrays[o][int(n)] for o, n in zip(owners, numbers, strict=True)])

    def oindex(owners: Index, numbers: Index) -> Tiles:
        out = np.empty((len(owners), TILE, TILE, 3), np.uint8)
        for owner in np.unique(owners):
            rows = np.flatnonzero(owners == owner)
            out[rows] = arrays[owner].oindex[numbers[rows]]
        return out

    return [
        Way("zarr-python, singly", "jpeg", singly, 64),
        Way("zarr-python, oindex", "jpeg", oindex, 32),
    ]


def hdf5_ways(folder: Path, pool: ThreadPoolExecutor, stack: ExitStack, each: int) -> list[Way]:
    """Set up h5py, with chunks of pixels, and with JPEGs that the threads decode."""
    pixels = stack.enter_context(h5py.File(folder / "pixels.h5", "r"))["tiles"]
    jpegs = stack.enter_context(h5py.File(folder / "jpeg.h5", "r"))["tiles"]

    def read_pixels(owners: Index, numbers: Index) -> Tiles:
        out = np.empty((len(owners), TILE, TILE, 3), np.uint8)
        for place, row in enumerate((owners * each + numbers).tolist()):
            pixels.read_direct(out, np.s_[row], np.s_[place])
        return out

    def read_jpegs(owners: Index, numbers: Index) -> Tiles:
        out = np.empty((len(owners), TILE, TILE, 3), np.uint8)
        data = [jpegs[row].tobytes() for row in (owners * each + numbers).tolist()]
        _share(pool, zip(data, out, strict=True), lambda pair: decode_jpeg(*pair))
        return out

    return [
        Way("h5py, chunks of pixels", "pixels.h5", read_pixels),
        Way("h5py, JPEGs, decoded in threads", "jpeg.h5", read_jpegs),
    ]


def file_ways(folder: Path, pool: ThreadPoolExecutor) -> list[Way]:
    """Set up a file per tile, read and decoded in threads by imagecodecs, and by Pillow."""

    def in_threads(decode: Callable[[bytes, Tiles], None]) -> Read:
        def one(item: tuple[int, int, Tiles]) -> None:
            owner, number, out = item
            decode((folder / "files" / str(owner) / f"{number}.jpg").read_bytes(), out)

        def read(owners: Index, numbers: Index) -> Tiles:
            out = np.empty((len(owners), TILE, TILE, 3), np.uint8)
            _share(pool, zip(owners.tolist(), numbers.tolist(), out, strict=True), one)
            return out

        return read

    def pillow(data: bytes, out: Tiles) -> None:
        out[...] = np.asarray(Image.open(io.BytesIO(data)))

    return [
        Way("JPEG files, imagecodecs in threads", "files", in_threads(decode_jpeg)),
        Way("JPEG files, Pillow in threads", "files", in_threads(pillow)),
    ]


def tensorstore_python(peers: Path | None) -> str | None:
    """Find an interpreter that has tensorstore: this one, or one below `peers`."""
    if find_spec("tensorstore") is not None:
        return sys.executable
    for name in ("reading", "hs2p") if peers is not None else ():
        python = Path(peers or "") / name / "bin" / "python"
        asked = [str(python), "-c", "import tensorstore"]
        if (
            python.exists()
            and subprocess.run(asked, capture_output=True, check=False).returncode == 0
        ):
            return str(python)
    return None


def tensorstore_way(python: str, stores: Sequence[TileStore], stack: ExitStack) -> Way:
    """Ask a process that reads the lossless stores by tensorstore."""
    paths = [str(store.path / TILES) for store in stores]
    process = stack.enter_context(
        subprocess.Popen(
            [python, str(TENSORSTORE), *paths, str(THREADS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        msg = "no pipes to tensorstore's process"
        raise RuntimeError(msg)
    stack.callback(stdin.close)

    def read(owners: Index, numbers: Index) -> Answer:
        batch = {"owners": owners.tolist(), "numbers": numbers.tolist()}
        print(json.dumps(batch), file=stdin, flush=True)
        answer = json.loads(stdout.readline())
        return Answer(answer["seconds"], answer["sum"])

    return Way("tensorstore", "lossless", read)


def ways(folder: Path, peers: Path | None, stack: ExitStack) -> list[Way]:
    """Set up all ways to read what `build` wrote."""
    pool = stack.enter_context(ThreadPoolExecutor(THREADS))
    stores = {kind: open_stores(folder, kind) for kind in KINDS}
    found = []
    for kind, opened in stores.items():
        reader = stack.enter_context(BatchReader(opened, THREADS))
        found.append(Way(OURS, kind, reader.read))
        if kind != "lossless":
            found.append(Way(LIMIT, kind, limit(opened, pool)))
    found += zarr_ways(stores["jpeg"]) + file_ways(folder, pool)
    found += hdf5_ways(folder, pool, stack, len(stores["jpeg"][0]))
    python = tensorstore_python(peers)
    if python is not None:
        found.append(tensorstore_way(python, stores["lossless"], stack))
    return found


def measure(
    folder: Path, *, n_tiles: int = 2000, rounds: int = 15, peers: Path | None = None, seed: int = 0
) -> list[Row]:
    """Build what is missing below `folder`, and measure every way on the same random batches.

    Parameters
    ----------
    folder
        Where the tiles lie; about 0.6 MB a tile.
    n_tiles, rounds, seed
        How many tiles there are, how many batches are read, and what both are drawn from.
    peers
        Folder of environments, one of which may have tensorstore.
    """
    build(folder, n_tiles, seed)
    rng = np.random.default_rng(seed)
    each = n_tiles // STORES
    with ExitStack() as stack:
        found = ways(folder, peers, stack)
        original = open_stores(folder, "lossless")
        seconds: list[list[float]] = [[] for _ in found]
        for number in range(rounds + 1):
            owners, numbers = rng.integers(STORES, size=BATCH), rng.integers(each, size=BATCH)
            for place in rng.permutation(len(found)).tolist():
                way = found[place]
                batch = owners[: way.sample], numbers[: way.sample]
                if number:
                    seconds[place].append(_seconds(way, *batch) / way.sample)
                elif way.name != LIMIT:
                    # The first round fills caches, and sees that all read the same pixels.
                    _check(way, batch, original)
    return _rows(folder, n_tiles, found, [1 / statistics.median(taken) for taken in seconds])


def _seconds(way: Way, owners: Index, numbers: Index) -> float:
    started = time.perf_counter()
    result = way.read(owners, numbers)
    return result.seconds if isinstance(result, Answer) else time.perf_counter() - started


def _check(way: Way, batch: tuple[Index, Index], original: Sequence[TileStore]) -> None:
    with BatchReader(original, THREADS) as reader:
        expected = reader.read(*batch)
    result = way.read(*batch)
    if isinstance(result, Answer):
        same = result.total == expected.sum(dtype=np.int64)
    else:
        same = float(np.abs(result.astype(np.int16) - expected).mean()) < _ERROR
    if not same:
        msg = f"{way.name} ({way.content}) read other tiles than were written"
        raise RuntimeError(msg)


def _rows(folder: Path, n_tiles: int, found: Sequence[Way], speeds: Sequence[float]) -> list[Row]:
    limits = {w.content: s for w, s in zip(found, speeds, strict=True) if w.name == LIMIT}
    ours = {w.content: s for w, s in zip(found, speeds, strict=True) if w.name == OURS}
    sizes = {way.content: _kb(folder / way.content) / n_tiles for way in found}
    return [
        Row(
            way.name,
            way.content,
            speed,
            speed / limits[way.content] if way.content in limits else None,
            speed / ours.get(way.content, ours["jpeg"]),
            sizes[way.content],
        )
        for way, speed in zip(found, speeds, strict=True)
    ]


def _kb(path: Path) -> float:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files) / 1000


def table(rows: Sequence[Row]) -> str:
    """Lay the rows out as text."""
    lines = [
        f"{'way':<36}{'content':<11}{'tiles/s':>9}{'of limit':>10}{'of ours':>9}{'kB/tile':>9}"
    ]
    for row in rows:
        of_limit = "" if row.of_limit is None else f"{row.of_limit:.2f}"
        lines.append(
            f"{row.name:<36}{row.content:<11}{row.tiles_per_s:>9.0f}{of_limit:>10}"
            f"{row.of_ours:>9.2f}{row.kb_per_tile:>9.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write JSON where asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", type=Path, help="folder of environments, for tensorstore")
    parser.add_argument("--folder", type=Path, help="keep the tiles here for the next run")
    parser.add_argument("--json", type=Path, help="write the rows here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if given.folder is None else given.folder
        rows = measure(folder, n_tiles=given.tiles, rounds=given.rounds, peers=given.peers)
    print(f"random batches of {BATCH} tiles of {TILE} px, {STORES} stores, {THREADS} threads")
    print(table(rows))
    if tensorstore_python(given.peers) is None:
        print("tensorstore is not installed: see --peers")
    if given.json is not None:
        versions = {name: module.__version__ for name, module in _MODULES.items()}
        record = {"threads": THREADS, "batch": BATCH, "tiles": given.tiles, "versions": versions}
        rendered = json.dumps({**record, "rows": [asdict(row) for row in rows]}, indent=2)
        given.json.write_text(rendered + "\n", encoding="utf-8")


_MODULES: dict[str, Any] = {"zarr": zarr, "h5py": h5py, "imagecodecs": imagecodecs, "numpy": np}

if __name__ == "__main__":
    main()
