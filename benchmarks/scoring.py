"""Measure scoring: how near it comes to the model alone, on tiles that are in memory already.

Usage: python -m benchmarks.scoring --out DIR [--device auto] [--rounds 7] [--tiles N]

Three ways take turns, in an order drawn for each round, and ratios are taken within a round:

1. the network's forward pass on one batch of pixels that are ready for it on its device;
2. scoring a tile store, from the closed store to the written file of scores;
3. scoring a slide without a store, from the closed slide (finding its tissue included).

All run the same network with the same batch, precision and threads; it is loaded before. Without
other wishes it is resnet18 at 224 px, in float32 on a CPU and in bfloat16 on a GPU. Tiles are crops
of shipped real tissue, the slide is built of it. Writes scoring.json and table.md.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reading_data import cut_tiles
from benchmarks.slide_builder import MPP, SlideSpec, build_slide
from benchmarks.summary import Target
from benchmarks.training import device_name
from benchmarks.training_steps import Interval, median_interval, synchronise
from wsi_specdec.cohort import Slide
from wsi_specdec.config import ScoreConfig, TileConfig
from wsi_specdec.files import write_json, write_text
from wsi_specdec.models import (
    ModelSpec,
    build_classifier,
    decode_threads,
    preprocess,
    resolve_device,
    save_model,
)
from wsi_specdec.provenance import git_revision, package_versions
from wsi_specdec.scoring import Members, StoreSource, TileSource, cut_for
from wsi_specdec.scoring.ensemble import Ensemble
from wsi_specdec.scoring.slide import OpenedSlide, score_opened
from wsi_specdec.scoring.work import Work
from wsi_specdec.store import TileStoreWriter, open_store
from wsi_specdec.tiling import SlideSource

NETWORK = "network alone, one batch"
STORE = "from a store"
SLIDE = "straight from a slide"
WANTED = {STORE: 0.9, SLIDE: 0.8}
# As the command line sets it, before torch is loaded: threads that wait leave the cores to others.
_WAITING = "OMP_WAIT_POLICY"
# Tiles of a round where nothing else is asked for.
_TILES = {"cpu": 384, "cuda": 16384}
# Of a built slide's area half is tissue.
_TISSUE_SHARE = 0.5


@dataclass(frozen=True)
class Row:
    """A way to score, medians over the rounds; the ratio is taken within a round."""

    name: str
    tiles_per_s: float
    of_network: Interval


class Way:
    """A way to score: `run` scores and returns the number of tiles."""

    def __init__(self, name: str, run: Callable[[], int]) -> None:
        self.name = name
        self.run = run


def make_model(folder: Path, arch: str, tile: int) -> Path:
    """Write a model of random weights, unless it is there."""
    spec = ModelSpec(
        arch=arch, tile_size=tile, mpp=MPP, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
    )
    place = folder / f"{arch}-{tile}"
    if not (place / "model.json").is_file():
        torch.manual_seed(0)
        save_model(place, build_classifier(spec), spec)
    return place


def make_store(folder: Path, tile: int, n_tiles: int) -> StoreSource:
    """Write a store of JPEG tiles, unless it is there."""
    path = folder / f"{tile}px-{n_tiles}.zarr"
    if not path.is_dir():
        attributes = {"slide_id": path.stem, "tile_size_level0_px": tile, "mpp": MPP}
        with TileStoreWriter(
            path, n_tiles=n_tiles, tile_size=tile, codec="jpeg", attributes=attributes
        ) as writer:
            crops = (crop[:tile, :tile] for crop in cut_tiles(n_tiles, 0))
            while block := list(islice(crops, 256)):
                writer.append(np.stack(block))
            coords = np.stack([np.arange(n_tiles) * tile, np.zeros(n_tiles)], axis=1)
            writer.finish(coords, np.ones(n_tiles), np.full(n_tiles, -1), {})
    return StoreSource(open_store(path))


def make_slide(folder: Path, members: Members, n_tiles: int) -> SlideSource:
    """Build a slide of about as many tiles of tissue, unless it is there."""
    side = members.specs[0].tile_size
    built = build_slide(SlideSpec.of_gigapixels(n_tiles * side**2 / _TISSUE_SHARE / 1e9), folder)
    slide = Slide(built.path.stem, built.path, built.path.stem)
    return SlideSource.of(slide, cut_for(members, TileConfig()), folder / "previews")


def network_alone(ensemble: Ensemble, n_tiles: int) -> Way:
    """Return the network on one batch in memory, so many tiles a round."""
    (predictor,) = ensemble.predictors
    tile, size = predictor.spec.tile_size, ensemble.batch_size
    tiles = torch.from_numpy(np.stack([crop[:tile, :tile] for crop in cut_tiles(size, 1)]))
    pixels = preprocess(tiles.to(ensemble.device), predictor.spec)
    steps = max(1, n_tiles // size)
    low = predictor.precision == "bfloat16"

    def run() -> int:
        with (
            torch.inference_mode(),
            torch.autocast(ensemble.device.type, torch.bfloat16, enabled=low),
        ):
            for _ in range(steps):
                predictor.module(pixels)
        return steps * size

    return Way(NETWORK, run)


def scored(name: str, source: TileSource, work: Work, ensemble: Ensemble) -> Way:
    """Return what the product does to a slide, with as many threads as it takes."""
    threads = decode_threads(ensemble.device)

    def run() -> int:
        slide = OpenedSlide.open(source, work, threads)
        try:
            return score_opened(slide, work, ensemble, _ignore).tiles
        finally:
            slide.stream.close()

    return Way(name, run)


def rates(ways: Sequence[Way], device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Tiles a second of each way in each round; one more goes before them, uncounted."""
    rng = np.random.default_rng(0)
    taken: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(rounds + 1):
        for place in rng.permutation(len(ways)).tolist():
            synchronise(device)
            started = time.perf_counter()
            tiles = ways[place].run()
            synchronise(device)
            if number:
                taken[ways[place].name].append(tiles / (time.perf_counter() - started))
    return taken


