"""Tile slides of several sizes by this package and its peers, side by side, and compare.

Usage: python -m benchmarks.tiling --peers .peers --out runs/bench_tiling

Slides are built from shipped real tissue. Programs take turns, round by round, each in a fresh
process of its own environment, with the same number of workers and the slide in the page cache.
Times run from the closed slide to the complete result; imports are excluded, and stated beside.
Written: results.json with every run, plot.png, table.md.
"""

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import reading, reading_data, summary
from benchmarks.measuring import Measurement, measure, warm
from benchmarks.peers.protocol import OVERLAPPING, PLAIN, RESAMPLED, Job
from benchmarks.plotting import plot
from benchmarks.slide_builder import MPP, TILE, BuiltSlide, SlideSpec, build_slide
from wsi_specdec.files import write_json, write_text
from wsi_specdec.provenance import git_revision, package_versions
from wsi_specdec.store import find_stores, open_store

OVERLAP = 0.25
TARGET_MPP = 0.75
MIN_TISSUE = "0.05"
COMMAND_LINE = "command line"
_PROGRAM = Path(sys.executable).with_name("wsi-specdec")


@dataclass(frozen=True)
class Arm:
    """One way of tiling: whose, its name, what tiles, and the module that does it."""

    tool: str
    name: str
    variant: str = PLAIN
    how: str = ""
    module: str = "benchmarks.run_ours"
    environment: str = ""


OURS = (
    Arm(summary.OURS, "passthrough", how="passthrough jpeg"),
    Arm(summary.OURS, COMMAND_LINE, module=""),
    Arm(summary.OURS, "decode to JPEG", how="decode jpeg"),
    Arm(summary.OURS, "decode to lossless", how="decode lossless"),
    Arm(summary.OURS, "read_region to JPEG", how="read_region jpeg"),
    Arm(summary.OURS, "overlapping", OVERLAPPING, "auto jpeg"),
    Arm(summary.OURS, "resampled", RESAMPLED, "auto jpeg"),
)
PEERS = tuple(
    Arm(tool, tool, variant, "", f"benchmarks.peers.run_{tool.lower()}", tool.lower())
    for tool in ("HistoPrep", "TIAToolbox", "hs2p")
    for variant in (PLAIN, OVERLAPPING, RESAMPLED)
)
LIMITS = Arm(summary.LIMITS, summary.LIMITS, module="benchmarks.run_limits")


class Bench:
    """Runs arms on slides and keeps the runs."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.out: Path = args.out
        self.peers: Path = args.peers
        self.workers: int = args.workers
        self.runs: list[dict[str, Any]] = []
        self.versions: dict[str, dict[str, str]] = {}

    def python(self, arm: Arm) -> Path:
        """Return the interpreter of the arm's environment."""
        if not arm.environment:
            return Path(sys.executable)
        return self.peers / arm.environment / "bin" / "python"

    def run(self, slide: BuiltSlide, size: float, arm: Arm, number: int) -> dict[str, Any]:
        """Run one arm once; its output is looked at and removed."""
        work = self.out / "work"
        shutil.rmtree(work, ignore_errors=True)
        warm(slide.path)
        if arm.name == COMMAND_LINE:
            done = self._command_line(slide, work)
        else:
            result = self.out / "result.json"
            job = Job(
                slide.path, work, self.workers, arm.variant, arm.how, TILE, OVERLAP, TARGET_MPP, MPP
            )
            command = [str(self.python(arm)), *job.command(arm.module, result)]
            done = measure(command, result=result, log=self.out / "last.log")
            result.unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        found = dict(done.result)
        self.versions[arm.tool] = found.pop("versions", {}) or self.versions.get(arm.tool, {})
        about = {"gigapixels": size, "tool": arm.tool, "arm": arm.name, "variant": arm.variant}
        costs = {name: value for name, value in asdict(done).items() if name != "result"}
        run = {**about, "round": number, **costs, **found}
        self.runs.append(run)
        # Kept as it comes: the rest may take half an hour.
        with (self.out / "runs.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")
        return run

    def _command_line(self, slide: BuiltSlide, work: Path) -> Measurement:
        flags = ["--out", str(work), "--min-tissue", MIN_TISSUE, "--workers", str(self.workers)]
        command = [str(_PROGRAM), "tile", str(slide.path), *flags, "--quiet"]
        done = measure(command, result=None, log=self.out / "last.log")
        if done.failure:
            return done
        tiles = sum(open_store(path).n_tiles for path in find_stores(work).values())
        return replace(done, result={"tiles": tiles, "seconds": math.nan})


def chosen_arms(args: argparse.Namespace) -> list[Arm]:
    """List our arms, all or those asked for, and of the peers that are there what compares.

    TIAToolbox and hs2p, which are slow, only make plain tiles unless asked for more.
    """
    ours = [arm for arm in OURS if not args.arms or arm.name in args.arms]
    variants = {arm.variant for arm in ours}
    peers = []
    for arm in PEERS:
        if not (args.peers / arm.environment / "bin" / "python").exists():
            continue
        slow = arm.tool != summary.BASELINE and arm.variant != PLAIN
        if arm.variant in variants and (args.all_variants or not slow):
            peers.append(arm)
    missing = sorted({a.tool for a in PEERS if not (args.peers / a.environment).exists()})
    if missing:
        print(f"not in {args.peers}: {', '.join(missing)} (make peers)")
    return [*peers, *ours]


