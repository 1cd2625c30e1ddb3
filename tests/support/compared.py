"""A small comparison on disk: slides, tile truth, and what each arm and seed made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide
from wsi_specdec.config import EvaluateConfig
from wsi_specdec.evaluation import SeedRun, evaluate
from wsi_specdec.store import write_scores
from wsi_specdec.store.calls import Call, write_calls

Results = dict[str, Any]

CONFIG = EvaluateConfig(bootstrap=200)
THRESHOLD = 0.5


@dataclass(frozen=True)
class Truth:
    """The labels of a slide's tiles, as a store would give them."""

    coords: NDArray[np.int64]
    label: NDArray[np.int16]


@dataclass
class World:
    """What `evaluate` is given, and the numbers behind it."""

    slides: list[Slide]
    stores: dict[str, Any]
    runs: dict[str, list[SeedRun]] = field(default_factory=dict)
    slide_scores: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    tile_scores: dict[tuple[str, int], dict[str, NDArray[np.float32]]] = field(default_factory=dict)

    def results(self, config: EvaluateConfig = CONFIG) -> dict[str, Any]:
        """Evaluate all of it."""
        return evaluate(self.runs, self.slides, self.stores, config, {"seed": 0}, {}, {})


class BuildWorld(Protocol):
    """Makes a world in a folder of the test's own; see `build_world`."""

    def __call__(
        self,
        slides: Sequence[Slide],
        arms: Mapping[str, float],
        seeds: Sequence[int] = ...,
        empty: Sequence[str] = ...,
    ) -> World: ...


def build_world(
    root: Path,
    slides: Sequence[Slide],
    arms: Mapping[str, float],
    seeds: Sequence[int] = (0,),
    empty: Sequence[str] = (),
) -> World:
    """Make runs of arms, given the quality of each; slides in `empty` have no tiles."""
    full = [slide for slide in slides if slide.slide_id not in empty]
    world = World(list(slides), {slide.slide_id: _truth(slide) for slide in full})
    for arm, quality in arms.items():
        for seed in seeds:
            _add_run(world, root, arm, seed, quality, empty)
    return world


def members(world: World, name: str) -> list[Slide]:
    """Return the slides of one cohort."""
    return [slide for slide in world.slides if slide.split == name]


def cohort(name: str, count: int, slides_each: int = 1) -> list[Slide]:
    """Return slides of one split, half of the patients positive."""
    found = []
    for row in range(count):
        patient = row // slides_each
        slide_id = f"{name}-{row}"
        path = Path(f"{slide_id}.tif")
        found.append(Slide(slide_id, path, f"{name}-p{patient}", patient % 2, name))
    return found


def _truth(slide: Slide) -> Truth:
    count = 12
    coords = np.stack([np.arange(count) % 4 * 8, np.arange(count) // 4 * 8], axis=1)
    label = np.zeros(count, dtype=np.int16)
    if slide.label == 1:
        label[3:8] = 1
    label[-2:] = -1
    return Truth(coords.astype(np.int64), label)


def _add_run(
    world: World, root: Path, arm: str, seed: int, quality: float, empty: Sequence[str]
) -> None:
    rng = np.random.default_rng([seed, *arm.encode()])
    shared = np.random.default_rng(0)
    folder = root / arm / f"seed-{seed}"
    tile_scores, slide_scores, calls = {}, {}, []
    for slide in world.slides:
        difficulty = shared.normal()
        if slide.slide_id in empty:
            calls.append(
                Call(
                    slide.slide_id,
                    slide.patient_id,
                    slide.split,
                    *(None,) * 4,
                    n_tiles=0,
                    state="empty",
                )
            )
            continue
        truth = world.stores[slide.slide_id]
        logits = 2 * quality * (truth.label == 1) - 1 + 0.5 * difficulty
        logits = logits + rng.normal(0, 0.7, truth.label.size)
        probs = (1 / (1 + np.exp(-logits))).astype(np.float32)
        tile_scores[slide.slide_id] = probs
        score = float(np.sort(probs.astype(float))[-3:].mean())
        slide_scores[slide.slide_id] = score
        calls.append(_call(slide, score, probs.size))
        # Rows in another order than the store's: they are joined by coordinates.
        order = rng.permutation(probs.size)
        columns = probs[order, None]
        path = folder / "scores" / f"{slide.slide_id}.parquet"
        write_scores(path, truth.coords[order], columns, columns, ["tumour"], {})
    write_calls(folder / "calls.csv", calls)
    world.tile_scores[arm, seed] = tile_scores
    world.slide_scores[arm, seed] = slide_scores
    run = SeedRun(seed, folder / "calls.csv", folder / "scores")
    world.runs.setdefault(arm, []).append(run)


def _call(slide: Slide, score: float, n_tiles: int) -> Call:
    return Call(
        slide.slide_id,
        slide.patient_id,
        slide.split,
        score,
        int(score >= THRESHOLD),
        THRESHOLD,
        0.5,
        n_tiles,
        "done",
    )
