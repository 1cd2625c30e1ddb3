"""`stain`: a target fitted to the tiles of a run directory, and tiles normalised to it."""

import os
from pathlib import Path
from typing import Any

from wsi_specdec.cohort import cohort_slides, read_manifest
from wsi_specdec.config import StainConfig
from wsi_specdec.errors import ManifestError
from wsi_specdec.files import read_json, sha256_of_file, write_text
from wsi_specdec.keys import LEDGER_FILE, STAIN_DIR
from wsi_specdec.provenance import provenance
from wsi_specdec.stain import fit_stores, merge_profiles
from wsi_specdec.stain.target import StainTarget, read_target, write_target
from wsi_specdec.steps.folder import run_dir
from wsi_specdec.store import open_stores
from wsi_specdec.tiling.restained import Encoding, Restained, check_restainable, restain_stores


def fit_target(
    tiles: Path, manifest: Path, split: str, out: Path, config: StainConfig
) -> dict[str, Any]:
    """Fit the target of stain normalisation to the slides of one split; the others are not read.

    Slides' profiles are kept beside the tiles, and read from there by the next call.

    Returns
    -------
    dict
        The content of `out`: `profile`, `settings`, `sha256`, and `made_from` with the status of
        each slide.

    Raises
    ------
    ManifestError
        If no slide of the split has tiles.
    NotEnoughDataError
        If none of the slides has a usable profile.
    ConfigError
        If tiles are stain-normalised already.
    """
    stores = open_stores(tiles)
    slides = cohort_slides(read_manifest(manifest), split)
    chosen = [stores[slide.slide_id] for slide in slides if slide.slide_id in stores]
    if not chosen:
        msg = f"none of the {len(stores)} slides in {tiles} is in the split {split!r} of {manifest}"
        raise ManifestError(msg)
    for store in chosen:
        check_restainable(store)
    profiles = fit_stores(chosen, run_dir(tiles) / STAIN_DIR, config)
    target = StainTarget(merge_profiles(list(profiles.values())), config)
    made_from = {
        "split": split,
        "slides": {slide_id: profile.status for slide_id, profile in profiles.items()},
        "provenance": provenance({manifest.name: sha256_of_file(manifest)}, seed=config.seed),
    }
    write_target(out, target, made_from)
    return dict(read_json(out))


def apply_target(
    tiles: Path, target: Path, out: Path, encoding: Encoding, *, overwrite: bool = False
) -> Restained:
    """Write normalised copies of the stores of a run directory, as `stain apply` does.

    The ledger comes along, so that slides without tiles stay explained.

    Raises
    ------
    ConfigError, StoreError, SettingsMismatchError
        As `restain_stores`.
    """
    wanted = read_target(target)
    stores = list(open_stores(tiles).values())
    done = restain_stores(
        stores,
        out,
        wanted,
        encoding,
        stain_dir=run_dir(tiles) / STAIN_DIR,
        threads=len(os.sched_getaffinity(0)),
        overwrite=overwrite,
    )
    ledger = run_dir(tiles) / LEDGER_FILE
    if ledger.is_file():
        write_text(out / LEDGER_FILE, ledger.read_text(encoding="utf-8"))
    return done