def corners(slide: BuiltSlide, folder: Path) -> Path:
    """Write the corners of the slide's tissue tiles, (N, 2) int64, for the limits."""
    side = TILE // 16
    tissue = slide.tissue()
    rows, columns = (length // side for length in tissue.shape)
    blocks = tissue[: rows * side, : columns * side].reshape(rows, side, columns, side)
    kept = np.argwhere(blocks.mean((1, 3)) >= float(MIN_TISSUE))[:, ::-1] * TILE
    path = folder / "corners.npy"
    np.save(path, kept.astype(np.int64))
    return path


def help_seconds(repeats: int = 5) -> float:
    """Median seconds of `wsi-specdec --help`."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([_PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _say(run: dict[str, Any]) -> None:
    what = f"{run['gigapixels']:g} Gpx, round {run['round']}, {run['tool']}: {run['arm']}"
    if run["failure"]:
        print(f"{what} ({run['variant']}) FAILED: {run['failure']}", flush=True)
    elif run["tool"] == summary.LIMITS:
        print(f"{what} {run['wall_s']:.1f} s in all", flush=True)
    else:
        print(
            f"{what} ({run['variant']}) {run['tiles']} tiles in {run['seconds']:.2f} s, "
            f"{run['wall_s']:.2f} s in all, {run['peak_mb']:.0f} MB",
            flush=True,
        )


def measure_all(args: argparse.Namespace, bench: Bench) -> list[dict[str, Any]]:
    """Build the slides and run every arm on each, in rounds; return what the slides are."""
    slides = []
    arms = chosen_arms(args)
    for size in args.sizes:
        slide = build_slide(SlideSpec.of_gigapixels(size, args.seed), args.slides)
        slides.append(
            {"gigapixels": size, **asdict(slide.spec), "file_bytes": slide.path.stat().st_size}
        )
        limits = replace(LIMITS, how=str(corners(slide, bench.out)))
        for number in range(args.repeats):
            for arm in [*arms, limits]:
                _say(bench.run(slide, size, arm, number))
    return slides


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.15, 0.6, 2.4], help="Gpx")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of every program")
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="their environments")
    parser.add_argument("--slides", type=Path, default=Path("runs/bench_slides"), help="cache")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_tiling"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in OURS], help="of ours")
    parser.add_argument("--no-reading", action="store_true", help="leave out reading back")
    parser.add_argument(
        "--all-variants",
        action="store_true",
        help="overlapping and resampled tiles of TIAToolbox and hs2p, too",
    )
    args = parser.parse_args(arguments)
    # Peers run in their own environments, but from here.
    for name in ("peers", "slides", "out"):
        setattr(args, name, getattr(args, name).absolute())
    return args


def measure_reading(args: argparse.Namespace) -> list[reading.Row]:
    """Measure reading back, unless it was left out."""
    if args.no_reading:
        return []
    return reading.measure(args.slides / "reading", peers=args.peers, seed=args.seed)


def batch_reading(rows: Sequence[reading.Row]) -> float:
    """Our share of decoding from memory, the lowest of JPEG stores of one chunk a tile."""
    kinds = reading_data.KINDS.items()
    whole = {kind for kind, (_, chunk) in kinds if chunk == reading_data.TILE}
    shares = [row.of_limit for row in rows if row.name == reading.OURS and row.content in whole]
    return min((share for share in shares if share is not None), default=math.nan)


def describe(args: argparse.Namespace) -> dict[str, Any]:
    """Tell what was measured, on what; nothing that names the machine."""
    settings = {
        "tile": TILE,
        "overlap": OVERLAP,
        "mpp": TARGET_MPP,
        "mpp_level0": MPP,
        "min_tissue": float(MIN_TISSUE),
        "workers": args.workers,
        "rounds": args.repeats,
    }
    return {
        "settings": settings,
        "machine": {"cpu_count": os.cpu_count(), "cpu": _cpu()},
        "git_revision": git_revision(),
    }


def main() -> None:
    """Measure, print, and write results.json, table.md and plot.png."""
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "runs.jsonl").unlink(missing_ok=True)
    bench = Bench(args)
    slides = measure_all(args, bench)
    read = measure_reading(args)
    summed, found = summary.rows(bench.runs), summary.limits(bench.runs)
    others = {"help": help_seconds(), "batch reading": batch_reading(read)}
    checked = summary.targets(summed, found, others)
    tables = [summary.table(summed), summary.limits_table(found)]
    tables += [f"```text\n{reading.table(read)}\n```"] if read else []
    text = "\n\n".join(tables)
    lines = "\n".join(target.line() for target in checked)
    print(f"\n{text}\n\n{lines}")
    write_text(args.out / "table.md", f"{text}\n\n{lines}\n")
    results = describe(args) | {
        "versions": {"this package": package_versions(), **bench.versions},
        "slides": slides,
        "targets": [{**asdict(target), "status": target.status} for target in checked],
        "rows": [asdict(row) for row in summed],
        "limits_tiles_per_s": {f"{size:g}": speeds for size, speeds in found.items()},
        "reading": [asdict(row) for row in read],
        "runs": bench.runs,
    }
    # JSON has no NaN: what was not measured is null.
    finite = json.loads(json.dumps(results), parse_constant=lambda _: None)
    write_json(args.out / "results.json", finite)
    plot(summed, args.out / "plot.png")


if __name__ == "__main__":
    main()
