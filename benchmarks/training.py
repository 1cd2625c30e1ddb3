"""Measure training: what spectral decoupling costs, and how near reading comes to no reading.

Usage: python -m benchmarks.training --out DIR [--device auto] [--rounds 7] [--pairs 100]

1. A step with the penalty of spectral decoupling against the same step with plain cross-entropy:
   one network, one batch, taking turns; the median of the ratios of neighbouring steps, and the
   peak of the memory that torch allocates.
2. Patches per second of the training loop on tile stores, decoding every tile anew and with the
   tiles kept in memory, against the same step (augmentation included) on one batch that stays on
   the device, against the bare network's step on pixels that are ready for it, and against
   torchvision's ImageFolder and DataLoader on the same JPEGs, in as many workers as there are
   cores. All take turns, in an order drawn for each round; ratios are taken within a round.

Without other wishes it is resnet10t at 96 px in float32 on a CPU, and resnet50 at 224 px in
bfloat16 on a GPU. Tiles are crops of shipped real tissue. Writes training.json and table.md.
"""

import argparse
import os
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.summary import Target
from benchmarks.training_data import Work, build, constant_batch, task_for
from benchmarks.training_feeds import CACHED, FOLDER, LIMIT, NETWORK, STORE, rates, ways
from benchmarks.training_steps import (
    KINDS,
    Interval,
    median_interval,
    paired_seconds,
    peak_mb,
)
from wsi_specdec.files import write_json, write_text
from wsi_specdec.models import resolve_device
from wsi_specdec.provenance import git_revision, package_versions
from wsi_specdec.training.setup import reproducible

# What is measured where nothing else is asked for.
WORK = {
    "cpu": Work("resnet10t", 96, 64, "float32", 8),
    "cuda": Work("resnet50", 224, 256, "bfloat16", 40),
}
STEP_TARGET = 1.01
STORE_TARGET = 0.9


@dataclass(frozen=True)
class Row:
    """A way to train, medians over the rounds; ratios are taken within a round."""

    name: str
    patches_per_s: float
    of_limit: Interval
    of_network: Interval
    of_folder: Interval


@dataclass(frozen=True)
class Steps:
    """The step with the penalty over the plain one."""

    ratio: Interval
    seconds: Mapping[str, float]
    peak_mb: Mapping[str, float]

    @property
    def memory_ratio(self) -> float:
        """Peak memory with the penalty over that without."""
        return self.peak_mb["sd"] / self.peak_mb["plain"]


def rows(taken: Mapping[str, Sequence[float]]) -> list[Row]:
    """Sum up the rates of each way over the rounds."""

    def against(name: str, other: str) -> Interval:
        return median_interval([a / b for a, b in zip(taken[name], taken[other], strict=True)])

    return [
        Row(
            name,
            statistics.median(found),
            against(name, LIMIT),
            against(name, NETWORK),
            against(name, FOLDER),
        )
        for name, found in taken.items()
    ]


def summed_steps(seconds: Sequence[Mapping[str, float]], peak_mb: Mapping[str, float]) -> Steps:
    """Sum up pairs of steps."""
    return Steps(
        median_interval([pair["sd"] / pair["plain"] for pair in seconds]),
        {kind: statistics.median(pair[kind] for pair in seconds) for kind in KINDS},
        peak_mb,
    )


def targets(steps: Steps, found: Sequence[Row]) -> list[Target]:
    """Compare with what was promised."""
    of_limit = {row.name: row.of_limit.median for row in found}
    return [
        Target("a step's time, over plain cross-entropy", steps.ratio.median, STEP_TARGET, False),
        Target("a step's peak memory, over plain", steps.memory_ratio, STEP_TARGET, False),
        Target("from the store, of the in-memory limit", of_limit[STORE], STORE_TARGET, True),
        Target("from the cache, of the in-memory limit", of_limit[CACHED], STORE_TARGET, True),
    ]


def table(steps: Steps, found: Sequence[Row]) -> str:
    """Lay everything out as Markdown."""
    ratio = steps.ratio
    interval = f"{ratio.median:.4f} ({ratio.low:.4f} to {ratio.high:.4f})"
    lines = [
        "| step | ms | peak MB |",
        "|---|---:|---:|",
        *(
            f"| {kind} | {steps.seconds[kind] * 1e3:.2f} | {steps.peak_mb[kind]:.1f} |"
            for kind in KINDS
        ),
        f"| ratio | {interval} | {steps.memory_ratio:.4f} |",
        "",
        "| way | patches/s | of the limit | of the network alone | of ImageFolder |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in found:
        ratios = (row.of_limit, row.of_network, row.of_folder)
        cells = " | ".join(f"{one.median:.3f} ({one.low:.3f} to {one.high:.3f})" for one in ratios)
        lines.append(f"| {row.name} | {row.patches_per_s:.1f} | {cells} |")
    return "\n".join(lines)


def describe(work: Work, device: torch.device, args: argparse.Namespace) -> dict[str, Any]:
    """Tell what was measured, on what device."""
    settings = asdict(work) | {name: getattr(args, name) for name in ("rounds", "pairs", "workers")}
    return {
        "device": device_name(device),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "settings": settings,
        "versions": package_versions(),
        "git_revision": git_revision(),
    }


def title(work: Work, described: Mapping[str, Any]) -> str:
    """Say in a line what was measured, and on what."""
    network = f"{work.model}, {work.tile} px, batch {work.batch}, {work.precision}"
    return f"{network}, on {described['device']}, {described['cores']} cores"


def device_name(device: torch.device) -> str:
    """Name a GPU as torch does, and a CPU by its model and the vectors torch uses of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{next(iter(models), 'CPU')} ({torch.backends.cpu.get_cpu_capability()})"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; what is not given is that of the device."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=7, help="of epochs, of every way")
    parser.add_argument("--pairs", type=int, default=100, help="of steps")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--model")
    for name in ("tile", "batch", "steps"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    return parser.parse_args(arguments)


def work_of(args: argparse.Namespace, device: torch.device) -> Work:
    """Return the device's work, changed as was asked for."""
    standard = asdict(WORK[device.type])
    given = {name: getattr(args, name) for name in standard}
    return Work(**standard | {name: value for name, value in given.items() if value is not None})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write training.json and table.md."""
    args = parse(arguments)
    device = resolve_device(args.device)
    work = work_of(args, device)
    args.out.mkdir(parents=True, exist_ok=True)
    data = build(args.out / "data", work)
    task = task_for(work, data, device)
    with reproducible(device, task.config), ExitStack() as stack:
        batch = constant_batch(work, data, device)
        seconds = paired_seconds(task, batch, args.pairs)
        peaks = peak_mb(task, batch)
        found = ways(work, task, data, args.workers, stack)
        taken = rates(work, found, device, args.rounds)
    steps = summed_steps(seconds, peaks)
    summed = rows(taken)
    checked = targets(steps, summed)
    described = describe(work, device, args)
    lines = "\n".join(target.line() for target in checked)
    text = f"{title(work, described)}\n\n{table(steps, summed)}\n\n{lines}"
    print(f"\n{text}")
    write_text(args.out / "table.md", f"{text}\n")
    results = described | {
        "targets": [{**asdict(target), "status": target.status} for target in checked],
        "step": {**asdict(steps), "memory_ratio": steps.memory_ratio, "pairs": seconds},
        "rows": [asdict(row) for row in summed],
        "patches_per_s": taken,
    }
    write_json(args.out / "training.json", results)


if __name__ == "__main__":
    main()
