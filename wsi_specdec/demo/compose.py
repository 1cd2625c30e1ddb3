"""Compose the built-in cohort: slides of real patches, with their truth beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from wsi_specdec.cohort import Slide, write_manifest
from wsi_specdec.config import CohortConfig, differences
from wsi_specdec.demo.cases import Case, assign_cases
from wsi_specdec.demo.layout import Layout, make_layout
from wsi_specdec.demo.packed import (
    PATCH_MPP,
    PATCH_PX,
    Patches,
    load_patches,
    patches_sha256,
)
from wsi_specdec.demo.painting import Placement, arrange, paint
from wsi_specdec.demo.pyramid import write_pyramid
from wsi_specdec.demo.scanner import (
    CENTRES_FILE,
    Scanner,
    centre_scanners,
    external_scanner,
    internal_scanner,
)
from wsi_specdec.errors import SettingsMismatchError
from wsi_specdec.files import (
    atomic_path,
    read_json,
    remove_partials,
    sha256_of_file,
    write_json,
)
from wsi_specdec.keys import EXTERNAL, MANIFEST_FILE, SLIDES_DIR
from wsi_specdec.progress import progress

SETTINGS_FILE: Final = "composed.json"
# Raised whenever the same settings would give other pixels.
_COMPOSER_VERSION: Final = 1
_TRUTH_PX_PER_CELL: Final = 5
_TUMOUR: Final = 255
_DESCRIPTION: Final = (
    "Composed by wsi_specdec of real 50x50 px H&E patches of breast tissue (Cruz-Roa et al. 2014); "
    "the arrangement is synthetic. {case}, {scanner}."
)


def compose_cohort(out: Path, config: CohortConfig) -> list[Slide]:
    """Compose the cohort's slides into `out`/slides, and write `out`/slides.csv.

    Each case is of patients of its own, and is one slide; cases of `external` are shown by further
    scanners too if `config.external_centres` asks for it, each time the very same arrangement. A
    slide is `<slide_id>.tif` (pyramidal, 4 µm per pixel, patches
    on a grid of 50 pixels from the corner), `<slide_id>.truth.png` (255 where a cell is tumour; it
    covers the whole slide, 5 pixels a cell) and `<slide_id>.truth.json` (label, patients, where
    each patch lies, scanner). A slide whose truth stands is not composed again.

    Parameters
    ----------
    out
        Run directory; made if missing.
    config
        Numbers of slides a split, and the seed of the arrangement.

    Returns
    -------
    list of Slide
        As in the manifest, by split.

    Raises
    ------
    SettingsMismatchError
        If `out` holds a cohort composed with other settings; it is left as it is.
    NotEnoughDataError
        If the packed patches cannot fill so many slides.
    """
    patches = load_patches()
    scans = _scans(assign_cases(patches, config), config.external_centres)
    folder = out / SLIDES_DIR
    _claim(folder, config)
    slides = []
    with progress("composing slides", len(scans)) as tick:
        for scan in scans:
            slide = _slide_of(scan, folder)
            if not _is_complete(slide):
                _compose(scan, slide, patches, config.seed)
            slides.append(slide)
            tick(note=slide.slide_id)
    write_manifest(slides, out / MANIFEST_FILE)
    return slides


@dataclass(frozen=True, slots=True)
class _Scan:
    """One case as one scanner shows it: one slide."""

    case: Case
    scanner: Scanner
    split: str
    slide_id: str


def _scans(cases: Sequence[Case], per_centre: int) -> list[_Scan]:
    """List the cases' own slides, and then those that the centres' scanners make of the same."""
    scans = [_Scan(c, _scanner_of(c), c.split, f"composed-{c.number:03d}") for c in cases]
    outside = [case for case in cases if case.split == EXTERNAL]
    positive, negative = ([c for c in outside if c.label == label] for label in (1, 0))
    # Half of them with cancer, as in every cohort.
    chosen = [*positive[: per_centre // 2], *negative[: per_centre - per_centre // 2]]
    for number, scanner in enumerate(centre_scanners()):
        scans += [
            _Scan(
                case,
                scanner,
                f"{EXTERNAL}-centre-{number}",
                f"composed-{case.number:03d}-centre-{number}",
            )
            for case in sorted(chosen, key=lambda case: case.number)
        ]
    return scans


def truth_path(slide_path: Path, suffix: str) -> Path:
    """Path of the truth beside a slide; `suffix` is `png` or `json`."""
    return slide_path.with_suffix(f".truth.{suffix}")


def _claim(folder: Path, config: CohortConfig) -> None:
    """Write the settings into the folder, or compare them with those it was made with."""
    asked = config.model_dump(mode="json")
    if not config.external_centres:
        # Not a setting that changes anything in folders from before there was one.
        del asked["external_centres"]
    wanted = {
        "cohort": asked,
        "composer_version": _COMPOSER_VERSION,
        "patches_sha256": patches_sha256(),
        "scanners_sha256": sha256_of_file(CENTRES_FILE),
    }
    path = folder / SETTINGS_FILE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, wanted)
        return
    remove_partials(folder)
    found = read_json(path)
    differing = differences(found, wanted)
    if differing:
        msg = (
            f"{folder} holds slides composed with other settings: {'; '.join(differing)}; "
            "give another --out, or remove that folder"
        )
        raise SettingsMismatchError(msg)


def _scanner_of(case: Case) -> Scanner:
    return external_scanner() if case.split == EXTERNAL else internal_scanner()


def _slide_of(scan: _Scan, folder: Path) -> Slide:
    path = folder / f"{scan.slide_id}.tif"
    return Slide(
        slide_id=scan.slide_id,
        path=path,
        patient_id=scan.case.case_id,
        label=scan.case.label,
        split=scan.split,
        site=scan.scanner.site,
        scanner=scan.scanner.name,
        mpp=PATCH_MPP,
        annotation_path=truth_path(path, "png"),
    )


def _is_complete(slide: Slide) -> bool:
    # The JSON is written last.
    paths = (truth_path(slide.path, "json"), truth_path(slide.path, "png"), slide.path)
    return all(path.is_file() for path in paths)


def _compose(scan: _Scan, slide: Slide, patches: Patches, seed: int) -> None:
    """Compose one slide and write its three files, the truth last."""
    case, scanner = scan.case, scan.scanner
    rng = np.random.default_rng([seed, case.number])
    layout = make_layout(len(case.tumour), len(case.normal), rng)
    placements = arrange(patches, case, layout, rng)
    image = scanner.scan(paint(patches, placements, layout, rng))
    truth_path(slide.path, "json").unlink(missing_ok=True)
    write_pyramid(
        slide.path,
        image,
        mpp=PATCH_MPP,
        jpeg_quality=scanner.jpeg_quality,
        description=_DESCRIPTION.format(case=case.case_id, scanner=scanner.name),
    )
    _write_truth_mask(layout, truth_path(slide.path, "png"))
    truth = _truth(case, layout, placements, patches)
    write_json(
        truth_path(slide.path, "json"),
        {"slide_id": slide.slide_id, **truth, "scanner": scanner.to_json(), "seed": seed},
    )


def _write_truth_mask(layout: Layout, path: Path) -> None:
    cell = np.ones((_TRUTH_PX_PER_CELL, _TRUTH_PX_PER_CELL), dtype=np.uint8)
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), np.kron(layout.tumour.astype(np.uint8) * _TUMOUR, cell))


def _truth(
    case: Case, layout: Layout, placements: list[Placement], patches: Patches
) -> dict[str, Any]:
    rows, columns = layout.tissue.shape
    members = [*case.tumour, *case.normal]
    return {
        "composed": True,
        "case": case.case_id,
        "label": case.label,
        "source_patients": sorted({str(patches.patient[i]) for i in members}, key=int),
        "cell_px": PATCH_PX,
        "grid": {"rows": rows, "columns": columns},
        "n_patches": len(members),
        "n_tumour": len(case.tumour),
        "placement_columns": ["row", "column", "patient", "x", "y", "class"],
        "placements": [
            [
                place.row,
                place.column,
                str(patches.patient[place.patch]),
                int(patches.x[place.patch]),
                int(patches.y[place.patch]),
                int(patches.label[place.patch]),
            ]
            for place in placements
        ],
    }
