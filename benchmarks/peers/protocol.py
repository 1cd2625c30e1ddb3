"""How a measured program is called, and what it answers; knows no package but Python's own.

Each program runs in a fresh process of its own environment. It imports what it needs, then is
timed from the closed slide to its complete result.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

JPEG_QUALITY = 80
PLAIN, OVERLAPPING, RESAMPLED = "plain", "overlapping", "resampled"


@dataclass(frozen=True)
class Job:
    """What to do.

    Attributes
    ----------
    slide, out
        The slide's file, and a folder that does not exist yet.
    workers
        Processes or threads that may work.
    variant
        "plain": tiles of level 0 side by side; "overlapping": by `overlap` of their side;
        "resampled": at `mpp` µm per pixel, which no level has.
    how
        For programs with several ways of doing it: which.
    tile
        Side of a tile in pixels.
    overlap
        Share of a tile's side.
    mpp, mpp_level0
        µm per pixel wanted, and of level 0.
    """

    slide: Path
    out: Path
    workers: int
    variant: str
    how: str
    tile: int
    overlap: float
    mpp: float
    mpp_level0: float

    @property
    def read_px(self) -> int:
        """Side of a tile in pixels of level 0."""
        if self.variant != RESAMPLED:
            return self.tile
        return round(self.tile * self.mpp / self.mpp_level0)

    def command(self, module: str, result: Path) -> list[str]:
        """Arguments of a Python that runs `module` on this job."""
        values = {name.replace("_", "-"): value for name, value in vars(self).items()}
        flags = [f"--{name}={value}" for name, value in values.items()]
        return ["-m", module, *flags, f"--result={result}"]


def run(tile_slide: Callable[[Job], dict[str, Any]], packages: Sequence[str]) -> None:
    """Time `tile_slide` on the job of the command line, and write the result.

    `tile_slide` returns what it found out, at least the number of `tiles`; a "seconds" among it
    goes before the time measured here.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("slide", Path), ("out", Path), ("result", Path), ("workers", int)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--variant", default=PLAIN)
    parser.add_argument("--how", default="")
    parser.add_argument("--tile", type=int, default=256)
    for name in ("overlap", "mpp", "mpp-level0"):
        parser.add_argument(f"--{name}", type=float, required=True)
    values = vars(parser.parse_args())
    result = values.pop("result")
    job = Job(**values)
    started = time.perf_counter()
    found = tile_slide(job)
    seconds = time.perf_counter() - started
    versions = {name: _version(name) for name in packages}
    result.write_text(json.dumps({"seconds": seconds, **found, "versions": versions}))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
