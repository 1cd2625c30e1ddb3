"""Measure the viewer: how long a tile takes to come, with several readers at once, and its memory.

Usage: python -m benchmarks.viewer --slides /tmp/bench_slides --out runs/bench_viewer

`wsi-specdec view` serves slides built from shipped real tissue, in a process of its own. Readers,
each a thread with a connection of its own, look around as people do: they go to a place, at any
zoom, and ask for the tiles of a screen there, one after the other. No tile is asked for twice, so
that the cache of encoded tiles never answers. Times run from the request to the last byte.
Beside it, the same tiles by OpenSlide's own DeepZoomGenerator, in as many threads, without network.
Written: results.json, table.md. Linux alone.
"""

import argparse
import http.client
import io
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import local
from urllib.parse import urlsplit

import numpy as np
import openslide
from openslide.deepzoom import DeepZoomGenerator

from benchmarks.measuring import resident, warm
from benchmarks.slide_builder import SlideSpec, build_slide
from benchmarks.summary import Target
from wsi_specdec.config import ViewConfig
from wsi_specdec.files import write_json, write_text
from wsi_specdec.geometry import Size
from wsi_specdec.provenance import git_revision, package_versions
from wsi_specdec.viewer.pyramid import Place, Pyramid

MEDIAN_MS = 100.0
P99_MS = 300.0
# Peak memory with the largest slide against that with the smallest.
GROWTH_MB = 200.0
SCREEN = Size(5, 4)
CONFIG = ViewConfig()

Fetch = Callable[[Place], int]


@dataclass(frozen=True)
class Row:
    """How long tiles of one slide took, in ms, and the peak memory of who made them, in MB."""

    gigapixels: float
    way: str
    tiles: int
    median_ms: float
    p99_ms: float
    longest_ms: float
    tiles_per_s: float
    peak_mb: float


