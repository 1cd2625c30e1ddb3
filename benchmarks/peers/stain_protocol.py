"""How a stain normaliser is called, and what it answers; knows numpy and Python alone.

Each program runs in a fresh process of its own environment. It fits its target and normalises one
tile before it is timed, so that imports and compilers are excluded, then goes over the tiles again
and again until the time is up. A tile at a time is timed on the processor; what takes all tiles
together, on a GPU, by the clock.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tiles = NDArray[np.uint8]
# Of one tile (T, T, 3); or, where there is one for all, of all tiles (n, T, T, 3).
Normaliser = Callable[[Tiles], Tiles]
Prepared = Sequence[Normaliser] | Normaliser
# Tiles that a GPU takes at a time, where a program takes several.
BATCH = 64


@dataclass(frozen=True)
class StainJob:
    """What to do.

    Attributes
    ----------
    tiles, centres
        uint8 (n, T, T, 3), and the number of each tile's slide, int64 (n,).
    target
        Reference image, uint8 (h, w, 3).
    method, how
        macenko, reinhard or vahadane; and which way, for programs with several.
    """

    tiles: Tiles
    centres: NDArray[np.int64]
    target: Tiles
    method: str
    how: str


def run(prepare: Callable[[StainJob], Prepared], packages: Sequence[str]) -> None:
    """Time a normaliser on the job of the command line, and write its tiles and what it took.

    `prepare` fits the target, and returns for every tile the function that takes it, or one that
    takes them all. A tile that raises an error counts as failed and stays as it was.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "out", "result"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--how", default="")
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    with np.load(args.data) as data:
        job = StainJob(data["tiles"], data["centres"], data["target"], args.method, args.how)
    started = time.perf_counter()
    made = prepare(job)
    prepared = time.perf_counter() - started
    out, failures = _once(job.tiles[:1], made if callable(made) else made[:1])
    # Of the processor, over all threads: a core that others use, too, counts only what it did.
    clock = time.perf_counter if callable(made) else time.process_time
    rates: list[float] = []
    started = time.perf_counter()
    while not rates or time.perf_counter() - started < args.seconds:
        begun = clock()
        out, failures = _once(job.tiles, made)
        rates.append(len(out) / (clock() - begun))
    np.save(args.out, out)
    result = {
        "tiles": len(out),
        "passes": len(rates),
        "tiles_per_s": sorted(rates)[len(rates) // 2],
        "prepare_s": prepared,
        "failed_tiles": len(failures),
        "errors": sorted(set(failures))[:5],
        "versions": {name: _version(name) for name in packages},
    }
    args.result.write_text(json.dumps(result))


def _once(tiles: Tiles, made: Prepared) -> tuple[Tiles, list[str]]:
    if callable(made):
        try:
            return made(tiles), []
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is what is counted
            return tiles.copy(), [f"{type(error).__name__}: {error}"[:200]] * len(tiles)
    out = np.empty_like(tiles)
    failures = []
    for number, (tile, normaliser) in enumerate(zip(tiles, made, strict=True)):
        try:
            out[number] = normaliser(tile)
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is what is counted
            failures.append(f"{type(error).__name__}: {error}"[:200])
            out[number] = tile
    return out, failures


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def result_flags(data: Path, out: Path, result: Path, **values: Any) -> list[str]:  # noqa: ANN401
    """Return the flags by which `run` is told its job."""
    paths = [f"--data={data}", f"--out={out}", f"--result={result}"]
    return [*paths, *(f"--{name}={value}" for name, value in values.items())]