def summed(taken: Mapping[str, Sequence[float]]) -> list[Row]:
    """Sum up the rates over the rounds."""
    alone = taken[NETWORK]
    return [
        Row(
            name,
            statistics.median(found),
            median_interval([a / b for a, b in zip(found, alone, strict=True)]),
        )
        for name, found in taken.items()
    ]


def targets(rows: Sequence[Row]) -> list[Target]:
    """Compare with what was promised."""
    found = {row.name: row.of_network.median for row in rows}
    return [
        Target(f"{name}, of the network alone", found[name], wanted, True)
        for name, wanted in WANTED.items()
    ]


def table(rows: Sequence[Row]) -> str:
    """Lay the rates out as Markdown."""
    lines = ["| way | tiles/s | of the network alone |", "|---|---:|---:|"]
    for row in rows:
        ratio = row.of_network
        cells = f"{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
        lines.append(f"| {row.name} | {row.tiles_per_s:.1f} | {cells} |")
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/bench_scoring"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tiles", type=int, help="of a round, about")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--tile", type=int, default=224)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write scoring.json and table.md."""
    args = parse(arguments)
    device = resolve_device(args.device)
    n_tiles = args.tiles or _TILES.get(device.type, _TILES["cpu"])
    config = ScoreConfig(
        device=args.device, precision=args.precision, batch_size=args.batch or "auto"
    )
    data = args.out / "data"
    members = Members.of(make_model(data, args.model, args.tile))
    ensemble = Ensemble.load(members, config)
    work = Work(members, args.out.absolute() / "scores", config, data / "stain", {})
    ways = [
        network_alone(ensemble, n_tiles),
        scored(STORE, make_store(data, args.tile, n_tiles), work, ensemble),
        scored(SLIDE, make_slide(data, members, n_tiles), work, ensemble),
    ]
    described = describe(args, ensemble)
    taken = rates(ways, device, args.rounds)
    rows = summed(taken)
    checked = targets(rows)
    text = f"{title(described)}\n\n{table(rows)}\n\n" + "\n".join(one.line() for one in checked)
    print(f"\n{text}")
    write_text(args.out / "table.md", f"{text}\n")
    results = described | {
        "load_average_after": os.getloadavg(),
        "targets": [{**asdict(target), "status": target.status} for target in checked],
        "rows": [asdict(row) for row in rows],
        "tiles_per_s": taken,
    }
    write_json(args.out / "scoring.json", results)


def describe(args: argparse.Namespace, ensemble: Ensemble) -> dict[str, Any]:
    """Tell what is measured, on what device, beside what other load."""
    return {
        "device": device_name(ensemble.device),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_average_before": os.getloadavg(),
        "settings": {
            "model": args.model,
            "tile": args.tile,
            "batch": ensemble.batch_size,
            "precision": ensemble.predictors[0].precision,
            "rounds": args.rounds,
        },
        "versions": package_versions(),
        "git_revision": git_revision(),
    }


def title(described: Mapping[str, Any]) -> str:
    """Say in a line what was measured, and on what."""
    asked = described["settings"]
    network = f"{asked['model']}, {asked['tile']} px, batch {asked['batch']}, {asked['precision']}"
    return f"{network}, on {described['device']}, {described['cores']} cores"


def _ignore(tiles: int, /) -> None:
    """Tell nobody."""


if __name__ == "__main__":
    if _WAITING not in os.environ:
        program = [sys.executable, "-m", "benchmarks.scoring", *sys.argv[1:]]
        environment = {**os.environ, _WAITING: "PASSIVE"}
        os.execve(sys.executable, program, environment)  # noqa: S606 - it is this program itself
    main()
