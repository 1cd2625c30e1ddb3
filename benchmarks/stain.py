"""Normalise stains by this package and its peers, side by side: speed, memory, colours, crops.

Usage: python -m benchmarks.stain --centres FOLDER --peers .peers --out runs/bench_stain

FOLDER holds one image of each centre, `centre_<n>_*.jpeg` (CAMELYON17's). Programs take turns,
round by round, each in a fresh process of its own environment, on one thread, with the same tiles
of 256 px and the same reference image; each round takes another centre for its reference. Written:
results.json with every run, table.md, plot.png.
"""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import stain_summary as summary
from benchmarks.measuring import measure
from benchmarks.peers.stain_protocol import result_flags
from benchmarks.run_stain import CUDA, SLIDE, TILE, TORCH
from benchmarks.stain_colour import Centres, load_centres, variation
from benchmarks.stain_crops import Found, crops_table, run_crops
from wsi_specdec.files import write_json, write_text
from wsi_specdec.provenance import git_revision, package_versions
from wsi_specdec.slides import open_slide, read_overview

# One core each, whatever library does the work.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_SLOW_TILES = 1


@dataclass(frozen=True)
class Arm:
    """A program, a method and a way of doing it; slow ones get few tiles and one round."""

    tool: str
    method: str
    how: str = ""
    environment: str = ""
    module: str = "benchmarks.run_stain"
    slow: bool = False

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.tool} {self.how}".strip()


def _peer(tool: str, method: str, how: str = "", *, own: str = "", slow: bool = False) -> Arm:
    module = f"benchmarks.peers.run_stain_{tool.lower()}"
    return Arm(tool, method, how, own, module, slow)


OURS = tuple(
    Arm(summary.OURS, method, how)
    for method in ("macenko", "vahadane", "reinhard")
    for how in (SLIDE, TILE, TORCH)
)
PEERS = (
    _peer("torchstain", "macenko", "numpy"),
    _peer("torchstain", "macenko", "numpy slide"),
    _peer("torchstain", "macenko", "torch"),
    _peer("torchstain", "reinhard", "numpy"),
    _peer("torchstain", "vahadane", "numpy", slow=True),
    _peer("TIAToolbox", "macenko", own="tiatoolbox"),
    _peer("TIAToolbox", "reinhard", own="tiatoolbox"),
    _peer("TIAToolbox", "vahadane", own="tiatoolbox", slow=True),
    _peer("HistoPrep", "macenko", own="histoprep"),
    _peer("HistoPrep", "vahadane", own="histoprep", slow=True),
    _peer("stainx", "macenko", own="stainx"),
    _peer("stainx", "reinhard", own="stainx"),
)
# Where there is a GPU.
ON_GPU = (
    *(Arm(summary.OURS, method, CUDA) for method in ("macenko", "vahadane", "reinhard")),
    _peer("torchstain", "macenko", f"torch {CUDA}"),
    _peer("stainx", "macenko", CUDA, own="stainx"),
    _peer("stainx", "reinhard", CUDA, own="stainx"),
)


class Bench:
    """Runs arms on the centres' tiles and keeps the runs."""

    def __init__(self, args: argparse.Namespace, centres: Centres) -> None:
        self.args = args
        self.centres = centres
        self.runs: list[dict[str, Any]] = []
        self.outputs: dict[tuple[str, str, int], np.ndarray[Any, np.dtype[np.uint8]]] = {}
        self.versions: dict[str, dict[str, str]] = {}

    def python(self, arm: Arm) -> Path:
        """Return the interpreter of the arm's environment."""
        if not arm.environment:
            return Path(sys.executable)
        return Path(self.args.peers) / arm.environment / "bin" / "python"

    def run(self, arm: Arm, number: int) -> None:
        """Run one arm once, and measure the colours of what comes out."""
        out: Path = self.args.out
        chosen = self._tiles(arm)
        data, tiles, result = out / "data.npz", out / "tiles.npy", out / "result.json"
        before, centres = self.centres.tiles[chosen], self.centres.centres[chosen]
        np.savez(data, tiles=before, centres=centres, target=self.centres.target(number))
        flags = result_flags(
            data, tiles, result, method=arm.method, how=arm.how, seconds=self.args.seconds
        )
        command = [str(self.python(arm)), "-m", arm.module, *flags]
        done = measure(command, result=result, log=out / "last.log", timeout_s=300)
        found = dict(done.result)
        self.versions[arm.tool] = found.pop("versions", {}) or self.versions.get(arm.tool, {})
        run: dict[str, Any] = {"arm": arm.name, **asdict(arm), "round": number, **found}
        run |= {"peak_mb": done.peak_mb, "failure": done.failure}
        if not done.failure:
            after = np.load(tiles)
            run["colours"] = None if arm.slow else asdict(variation(before, after, centres))
            if arm.tool == summary.OURS:
                self.outputs[arm.method, arm.how, number] = after
        for path in (data, tiles, result):
            path.unlink(missing_ok=True)
        self.runs.append(run)
        speed = f"{run['tiles_per_s']:.4g} tiles/s" if not done.failure else done.failure
        print(f"round {number}, {arm.method}, {arm.name}: {speed}", flush=True)

    def _tiles(self, arm: Arm) -> list[int]:
        """Choose the arm's tiles: all, or the first few of each centre."""
        each = _SLOW_TILES if arm.slow else len(self.centres.tiles)
        numbers = np.unique(self.centres.centres)
        return [
            int(index)
            for number in numbers
            for index in np.flatnonzero(self.centres.centres == number)[:each]
        ]

    def agreement(self) -> dict[str, float]:
        """Share of values that torch and the CPU's tables put within one grey level."""
        shares: dict[str, list[float]] = {}
        for (method, how, number), tiles in self.outputs.items():
            other = self.outputs.get((method, TORCH, number))
            if how == SLIDE and other is not None:
                apart = np.abs(tiles.astype(np.int16) - other.astype(np.int16))
                shares.setdefault(method, []).append(float((apart <= 1).mean()))
        return {method: min(values) for method, values in shares.items()}


