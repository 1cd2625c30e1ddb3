"""Many slides to tile stores, resumed by what their settings and files hash to."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wsi_specdec.cohort import Slide, check_unique
from wsi_specdec.config import RunnerConfig, TileConfig, differences, make_config
from wsi_specdec.errors import ConfigError, SettingsMismatchError
from wsi_specdec.files import read_json, remove_partials, write_json
from wsi_specdec.keys import PREVIEWS_DIR, STORE_SUFFIX, TILE_CONFIG_FILE, TILES_DIR
from wsi_specdec.provenance import provenance
from wsi_specdec.runner import Ledger, LedgerSummary, Task, run_over_slides
from wsi_specdec.tiling.tile import TileJob, params_of, tile_slide


def tile_slides(
    slides: Sequence[Slide],
    out: Path,
    config: TileConfig,
    runner: RunnerConfig,
    *,
    overwrite: bool = False,
    hdf5: bool = False,
) -> LedgerSummary:
    """Cut slides into tile stores, and write the ledger and previews.

    The same call again does only what is missing: a store that is complete, of the same slide
    and of the same settings is kept. A slide that fails costs itself alone.

    Parameters
    ----------
    slides
        The cohort. A slide's own mpp goes before `config.slide_mpp`; both go before what the
        file states.
    out
        Output folder: `tiles/<slide_id>.zarr`, `previews/`, `ledger.csv`, `tile.json`.
    config
        Settings, the same for all slides of a folder.
    runner
        Number of processes and threads, and limits.
    overwrite
        Make every store anew. Stores in `out` that were made with other settings are removed.
    hdf5
        Write coordinates also as HDF5 that CLAM and TRIDENT read: `coords/<slide_id>.h5`.

    Raises
    ------
    ManifestError
        If two slides have one id.
    ConfigError
        If another process is tiling into `out`, or the stains' target cannot be used.
    SettingsMismatchError
        If `out` holds stores of other settings and `overwrite` is not set; names those that
        differ.
    """
    check_unique(slides)
    _check_target(config)
    with Ledger(out) as ledger:
        _claim(out, config, overwrite=overwrite)
        threads = threads_for(runner, len(slides))
        # Absolute, since a worker may run in another folder or on another machine.
        files = {"coords": config.coords, "stain_target": config.stain_target}
        here = config.model_copy(update={name: _absolute(path) for name, path in files.items()})
        made_with = provenance()
        jobs = [
            TileJob(
                slide=_absolute_slide(slide),
                out=out.absolute(),
                config=here,
                params_sha256=params_of(slide, config),
                provenance=made_with,
                overwrite=overwrite,
                hdf5=hdf5,
                threads=threads,
            )
            for slide in slides
        ]
        tasks = [Task(job.slide.slide_id, job, job.params_sha256) for job in jobs]
        try:
            return run_over_slides(
                tile_slide, tasks, ledger=ledger, runner=runner, title="tile slides"
            )
        finally:
            _remove_leftovers(out)


def threads_for(runner: RunnerConfig, n_slides: int) -> int:
    """Return the threads of one slide: those of `runner`, or its share of this machine's cores.

    Under Dask a slide has one, unless `runner` says otherwise: other machines share their cores
    by the number of their workers' threads.
    """
    if runner.threads is not None:
        return runner.threads
    if runner.scheduler is not None:
        return 1
    at_a_time = max(1, min(runner.workers, n_slides))
    return max(1, len(os.sched_getaffinity(0)) // at_a_time)


def _check_target(config: TileConfig) -> None:
    """Refuse a target that cannot be used before anything is touched."""
    if config.stain_target is not None:
        from wsi_specdec.tiling.stained import target_of

        target_of(config)


def _absolute_slide(slide: Slide) -> Slide:
    return replace(
        slide,
        path=slide.path.absolute(),
        tissue_mask_path=_absolute(slide.tissue_mask_path),
        annotation_path=_absolute(slide.annotation_path),
    )


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _claim(out: Path, config: TileConfig, *, overwrite: bool) -> None:
    """Refuse a folder of other settings, and write those of this run."""
    _remove_leftovers(out)
    settings = out / TILE_CONFIG_FILE
    stores = sorted((out / TILES_DIR).glob(f"*{STORE_SUFFIX}"))
    if stores:
        differing = differences(_former_settings(settings), config.model_dump(mode="json"))
        if differing and not overwrite:
            msg = (
                f"{out} holds {len(stores)} stores made with other settings: "
                f"{'; '.join(differing)}. Choose another --out, or replace them with --overwrite"
            )
            raise SettingsMismatchError(msg)
        if differing:
            for store in stores:
                shutil.rmtree(store)
    write_json(settings, config.model_dump(mode="json"))


def _former_settings(path: Path) -> dict[str, Any]:
    """Read the settings of a former run; those it did not know yet have their defaults."""
    if not path.is_file():
        return {}
    values: dict[str, Any] = read_json(path)
    try:
        return make_config(TileConfig, values, str(path)).model_dump(mode="json")
    except ConfigError:
        return values


def _remove_leftovers(out: Path) -> None:
    for folder in (out / TILES_DIR, out / PREVIEWS_DIR):
        if folder.is_dir():
            remove_partials(folder)