def screens(pyramid: Pyramid, reader: int, seed: int) -> Iterator[list[Place]]:
    """Yield the tiles of one screen after another, at random places and zooms."""
    rng = np.random.default_rng((seed, reader))
    while True:
        level = int(rng.integers(pyramid.top, endpoint=True))
        step = pyramid.tile * pyramid.scale(level)
        column = int(rng.integers(max(1, pyramid.level0.width // step - SCREEN.width)))
        row = int(rng.integers(max(1, pyramid.level0.height // step - SCREEN.height)))
        places = [
            Place(level, column + i, row + j)
            for j in range(SCREEN.height)
            for i in range(SCREEN.width)
        ]
        yield [place for place in places if pyramid.holds(place)]


def looks(pyramid: Pyramid, readers: int, tiles: int, seed: int) -> list[list[Place]]:
    """Give each reader `tiles` tiles to look at, none of them twice in all."""
    seen: set[Place] = set()
    found: list[list[Place]] = [[] for _ in range(readers)]
    walks = [screens(pyramid, reader, seed) for reader in range(readers)]
    while any(len(places) < tiles for places in found):
        for places, walk in zip(found, walks, strict=True):
            fresh = [place for place in next(walk) if place not in seen]
            seen.update(fresh)
            places.extend(fresh[: tiles - len(places)])
    return found


def timed(fetch: Fetch, walks: Sequence[Sequence[Place]]) -> tuple[list[float], float]:
    """Let each reader fetch its tiles; return each tile's ms, and the seconds of all."""

    def read(places: Sequence[Place]) -> list[float]:
        times = []
        for place in places:
            started = time.perf_counter()
            assert fetch(place) > 0
            times.append((time.perf_counter() - started) * 1000)
        return times

    with ThreadPoolExecutor(len(walks)) as pool:
        started = time.perf_counter()
        times = [ms for part in pool.map(read, walks) for ms in part]
        return times, time.perf_counter() - started


def summed(gigapixels: float, way: str, times: list[float], seconds: float, peak_mb: float) -> Row:
    """Sum up what was measured."""
    return Row(
        gigapixels=gigapixels,
        way=way,
        tiles=len(times),
        median_ms=statistics.median(times),
        p99_ms=float(np.percentile(times, 99)),
        longest_ms=max(times),
        tiles_per_s=len(times) / seconds,
        peak_mb=peak_mb,
    )


def measure_viewer(path: Path, gigapixels: float, walks: Sequence[Sequence[Place]]) -> Row:
    """Serve a slide by the program itself and let readers look at it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / path.name).symlink_to(path)
        command = [sys.executable, "-m", "wsi_specdec", "view", folder, "--port", "0", "--quiet"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                fetch = fetcher(process.stdout.readline().strip())
                times, seconds = timed(fetch, walks)
                peak = resident(process.pid)["VmHWM"] / 1e6
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(30)
    return summed(gigapixels, "wsi-specdec view", times, seconds, peak)


def fetcher(address: str) -> Fetch:
    """Return what fetches a tile of the only slide of a viewer, over a connection a thread."""
    parts = urlsplit(address)
    kept = local()

    def get(path: str, cookie: str) -> tuple[bytes, str]:
        if not hasattr(kept, "connection"):
            kept.connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        kept.connection.request("GET", path, headers={"cookie": cookie})
        answer = kept.connection.getresponse()
        body = answer.read()
        assert answer.status < 400, (path, answer.status, body)
        return body, answer.getheader("set-cookie", "")

    cookie = get(f"/?{parts.query}", "")[1].partition(";")[0]
    key = get("/api/slides", cookie)[0].split(b'"key":"')[1].split(b'"')[0].decode()

    def fetch(place: Place) -> int:
        path = f"/tiles/{key}/{place.level}/{place.column}_{place.row}.jpg"
        return len(get(path, cookie)[0])

    return fetch


def measure_openslide(path: Path, gigapixels: float, walks: Sequence[Sequence[Place]]) -> Row:
    """Make the same tiles by OpenSlide's DeepZoomGenerator, without a network."""
    with openslide.OpenSlide(path) as slide:
        zoom = DeepZoomGenerator(slide, CONFIG.tile_size, 0, limit_bounds=False)
        top = Pyramid(Size(*slide.dimensions), CONFIG.tile_size).top
        # It counts its levels from that of one pixel.
        beyond = zoom.level_count - 1 - top

        def fetch(place: Place) -> int:
            tile = zoom.get_tile(place.level + beyond, (place.column, place.row))
            out = io.BytesIO()
            tile.save(out, "JPEG", quality=CONFIG.jpeg_quality, subsampling=0)
            return out.tell()

        times, seconds = timed(fetch, walks)
    return summed(gigapixels, "DeepZoomGenerator", times, seconds, math.nan)


def targets(rows: Sequence[Row]) -> list[Target]:
    """Judge our rows: times on the largest slide, memory over all."""
    ours = sorted((r for r in rows if r.way == "wsi-specdec view"), key=lambda r: r.gigapixels)
    largest = ours[-1]
    at = f"{largest.gigapixels:g} Gpx"
    growth = largest.peak_mb - ours[0].peak_mb if len(ours) > 1 else math.nan
    return [
        Target(f"a tile, median, {at}", largest.median_ms, MEDIAN_MS, at_least=False, unit="ms"),
        Target(f"a tile, 99 of 100, {at}", largest.p99_ms, P99_MS, at_least=False, unit="ms"),
        Target("memory, largest slide above smallest", growth, GROWTH_MB, False, "MB"),
    ]


def table(rows: Sequence[Row]) -> str:
    """Write rows as a Markdown table."""
    lines = ["| Gpx | | tiles | median ms | p99 ms | longest ms | tiles/s | peak MB |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    lines += [
        f"| {r.gigapixels:g} | {r.way} | {r.tiles:,} | {r.median_ms:.1f} | {r.p99_ms:.1f} | "
        f"{r.longest_ms:.0f} | {r.tiles_per_s:.0f} | "
        f"{'' if math.isnan(r.peak_mb) else round(r.peak_mb)} |"
        for r in rows
    ]
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.15, 2.4], help="Gpx")
    parser.add_argument("--readers", type=int, default=4, help="at once")
    parser.add_argument("--tiles", type=int, default=250, help="that each reader looks at")
    parser.add_argument("--slides", type=Path, default=Path("runs/bench_slides"), help="cache")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_viewer"))
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, print, and write results.json and table.md."""
    args = parse()
    rows = []
    for size in args.sizes:
        slide = build_slide(SlideSpec.of_gigapixels(size, args.seed), args.slides)
        pyramid = Pyramid(Size(slide.spec.width, slide.spec.height), CONFIG.tile_size)
        walks = looks(pyramid, args.readers, args.tiles, args.seed)
        for way in (measure_viewer, measure_openslide):
            warm(slide.path)
            rows.append(way(slide.path.absolute(), size, walks))
    judged = targets(rows)
    text = table(rows) + "\n\n" + "\n".join(target.line() for target in judged)
    print(text)
    args.out.mkdir(parents=True, exist_ok=True)
    write_text(args.out / "table.md", text + "\n")
    known = [{k: v for k, v in asdict(row).items() if v == v} for row in rows]  # noqa: PLR0124
    write_json(
        args.out / "results.json",
        {
            "rows": known,
            "readers": args.readers,
            "cpu_count": os.cpu_count(),
            "versions": package_versions(),
            "git_revision": git_revision(),
        },
    )


if __name__ == "__main__":
    main()
