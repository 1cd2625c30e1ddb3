"""Small run directories, written by hand as the stages write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide, write_manifest
from wsi_specdec.config import PipelineConfig, ProcessConfig, dump_config
from wsi_specdec.files import write_json, write_text
from wsi_specdec.runner import Ledger, Outcome
from wsi_specdec.store import TileStoreWriter, write_scores
from wsi_specdec.store.calls import Call, write_calls

TILE = 40  # level-0 px
LEVEL0 = (400, 320)  # width, height in level-0 px
DOWNSAMPLE = 4
ARMS = ("wd", "sd+macenko")
COHORTS = ("internal", "external")
SIZES = (("train", 1), ("validation", 1), ("internal", 4), ("external", 4))
METRICS = {
    "patch": ("auroc", "brier"),
    "slide": ("auroc", "sensitivity", "specificity", "balanced_accuracy", "accuracy"),
    "patient": ("auroc",),
}


@dataclass(frozen=True)
class FakeRun:
    """A run directory and what was put in it."""

    path: Path
    slides: tuple[Slide, ...]
    results: dict[str, Any]


def tumour_box(number: int) -> tuple[slice, slice]:
    """Rows and columns of the annotated tumour, in thumbnail pixels."""
    left = 20 + 10 * (number % 4)
    return slice(20, 50), slice(left, left + 30)


def measure(value: float | None, reason: str | None = None) -> dict[str, Any]:
    """Write a metric as `results.json` holds it."""
    bounds = (None, None) if value is None else (value - 0.051, min(1.0, value + 0.031))
    return {
        "value": value,
        "ci_low": bounds[0],
        "ci_high": bounds[1],
        "n": 4,
        "per_seed": [value],
        "reason": reason,
    }


def fake_results(arms: Sequence[str], cohorts: Sequence[str]) -> dict[str, Any]:
    """Write the content of `results.json`, every value another."""
    step = iter(range(1000))
    values = {
        arm: {
            cohort: {
                unit: {name: measure(0.6 + 0.0071 * next(step)) for name in names}
                for unit, names in METRICS.items()
            }
            | {"by_site": {}, "by_scanner": {}, "worst_group": {}}
            for cohort in cohorts
        }
        for arm in arms
    }
    differences = [
        {
            "arm": arm,
            "baseline": arms[0],
            "cohort": cohort,
            "unit": unit,
            "metric": name,
            "delta": 0.0312,
            "ci_low": -0.0213,
            "ci_high": 0.0877,
            "p": 0.0421,
            "p_adjusted": 0.263,
            "test": "DeLong",
            "reason": None,
        }
        for arm in arms[1:]
        for cohort in cohorts
        for unit, names in METRICS.items()
        for name in names
    ]
    return {
        "schema_version": 1,
        "provenance": {},
        "cohorts": {
            name: {
                "slides": 4,
                "patients": 4,
                "positives": 2,
                "threshold_chosen_here": name == "validation",
            }
            for name in cohorts
        },
        "arms": {
            arm: {
                "settings": {"train": {"sd_coef": 0.01 * rank, "lr": 0.001}},
                "seeds": [0, 1],
                "cost": {"train_seconds": 12.25 + rank},
                "cohorts": values[arm],
            }
            for rank, arm in enumerate(arms)
        },
        "differences": differences,
    }


def write_slide_files(run: Path, slide: Slide, number: int) -> None:
    """Write the store, previews and truth of one slide."""
    coords = tile_coords()
    attributes = {
        "slide_id": slide.slide_id,
        "tile_size_level0_px": TILE,
        "level0_width": LEVEL0[0],
        "level0_height": LEVEL0[1],
    }
    store = run / "tiles" / f"{slide.slide_id}.zarr"
    with TileStoreWriter(
        store, n_tiles=len(coords), tile_size=8, codec="lossless", attributes=attributes
    ) as writer:
        writer.append(np.zeros((len(coords), 8, 8, 3), np.uint8))
        ones = np.ones(len(coords))
        writer.finish(coords=coords, tissue_fraction=ones, label=ones, quality={})
    height, width = LEVEL0[1] // DOWNSAMPLE, LEVEL0[0] // DOWNSAMPLE
    tissue = np.zeros((height, width), np.uint8)
    tissue[10:-10, 10:-10] = 255
    thumbnail = np.full((height, width, 3), 245, np.uint8)
    thumbnail[tissue > 0] = (190, 140, 200)
    previews = run / "previews"
    previews.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(previews / f"{slide.slide_id}.thumbnail.jpg"), thumbnail)
    cv2.imwrite(str(previews / f"{slide.slide_id}.tissue.png"), tissue)
    if slide.annotation_path is not None:
        truth = np.zeros((height, width), np.uint8)
        if slide.label == 1:
            truth[tumour_box(number)] = 255
        slide.annotation_path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(slide.annotation_path), truth)


def write_arm_files(folder: Path, slides: Sequence[Slide], seed: int) -> None:
    """Write calls and tile scores of one arm and seed; slides `*-3` are called wrong."""
    rng = np.random.default_rng(seed)
    calls = []
    for number, slide in enumerate(slides):
        positive = (slide.label == 1) != slide.slide_id.endswith("-3")
        score = 0.9 - 0.01 * (number % 50) if positive else 0.2 + 0.01 * (number % 50)
        calls.append(
            Call(
                slide_id=slide.slide_id,
                patient_id=slide.patient_id,
                cohort=slide.split,
                score=score,
                call=int(positive),
                threshold=0.4321,
                confidence=0.5,
                n_tiles=48,
                state="done",
            )
        )
        coords = tile_coords()
        scores = rng.uniform(size=(len(coords), 1)).astype(np.float32)
        path = folder / "scores" / f"{slide.slide_id}.parquet"
        write_scores(path, coords, scores, scores, ["tumour"], {})
    write_calls(folder / "calls.csv", calls)


def tile_coords() -> NDArray[np.int64]:
    columns, rows = LEVEL0[0] // TILE, LEVEL0[1] // TILE
    grid = [(x * TILE, y * TILE) for y in range(1, rows - 1) for x in range(1, columns - 1)]
    return np.array(grid, dtype=np.int64)


def write_common(
    run: Path, slides: Sequence[Slide], states: Mapping[str, str], config: str
) -> None:
    """Write the manifest, ledger, provenance and config."""
    write_manifest(slides, run / "slides.csv")
    with Ledger(run) as ledger:
        for slide in slides:
            reason = states.get(slide.slide_id, "")
            state: Any = reason.split(":")[0] or "done"
            tiles = 48 if state == "done" else 0
            ledger.append(Outcome(slide.slide_id, state, reason, tiles))
    write_json(
        run / "provenance.json",
        {
            "created": "2026-11-24T12:00:00+00:00",
            "git_revision": "0123456789ab",
            "versions": {"python": "3.11.2"},
            "seed": 0,
            "inputs": {"slides.csv": "cafe"},
        },
    )
    write_text(run / "config.yaml", config)


def make_comparison(
    run: Path,
    cohorts: Sequence[tuple[str, int]] = SIZES,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0, 1),
) -> FakeRun:
    """Write a comparison of arms and seeds on two cohorts, with one empty slide."""
    slides = []
    for cohort, size in cohorts:
        for number in range(size):
            name = f"{cohort}-{number}"
            slides.append(
                Slide(
                    slide_id=name,
                    path=run / "slides" / f"{name}.tif",
                    patient_id=f"p-{name}",
                    label=number % 2,
                    split=cohort,
                    annotation_path=run / "slides" / f"{name}.truth.png",
                )
            )
    for number, slide in enumerate(slides):
        write_slide_files(run, slide, number)
    blank = Slide("blank", run / "slides" / "blank.tif", "p-blank", label=0, split="train")
    results = fake_results(arms, COHORTS)
    write_common(
        run, [*slides, blank], {"blank": "empty: no tissue"}, dump_config(PipelineConfig())
    )
    tested = [slide for slide in slides if slide.split != "train"]
    for arm in arms:
        results["arms"][arm]["seeds"] = list(seeds)
        for seed in seeds:
            write_arm_files(run / "arms" / arm / f"seed-{seed}", tested, seed)
    write_json(run / "results.json", results)
    return FakeRun(run, tuple(slides), results)


def make_process(run: Path) -> FakeRun:
    """Write a run of `process` over three slides, one of them without tissue."""
    slides = [Slide(name, run / f"{name}.svs", name) for name in ("a", "b", "glass")]
    for number, slide in enumerate(slides[:2]):
        write_slide_files(run, slide, number)
    write_common(run, slides, {"glass": "empty: no tissue"}, dump_config(ProcessConfig()))
    write_arm_files(run, slides[:2], 0)
    done = [
        Call("a", "a", None, 0.2, 0, 0.4321, 0.5, 48, "done"),
        Call("b", "b", None, 0.8765, 1, 0.4321, 0.5, 48, "done"),
        Call("glass", "glass", None, None, None, None, None, 0, "empty"),
    ]
    write_calls(run / "calls.csv", done)
    return FakeRun(run, tuple(slides), {})
