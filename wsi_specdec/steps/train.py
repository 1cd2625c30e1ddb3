"""`train`: a model of the tiles of a run directory."""

from pathlib import Path

from wsi_specdec.cohort import fold_slides, read_manifest, write_manifest
from wsi_specdec.config import TrainConfig
from wsi_specdec.intake import refuse_unknown
from wsi_specdec.keys import MANIFEST_FILE, STAIN_DIR
from wsi_specdec.steps.folder import run_dir
from wsi_specdec.store import open_stores
from wsi_specdec.training import train_searched


def train_model(
    tiles: Path,
    manifest: Path,
    out: Path,
    config: TrainConfig,
    *,
    fold: tuple[int, int] | None = None,
) -> Path:
    """Train on the stores of a run directory, as `wsi-specdec train` does.

    With `fold`, (i, k), the i-th of k folds of patients validates, the others train, and `out`
    gets the manifest that says so.

    Raises
    ------
    ManifestError
        If the manifest labels a slide that was never tiled.
    """
    slides = read_manifest(manifest)
    if fold is not None:
        slides = fold_slides(slides, *fold)
        write_manifest(slides, out / MANIFEST_FILE)
    stores = open_stores(tiles)
    refuse_unknown(slides, stores, run_dir(tiles), manifest)
    return train_searched(stores, slides, out, config, run_dir(tiles) / STAIN_DIR)
