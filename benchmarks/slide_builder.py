"""Build a whole slide of a wanted size from shipped real tissue.

The slide is laid out as Aperio's scanners write theirs: a BigTIFF of abbreviated RGB JPEG tiles of
256 px (no colour marker, tables apart), a thumbnail, and levels averaged 4 and 16 to 1. Tissue lies
in several blobs of irregular outline on noisy glass, and where it lies is known. Tissue tiles are
different crops of one real slide, turned, mirrored and stained anew; they do not join at their
borders, which no timing depends on. One seed makes one file, byte by byte.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.slide_jpeg import QUALITY, abbreviated, jpeg_tables

SOURCE = Path(__file__).parents[1] / "tests" / "data" / "CMU-1-Small-Region.svs"
TILE = 256
MPP = 0.499
# Level-0 pixels per pixel of the known tissue mask, and of the coarsest level.
TRUTH_DOWNSAMPLE = 16
_VERSION = 1
_LEVELS = (4, 16)
_GLASS_NOISE = 1.5
_EDGE_NOISE_PX = 10.0
_EDGE_WIDTH_PX = 6.0
_THREADS = 2

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class SlideSpec:
    """What a slide is built from.

    Attributes
    ----------
    width, height
        Size of level 0 in pixels, multiples of 16.
    tissue_share
        Share of the area that is tissue.
    blobs
        Number of pieces of tissue; some may touch.
    pool
        Different tissue tiles made, at most one for every tile of the slide.
    seed
        Of everything random.
    """

    width: int
    height: int
    tissue_share: float = 0.5
    blobs: int = 5
    pool: int = 2400
    seed: int = 0

    @classmethod
    def of_gigapixels(cls, gigapixels: float, seed: int = 0) -> "SlideSpec":
        """Make a 4:3 slide of about `gigapixels`, whose sides are no multiples of a tile."""
        height = round((gigapixels * 1e9 * 0.75) ** 0.5 / 16) * 16
        height += 16 * (height % TILE == 0)
        width = round(gigapixels * 1e9 / height / 16) * 16
        return cls(width + 16 * (width % TILE == 0), height, seed=seed)

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // TILE)

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // TILE)

    @property
    def key(self) -> str:
        """Hash of the settings, the builder's version and the source of the tissue."""
        digest = hashlib.sha256(SOURCE.read_bytes())
        digest.update(json.dumps([_VERSION, asdict(self)]).encode())
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class BuiltSlide:
    """A slide on disk: its file and an 8-bit PNG of its tissue (255), 16 level-0 px a pixel."""

    path: Path
    truth: Path
    spec: SlideSpec

    def tissue(self) -> NDArray[np.bool_]:
        """Read the known tissue mask, (height / 16, width / 16)."""
        pixels = cv2.imread(str(self.truth), cv2.IMREAD_GRAYSCALE)
        return np.asarray(pixels) > 0


@dataclass(frozen=True)
class _Tile:
    """One tile: its abbreviated JPEG and its pixels averaged 4 to 1, (64, 64, 3)."""

    encoded: bytes
    small: Image