def chosen_arms(args: argparse.Namespace) -> Iterator[Arm]:
    """Yield the arms whose environment is there; say once what is not."""
    missing = set()
    for arm in (*PEERS, *OURS, *(ON_GPU if torch.cuda.is_available() else ())):
        if (args.methods and arm.method not in args.methods) or (arm.slow and not args.slow):
            continue
        if arm.environment and not (args.peers / arm.environment / "bin" / "python").exists():
            missing.add(arm.tool)
        else:
            yield arm
    if missing:
        print(f"not in {args.peers}: {', '.join(sorted(missing))} (make peers)")


def slide_images(folder: Path | None) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Read brightfield slides for crops, at most 4,096 px a side."""
    images = []
    for path in sorted(folder.glob("*.svs")) if folder else []:
        with open_slide(path, mpp=0.5) as slide:
            images.append(read_overview(slide, 4096, None)[0])
    return images


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--centres", type=Path, required=True, help="images of several centres")
    parser.add_argument("--slides", type=Path, help="folder of slides to take crops of, too")
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="their environments")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_stain"))
    parser.add_argument("--tiles", type=int, default=64, help="of each centre, at most")
    parser.add_argument("--rounds", type=int, default=5, help="another centre's reference in each")
    parser.add_argument("--seconds", type=float, default=1.0, help="that each is timed, at least")
    parser.add_argument("--crops", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="for the crops")
    parser.add_argument("--slow", action="store_true", help="Vahadane of the peers, too")
    parser.add_argument("--methods", nargs="+", choices=("macenko", "vahadane", "reinhard"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    # Peers run in their own environments, but from here.
    for name in ("peers", "out"):
        setattr(args, name, getattr(args, name).absolute())
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write results.json, table.md and plot.png."""
    args = parse(arguments)
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    args.out.mkdir(parents=True, exist_ok=True)
    centres = load_centres(args.centres, args.tiles)
    bench = Bench(args, centres)
    arms = list(chosen_arms(args))
    for number in range(args.rounds):
        for arm in arms:
            if not (arm.slow and number):
                bench.run(arm, number)
    images = [*centres.images, *slide_images(args.slides)]
    found = run_crops(images, args.crops, args.seed, args.processes)
    untouched = variation(centres.tiles, centres.tiles, centres.centres)
    write_results(args, bench, found, asdict(untouched))


def write_results(
    args: argparse.Namespace, bench: Bench, found: Found, untouched: dict[str, float]
) -> None:
    """Sum up, print and write."""
    summed = summary.rows(bench.runs)
    agreement = bench.agreement()
    checked = summary.targets(summed, agreement, len(found.broken), sum(found.wrong.values()))
    lines = "\n".join(target.line() for target in checked)
    wrong = "\n".join(f"wrong status: {key}: {count}" for key, count in found.wrong.items())
    text = "\n\n".join(
        part
        for part in (summary.table(summed, untouched), crops_table(found), wrong, lines)
        if part
    )
    print(f"\n{text}")
    write_text(args.out / "table.md", f"{text}\n")
    settings = {name: getattr(args, name) for name in ("tiles", "rounds", "seconds", "seed")}
    results = {
        "settings": settings,
        "machine": {"cpu_count": os.cpu_count()},
        "git_revision": git_revision(),
        "versions": {"this package": package_versions(), **bench.versions},
        "targets": [{**asdict(target), "status": target.status} for target in checked],
        "untouched": untouched,
        "agreement_of_torch": agreement,
        "crops": {
            "number": dict(found.crops),
            "broken": found.broken[:20],
            "wrong": {" / ".join(key): count for key, count in found.wrong.items()},
            "fits": {" / ".join(key): count for key, count in found.fits.items()},
            "tiles": {" / ".join(key): count for key, count in found.tiles.items()},
        },
        "rows": [_finite(asdict(row)) for row in summed],
        "runs": bench.runs,
    }
    write_json(args.out / "results.json", results)
    summary.plot(summed, untouched, args.out / "plot.png")


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what was not measured is null."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }


if __name__ == "__main__":
    main()
