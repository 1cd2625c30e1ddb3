"""A run directory as the report sees it: what is there, checked once, errors naming the file."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide, read_manifest
from wsi_specdec.config import DemoConfig, ReportConfig, load_config
from wsi_specdec.errors import RunDirectoryError, StoreError, WsiSpecdecError
from wsi_specdec.files import read_json
from wsi_specdec.keys import (
    ARMS_DIR,
    CALLS_FILE,
    CONFIG_FILE,
    EXPORTS_DIR,
    HEATMAPS_DIR,
    LEDGER_FILE,
    MANIFEST_FILE,
    PREVIEWS_DIR,
    PROB_PREFIX,
    PROVENANCE_FILE,
    RESULTS_FILE,
    SCORES_DIR,
    TILES_DIR,
    UNKNOWN_LABEL,
)
from wsi_specdec.report.images import read_rgb
from wsi_specdec.report.layout import Layout, layout_of
from wsi_specdec.report.wording import Wording
from wsi_specdec.runner import Outcome, read_ledger
from wsi_specdec.store import TileStore, open_store, open_stores, scores_path, store_path
from wsi_specdec.store.calls import Call, positive_scores, read_calls

T = TypeVar("T")
_RESULT_KEYS: Final = ("cohorts", "arms", "differences")
_ARM_KEYS: Final = ("settings", "seeds", "cohorts")
_DIFFERENCE_KEYS: Final = ("arm", "baseline", "cohort", "unit", "metric", "delta", "p", "test")


@dataclass(frozen=True)
class SeedFolder:
    """Calls, tile scores and heatmaps of one arm and seed, or of a `process` run."""

    path: Path
    seed: int | None

    @cached_property
    def calls(self) -> dict[str, Call]:
        """Calls by slide."""
        path = _existing(self.path / CALLS_FILE)
        return {call.slide_id: call for call in _reading(path, read_calls)}

    def call(self, slide_id: str) -> Call:
        """Call of one slide.

        Raises
        ------
        RunDirectoryError
            If the folder has none.
        """
        if slide_id not in self.calls:
            msg = f"{self.path / CALLS_FILE} has no row for slide {slide_id!r}; aggregate again"
            raise RunDirectoryError(msg)
        return self.calls[slide_id]

    def heatmap(self, slide_id: str) -> Path:
        """Where the slide's heatmap lies."""
        return self.path / HEATMAPS_DIR / f"{slide_id}.png"

    def export(self, slide_id: str, suffix: str) -> Path:
        """Where one kind of the slide's exports lies, such as `.regions.geojson`."""
        return self.path / EXPORTS_DIR / f"{slide_id}{suffix}"

    def tile_scores(self, slide_id: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Coordinates (N, 2) in level-0 pixels and scores (N,) of the slide's tiles."""
        path = _existing(scores_path(self.path / SCORES_DIR, slide_id))
        return _reading(path, positive_scores)

    def has_scores(self, slide_id: str) -> bool:
        """Whether the slide's tiles were scored."""
        return scores_path(self.path / SCORES_DIR, slide_id).is_file()

    def class_name(self, slide_id: str) -> str:
        """Name of the positive class, as the slide's scores give it; of several, all but one."""
        columns = _reading(scores_path(self.path / SCORES_DIR, slide_id), _read_columns)
        names = [n.removeprefix(PROB_PREFIX) for n in columns if n.startswith(PROB_PREFIX)]
        return " or ".join(names[1:] or names)


@dataclass(frozen=True)
class Run:
    """A run directory.

    Attributes
    ----------
    arms
        Seeds of each arm, lowest seed first; of a `process` run, one arm without a name.
    results
        Content of `results.json`; None for a `process` run. Of packed images without what is said
        of tiles, since it would be said twice.
    images
        Store of each packed image by its id; None for a run on slides.
    """

    path: Path
    slides: Mapping[str, Slide]
    ledger: Mapping[str, Outcome]
    provenance: Mapping[str, Any]
    config: str
    arms: Mapping[str, tuple[SeedFolder, ...]]
    results: Mapping[str, Any] | None
    images: Mapping[str, TileStore] | None = None

    @cached_property
    def wording(self) -> Wording:
        """How texts read for this run."""
        if self.images is None:
            return Wording()
        folders = (seed for seeds in self.arms.values() for seed in seeds)
        scored = ((f, i) for f in folders for i in self.images if f.has_scores(i))
        folder, image_id = next(scored, (None, ""))
        return Wording(of_images=True, positive=folder.class_name(image_id) if folder else "it")

    def thumbnail(self, slide_id: str) -> NDArray[np.uint8]:
        """Picture of the whole slide, or image, (h, w, 3)."""
        if self.images is not None:
            pixels: NDArray[np.uint8] = self.store(slide_id).read([0])[0]
            return pixels
        return read_rgb(self.path / PREVIEWS_DIR / f"{slide_id}.thumbnail.jpg")

    def tissue_path(self, slide_id: str) -> Path:
        """Where the slide's tissue mask lies."""
        return self.path / PREVIEWS_DIR / f"{slide_id}.tissue.png"

    def store(self, slide_id: str) -> TileStore:
        """Open the slide's tiles, or the image as one.

        Raises
        ------
        StoreError
            If they are missing or incomplete.
        """
        if self.images is not None:
            if slide_id not in self.images:
                msg = f"no packed store in {self.path / TILES_DIR} holds {slide_id}; pack it again"
                raise StoreError(msg)
            return self.images[slide_id]
        return open_store(store_path(self.path, slide_id))

    def layout(self, slide_id: str) -> Layout:
        """Say where the slide's tiles lie."""
        return layout_of(self.store(slide_id))

    def tile_labels(
        self, slide_id: str, coords: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find scored tiles in the slide's store.

        Parameters
        ----------
        coords
            (N, 2) corners of the tiles, as their scores name them.

        Returns
        -------
        index, label : NDArray[int64]
            (N,) number of the tile in the store, and its label, -1 where unknown.

        Raises
        ------
        RunDirectoryError
            If the store does not hold one of the tiles.
        """
        store = self.store(slide_id)
        index = _find_rows(store.coords, coords)
        if index is None:
            msg = (
                f"the scores of slide {slide_id} are not of the tiles in {store.path}; score again"
            )
            raise RunDirectoryError(msg)
        labels = store.label
        known = labels[index] if len(labels) else np.full(len(index), UNKNOWN_LABEL)
        return index, known.astype(np.int64)


def read_run(path: Path) -> Run:
    """Open the directory of a finished run.

    Raises
    ------
    RunDirectoryError
        If a file is missing or does not hold what it should; the message names it.
    """
    results = _read_results(path)
    slides = _reading(_existing(path / MANIFEST_FILE), read_manifest)
    outcomes = _reading(_existing(path / LEDGER_FILE), read_ledger)
    config = _existing(path / CONFIG_FILE).read_text(encoding="utf-8")
    images = open_stores(path) if _packs(config) else None
    if results is not None and images is not None:
        results = _without_tiles(results)
    return Run(
        path=path,
        slides={slide.slide_id: slide for slide in slides},
        ledger={outcome.slide_id: outcome for outcome in outcomes},
        provenance=_reading(_existing(path / PROVENANCE_FILE), read_json),
        config=config,
        arms=_arms(path, results),
        results=results,
        images=images,
    )


def report_config(path: Path) -> ReportConfig:
    """Read the report's settings from a run's config.

    Raises
    ------
    ConfigError
        If the config is missing or wrong.
    """
    config = load_config(path / CONFIG_FILE)
    whole = config.pipeline if isinstance(config, DemoConfig) else config
    return whole.report


def _packs(config: str) -> bool:
    """Whether a run's config is one on packed images."""
    values = yaml.safe_load(config) or {}
    whole = values.get("pipeline") or values
    return any(whole.get(name) is not None for name in ("pack", "packed"))


def _without_tiles(results: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out metrics of tiles: an image is its own only tile."""
    arms = {
        name: arm
        | {
            "cohorts": {
                cohort: {unit: found for unit, found in units.items() if "patch" not in unit}
                for cohort, units in arm["cohorts"].items()
            }
        }
        for name, arm in results["arms"].items()
    }
    kept = {
        name: [each for each in results[name] if each["unit"] != "patch"]
        for name in ("differences", "gaps")
        if name in results
    }
    return {**results, "arms": arms, **kept}


def _read_columns(path: Path) -> list[str]:
    """Names of a Parquet file's columns, without its values."""
    import pyarrow.parquet as pq

    with path.open("rb") as handle:
        return [str(name) for name in pq.read_schema(handle).names]


def _find_rows(table: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Row of each wanted pair in a table of pairs; None if one is not there."""
    if np.array_equal(table, wanted):
        return np.arange(len(table))
    place = {(x, y): row for row, (x, y) in enumerate(table.tolist())}
    rows = [place.get((x, y), -1) for x, y in wanted.tolist()]
    return None if -1 in rows else np.array(rows, np.int64)


def _read_results(path: Path) -> Mapping[str, Any] | None:
    file = path / RESULTS_FILE
    if not file.exists():
        if (path / CALLS_FILE).exists() and not (path / ARMS_DIR).exists():
            return None
        msg = (
            f"{path} is not a finished run: it holds neither {RESULTS_FILE} nor the "
            f"{CALLS_FILE} of `process`; run its command again to finish it"
        )
        raise RunDirectoryError(msg)
    results = _reading(file, read_json)
    _check_keys(results, _RESULT_KEYS, file)
    for name, arm in results["arms"].items():
        _check_keys(arm, _ARM_KEYS, file, f" in arm {name!r}")
    for difference in results["differences"]:
        _check_keys(difference, _DIFFERENCE_KEYS, file, " in a difference")
    return dict(results)


def _check_keys(value: object, names: tuple[str, ...], file: Path, where: str = "") -> None:
    lacks = [name for name in names if not isinstance(value, Mapping) or name not in value]
    if lacks:
        msg = f"{file} lacks {', '.join(map(repr, lacks))}{where}; evaluate the run again"
        raise RunDirectoryError(msg)


def _arms(path: Path, results: Mapping[str, Any] | None) -> dict[str, tuple[SeedFolder, ...]]:
    if results is None:
        return {"": (SeedFolder(path, None),)}
    return {
        name: tuple(
            SeedFolder(_existing(path / ARMS_DIR / name / f"seed-{seed}"), seed)
            for seed in sorted(arm["seeds"])
        )
        for name, arm in results["arms"].items()
    }


def _existing(path: Path) -> Path:
    if not path.exists():
        msg = f"the report needs {path}, which is missing; run the stage that writes it"
        raise RunDirectoryError(msg)
    return path


def _reading(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except WsiSpecdecError:
        raise
    except (OSError, ValueError, KeyError, csv.Error, json.JSONDecodeError) as error:
        msg = f"cannot read {path}: {error}; run the stage that writes it again"
        raise RunDirectoryError(msg) from error