def build_slide(spec: SlideSpec, folder: Path) -> BuiltSlide:
    """Build a slide, or find it in `folder` where it was built before.

    Memory is bounded by the pool, a few rows of tiles and the coarsest levels: about 0.5 GB for
    2.4 gigapixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{spec.width * spec.height / 1e9:.3g}gpx_{spec.key}"
    built = BuiltSlide(folder / f"{name}.svs", folder / f"{name}.truth.png", spec)
    if not (built.path.is_file() and built.truth.is_file()):
        field = tissue_field(spec)
        cv2.imwrite(str(built.truth), (field > 0).astype(np.uint8) * 255)
        partial = built.path.with_suffix(".partial")
        with ThreadPoolExecutor(_THREADS) as threads:
            _write(partial, spec, _Canvas(spec, field, threads))
        partial.replace(built.path)
    return built


def tissue_field(spec: SlideSpec) -> NDArray[np.float32]:
    """Lay out the tissue: (height / 16, width / 16), positive where there is tissue.

    Blobs are turned ellipses whose outline is roughened by noise of several scales; the zero level
    is the quantile that gives the wanted share of tissue.
    """
    rng = np.random.default_rng([spec.seed, 1])
    height, width = spec.height // TRUTH_DOWNSAMPLE, spec.width // TRUTH_DOWNSAMPLE
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    field = np.full((height, width), -np.inf, np.float32)
    for blob in range(spec.blobs):
        x = width * ((blob + rng.uniform(0.3, 0.7)) / spec.blobs)
        y = height * rng.uniform(0.3, 0.7)
        along, across = height * rng.uniform(0.35, 0.5), height * rng.uniform(0.15, 0.25)
        turn = rng.uniform(-0.6, 0.6) + np.pi / 2
        u = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
        v = (rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)
        field = np.maximum(field, 1 - np.hypot(u / along, v / across).astype(np.float32))
    for cells, strength in ((4, 0.25), (12, 0.12), (40, 0.05), (120, 0.02)):
        noise = rng.normal(size=(cells, round(cells * width / height))).astype(np.float32)
        field += strength * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field - np.quantile(field, 1 - spec.tissue_share), np.float32)


class _Canvas:
    """Tiles of level 0 in order; the coarser levels come out of them on the way."""

    def __init__(
        self, spec: SlideSpec, field: NDArray[np.float32], threads: ThreadPoolExecutor
    ) -> None:
        self.spec, self.field, self.threads = spec, field, threads
        self.rng = np.random.default_rng([spec.seed, 2])
        crops = _Crops(spec)
        count = min(spec.pool, spec.columns * spec.rows)
        self.tissue = list(threads.map(lambda i: _tile(crops.tissue(i)), range(count)))
        self.glass = list(threads.map(lambda i: _tile(crops.glass(i)), range(max(1, count // 8))))
        self.edges = crops
        self.tables = jpeg_tables(crops.tissue(0))
        self.kinds = self._kinds()
        small = TILE // _LEVELS[0]
        self.strip = np.zeros((TILE, spec.columns * small, 3), np.uint8)
        self.level1: list[bytes] = []
        self.coarse = np.zeros((spec.rows * 16, spec.columns * 16, 3), np.uint8)

    def _kinds(self) -> NDArray[np.int8]:
        """Tell, of every tile, whether it is glass (0), an edge (1) or tissue (2)."""
        inside = (self.field > 0).astype(np.uint8)
        near = np.ones((5, 5), np.uint8)
        side = TILE // TRUTH_DOWNSAMPLE
        padding = (
            (0, self.spec.rows * side - inside.shape[0]),
            (0, self.spec.columns * side - inside.shape[1]),
        )
        grown, shrunk = (
            np.pad(change(inside, near), padding).reshape(self.spec.rows, side, -1, side)
            for change in (cv2.dilate, cv2.erode)
        )
        full = np.pad(np.ones_like(inside), padding).reshape(grown.shape)
        touched, inner = grown.any((1, 3)), (shrunk >= full).all((1, 3))
        return np.where(inner, 2, np.where(touched, 1, 0)).astype(np.int8)

    def rows(self) -> Iterator[bytes]:
        """Yield the encoded tiles of level 0, row by row."""
        decks = {0: _Deck(self.glass, self.rng), 2: _Deck(self.tissue, self.rng)}
        for row in range(self.spec.rows):
            kinds = self.kinds[row]
            edges = np.flatnonzero(kinds == 1).tolist()
            rendered = dict(
                zip(edges, self.threads.map(lambda c, r=row: self._edge(r, c), edges), strict=True)
            )
            tiles = [
                rendered[column] if kind == 1 else decks[kind].draw()
                for column, kind in enumerate(kinds.tolist())
            ]
            self._place(row, tiles)
            # Whoever writes the tiles stops at the last one: the strip is finished before.
            yield from (tile.encoded for tile in tiles)

    def _edge(self, row: int, column: int) -> _Tile:
        index = row * self.spec.columns + column
        scale = 1 / TRUTH_DOWNSAMPLE
        # Where the centre of a level-0 pixel lies between the centres of the field's.
        x, y = ((n * TILE + 0.5) * scale - 0.5 for n in (column, row))
        level = cv2.warpAffine(
            self.field,
            np.array([[scale, 0, x], [0, scale, y]]),
            (TILE, TILE),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        slope = float(np.hypot(*np.gradient(level)).mean()) + 1e-9
        distance = level / slope + _EDGE_NOISE_PX * self.edges.roughness(index)
        alpha = np.clip(0.5 + distance / _EDGE_WIDTH_PX, 0, 1)[..., np.newaxis]
        mixed = alpha * self.edges.tissue(self.spec.pool + index)
        mixed += (1 - alpha) * self.edges.glass(index)
        return _tile(np.rint(mixed).astype(np.uint8))

    def _place(self, row: int, tiles: list[_Tile]) -> None:
        small = np.concatenate([tile.small for tile in tiles], axis=1)
        y = (row % _LEVELS[0]) * small.shape[0]
        self.strip[y : y + small.shape[0]] = small
        if row % _LEVELS[0] == _LEVELS[0] - 1 or row == self.spec.rows - 1:
            self._finish_strip(row)

    def _finish_strip(self, row: int) -> None:
        """Encode a row of tiles of the first coarser level, and average it for the next."""
        done = (row % _LEVELS[0] + 1) * (TILE // _LEVELS[0])
        strip = self.strip
        width = -(-strip.shape[1] // TILE) * TILE
        padded = np.full((TILE, width, 3), 255, np.uint8)
        padded[:, : strip.shape[1]] = strip
        tiles = [padded[:, x : x + TILE] for x in range(0, width, TILE)]
        self.level1 += self.threads.map(abbreviated, tiles)
        top = (row // _LEVELS[0]) * (TILE // 4)
        coarse = _averaged(strip, 4)[: done // 4]
        self.coarse[top : top + len(coarse)] = coarse


class _Deck:
    """Deals tiles in a random order, all of them before one comes again."""

    def __init__(self, tiles: list[_Tile], rng: np.random.Generator) -> None:
        self._tiles, self._rng = tiles, rng
        self._order: list[int] = []

    def draw(self) -> _Tile:
        if not self._order:
            self._order = self._rng.permutation(len(self._tiles)).tolist()
        return self._tiles[self._order.pop()]


class _Crops:
    """Windows of the source slide, each a function of the seed and its number."""

    def __init__(self, spec: SlideSpec) -> None:
        self._seed = spec.seed
        self._source = np.asarray(tifffile.imread(SOURCE, key=0), np.uint8)
        smooth = cv2.GaussianBlur(self._source, (0, 0), 4).astype(np.float32)
        density = -np.log10(np.maximum(smooth, 1) / 255).mean(axis=2)
        share = cv2.boxFilter((density > 0.1).astype(np.float32), -1, (TILE, TILE))
        half = TILE // 2
        inner = share[half : -half or None, half : -half or None]
        self._on_tissue = np.argwhere(inner > 0.93)
        self._on_glass = np.argwhere(inner < 0.002)

    def tissue(self, index: int) -> Image:
        """Cut a window of tissue, turned, mirrored and stained anew."""
        rng = np.random.default_rng([self._seed, 3, index])
        tile = self._window(self._on_tissue, rng)
        # Optical densities by a factor are intensities to a power, one for each channel.
        powers = rng.uniform(0.8, 1.2) * rng.uniform(0.93, 1.07, size=3)
        ramp = np.arange(256)[:, np.newaxis] / 255
        table = np.rint(255 * ramp**powers).astype(np.uint8)
        return np.asarray(cv2.LUT(tile, table[np.newaxis]), np.uint8)

    def glass(self, index: int) -> Image:
        """Cut a window of glass, and add the noise of a sensor."""
        rng = np.random.default_rng([self._seed, 4, index])
        noise = rng.normal(scale=_GLASS_NOISE, size=(TILE, TILE, 3))
        tile = self._window(self._on_glass, rng)
        return np.clip(np.rint(tile + noise), 0, 255).astype(np.uint8)

    def roughness(self, index: int) -> NDArray[np.float32]:
        """Make smooth noise of unit variance."""
        rng = np.random.default_rng([self._seed, 5, index])
        noise = cv2.GaussianBlur(rng.normal(size=(TILE, TILE)), (0, 0), 3)
        return np.asarray(noise / noise.std(), np.float32)

    def _window(self, corners: NDArray[np.int64], rng: np.random.Generator) -> Image:
        y, x = corners[rng.integers(len(corners))]
        tile = np.rot90(self._source[y : y + TILE, x : x + TILE], int(rng.integers(4)))
        return np.ascontiguousarray(tile[:, ::-1] if rng.integers(2) else tile)


def _tile(pixels: Image) -> _Tile:
    return _Tile(abbreviated(pixels), _averaged(pixels, 4))


def _averaged(pixels: Image, factor: int) -> Image:
    height, width = (side // factor for side in pixels.shape[:2])
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _write(path: Path, spec: SlideSpec, canvas: _Canvas) -> None:
    with tifffile.TiffWriter(path, bigtiff=spec.width * spec.height > 1e9) as tiff:
        _write_level(tiff, canvas.rows(), spec, 1, canvas.tables)
        coarse = canvas.coarse[: spec.height // 16, : spec.width // 16]
        # Aperio puts the thumbnail second; OpenSlide knows it by its having strips.
        shape = (768, round(768 * spec.width / spec.height))
        thumbnail = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_AREA)
        tiff.write(
            np.asarray(thumbnail),
            photometric="rgb",
            compression="zlib",
            description=f"{_description(spec, 1)}\r\n-> {shape[1]}x{shape[0]} - ",
            metadata=None,
        )
        _write_level(tiff, iter(canvas.level1), spec, 4, canvas.tables)
        height, width = (-(-side // TILE) * TILE for side in coarse.shape[:2])
        padded = np.full((height, width, 3), 255, np.uint8)
        padded[: coarse.shape[0], : coarse.shape[1]] = coarse
        tiles = [
            abbreviated(padded[y : y + TILE, x : x + TILE])
            for y in range(0, height, TILE)
            for x in range(0, width, TILE)
        ]
        _write_level(tiff, iter(tiles), spec, 16, canvas.tables)


def _write_level(
    tiff: tifffile.TiffWriter, tiles: Iterator[bytes], spec: SlideSpec, factor: int, tables: bytes
) -> None:
    tiff.write(
        tiles,
        shape=(spec.height // factor, spec.width // factor, 3),
        dtype="uint8",
        photometric="rgb",
        compression="jpeg",
        jpegtables=tables,
        # Written as it comes; this keeps the tag for colours at RGB.
        compressionargs={"outcolorspace": "rgb"},
        subsampling=(1, 1),
        tile=(TILE, TILE),
        description=_description(spec, factor),
        metadata=None,
    )


def _description(spec: SlideSpec, factor: int) -> str:
    size = f"{spec.width}x{spec.height}"
    to = "" if factor == 1 else f" -> {spec.width // factor}x{spec.height // factor}"
    return (
        f"Aperio Image Library v11.2.1 \r\n{size} [0,0 {size}] ({TILE}x{TILE}){to} "
        f"JPEG/RGB Q={QUALITY}|AppMag = 20|MPP = {MPP:.4f}"
    )


def main() -> None:
    """Build the slides of the benchmark, and say how long it took."""
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.15])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/bench_slides"))
    args = parser.parse_args()
    for size in args.sizes:
        started = time.perf_counter()
        built = build_slide(SlideSpec.of_gigapixels(size, args.seed), args.out)
        print(f"{built.path} {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
