"""How much longer tiling takes that normalises stains: the direct-decode path, with and without.

Usage: python -m benchmarks.stain_tiling --slides FOLDER --out runs/bench_stain_tiling

Both take turns within one process, round by round, on the same slide in the page cache and with
the same threads; the figure is the ratio of the medians, and the range that of single rounds. The
target is fitted to the slide itself beforehand, so that only what a slide costs is counted: the
sample, the fit, and every tile. Written: results.json.
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import warm
from benchmarks.slide_builder import TILE
from wsi_specdec.cohort import Slide
from wsi_specdec.config import StainConfig, TileConfig
from wsi_specdec.files import write_json
from wsi_specdec.provenance import git_revision, package_versions
from wsi_specdec.stain import fit_store
from wsi_specdec.stain.target import StainTarget, write_target
from wsi_specdec.store import open_store
from wsi_specdec.tiling.tile import TileJob, params_of, tile_slide

PLAIN = "decode"
BOUND = 1.6


def tile_once(path: Path, out: Path, config: TileConfig, threads: int) -> tuple[float, TileJob]:
    """Tile a slide into an empty folder, and return the seconds that took."""
    shutil.rmtree(out, ignore_errors=True)
    slide = Slide(path.stem, path, path.stem)
    job = TileJob(slide, out, config, params_of(slide, config), {}, threads=threads)
    started = time.perf_counter()
    tile_slide(job)
    return time.perf_counter() - started, job


def configs(path: Path, out: Path, methods: list[str], threads: int) -> dict[str, TileConfig]:
    """Return the settings of every arm; each method's target is the slide's own profile."""
    plain = TileConfig(tile_size=TILE, min_tissue=0.05, pixel_path="decode")
    _, job = tile_once(path, out / "work", plain, threads)
    store = open_store(job.store_path)
    arms = {PLAIN: plain}
    for name in methods:
        method, _, how = name.partition("/")
        fit = "tile" if how == "tile" else "slide"
        stain = StainConfig.model_validate({"method": method, "fit": fit})
        target = StainTarget(fit_store(store, stain), stain)
        file = out / f"{name.replace('/', '-')}.json"
        write_target(file, target, {"slide": path.name})
        arms[name] = plain.model_copy(update={"stain": stain, "stain_target": file})
    return arms


def measure_slide(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Measure every arm on one slide."""
    warm(path)
    arms = configs(path, args.out, args.methods, args.threads)
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(args.rounds):
        # Every second round backwards, so that no arm is always behind the same one.
        for name in list(arms) if number % 2 == 0 else list(arms)[::-1]:
            took, job = tile_once(path, args.out / "work", arms[name], args.threads)
            seconds[name].append(took)
    tiles = open_store(job.store_path).n_tiles
    shutil.rmtree(args.out / "work")
    return {"slide": path.stem, "tiles": tiles, "arms": _summarised(seconds, tiles)}


def _summarised(seconds: dict[str, list[float]], tiles: int) -> dict[str, Any]:
    found = {}
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds[PLAIN], strict=True)]
        median = statistics.median(own)
        found[name] = {
            "seconds": own,
            "tiles_per_s": tiles / median,
            "ratio": median / statistics.median(seconds[PLAIN]),
            "ratio_of_rounds": [min(ratios), max(ratios)],
        }
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=Path, required=True, help="a slide, or a folder of .svs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--methods", nargs="+", default=["macenko", "vahadane", "reinhard", "macenko/tile"]
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    paths = [args.slides] if args.slides.is_file() else sorted(args.slides.glob("*.svs"))
    results = []
    for path in paths:
        result = measure_slide(path, args)
        results.append(result)
        print(f"{result['slide']}: {result['tiles']:,} tiles")
        for name, arm in result["arms"].items():
            low, high = arm["ratio_of_rounds"]
            rate = f"{arm['tiles_per_s']:,.0f} tiles/s"
            print(f"  {name:14} {rate:>15}  x{arm['ratio']:.2f} ({low:.2f} to {high:.2f})")
    made_with = {"versions": package_versions(), "git_revision": git_revision()}
    settings = {"threads": args.threads, "rounds": args.rounds, "bound": BOUND}
    write_json(args.out / "results.json", {**made_with, **settings, "slides": results})


if __name__ == "__main__":
    main()
