"""What a run works on: slides that are tiled, images that are packed, or packed ones.

From here on all are tile stores and rows of a manifest, and nothing tells them apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from wsi_specdec.cohort import (
    Slide,
    assign_splits,
    evaluated_cohorts,
    read_manifest,
    write_manifest,
)
from wsi_specdec.config import PackConfig, PipelineConfig, TrainConfig
from wsi_specdec.datasets import dataset_slides
from wsi_specdec.errors import ConfigError, ManifestError
from wsi_specdec.files import write_text
from wsi_specdec.keys import LEDGER_FILE, MANIFEST_FILE, TILES_DIR, TRAIN, VALIDATION
from wsi_specdec.packing import Listing, list_images, pack_images
from wsi_specdec.runner import LedgerSummary, read_ledger, read_states
from wsi_specdec.store import PackedImage, TileStore, open_store, open_stores, store_path
from wsi_specdec.tiling import tile_slides

_TWO: Final = 2


def required(path: Path | None, name: str) -> Path:
    """Return a path that a config must name.

    Raises
    ------
    ConfigError
        If it does not.
    """
    if path is None:
        msg = f"the setting '{name}' is missing: give it in the config or as a flag"
        raise ConfigError(msg)
    return path


def listed(config: PipelineConfig) -> list[Slide]:
    """List a run's slides or images: from the manifest, a data set, or where images lie.

    Images that are yet to be packed have the patients and views that are stated; those that their
    headers name are known once they are packed.

    Raises
    ------
    ConfigError, ManifestError, LeakError
        If there are none, or they cannot be read.
    """
    if config.data is not None and config.manifest is not None:
        msg = "give either a manifest or the folder of a data set (data), not both"
        raise ConfigError(msg)
    if config.pack is not None:
        entries = _listing(config, config.pack).entries
        return [replace(entry.slide, label=entry.label) for entry in entries]
    if config.packed is not None:
        if config.packed.resolve() == required(config.out, "out").resolve():
            msg = f"{config.packed} holds the packed images and their manifest: choose another out"
            raise ConfigError(msg)
        return read_manifest(config.manifest or config.packed / MANIFEST_FILE)
    if config.data is None and (config.dataset is None or config.manifest is not None):
        return read_manifest(required(config.manifest, "manifest"))
    if config.dataset is None:
        msg = (
            "data is the folder of a public data set, and the config names none under 'dataset': "
            "start from a file that does, such as pipelines/panda.yaml, or give a manifest"
        )
        raise ConfigError(msg)
    data = required(config.data, "data")
    return dataset_slides(config.dataset, data, config.splits, config.seeds[0])


def with_splits(slides: Sequence[Slide], config: PipelineConfig) -> list[Slide]:
    """Fill in splits where no slide has one, and check that the needed ones are there.

    Raises
    ------
    ManifestError
        If a split that the run needs has no slides, or labels are missing.
    """
    if not any(slide.split for slide in slides):
        slides = assign_splits(slides, config.splits, seed=config.seeds[0])
    for needed in (TRAIN, VALIDATION):
        if not any(slide.split == needed for slide in slides):
            msg = f"no slide of the manifest is in the split {needed!r}; set the column 'split'"
            raise ManifestError(msg)
    if not evaluated_cohorts(slides):
        msg = "no slide of the manifest is in a test split ('internal', 'external', …)"
        raise ManifestError(msg)
    # Where no threshold is chosen, truth about the tiles will do.
    bare = config.aggregate.fitted_on is None
    unlabelled = [
        s.slide_id
        for s in slides
        if s.split not in (None, TRAIN)
        and s.label is None
        and not (bare and s.annotation_path is not None)
    ]
    if unlabelled:
        msg = f"slides to be evaluated have no label: {', '.join(unlabelled[:10])}"
        raise ManifestError(msg)
    return list(slides)


def with_classes(config: PipelineConfig) -> PipelineConfig:
    """Let a model of packed images name their classes, unless its settings do.

    Raises
    ------
    ConfigError
        If there are not two of them, or the settings name them otherwise.
    """
    if config.pack is not None:
        names = _listing(config, config.pack).classes
    elif config.packed is not None:
        names = _classes(config.packed)
    else:
        return config
    if len(names) != _TWO:
        msg = (
            f"a run needs images of two classes, the negative one first, and these are of "
            f"{len(names)} ({', '.join(names) or 'none'}): see classes of pack"
        )
        raise ConfigError(msg)
    if config.train.classes not in (TrainConfig().classes, names):
        msg = (
            f"train.classes are {', '.join(config.train.classes)}, and the images' are "
            f"{', '.join(names)}: leave train.classes out"
        )
        raise ConfigError(msg)
    train = config.train.model_copy(update={"classes": names})
    return config.model_copy(update={"train": train})


def take_in(
    slides: Sequence[Slide], config: PipelineConfig, *, overwrite: bool = False
) -> tuple[list[Slide], LedgerSummary]:
    """Give a run directory its tile stores, its ledger and its manifest.

    Returns
    -------
    list of Slide
        The slides. Of images that were packed now, as their headers describe them, too.
    LedgerSummary
        What became of each.

    Raises
    ------
    ConfigError, ManifestError, LeakError, SettingsMismatchError, StoreError
        As `tile_slides` and `pack_images`; or if `packed` is no folder of packed images, or lacks
        one of the manifest.
    """
    out = required(config.out, "out")
    if config.pack is not None:
        listing = _listing(config, config.pack)
        summary = pack_images(listing, out, config.pack, config.runner, overwrite=overwrite)
        return read_manifest(out / MANIFEST_FILE), summary
    # First, so that those who look on know the slides.
    write_manifest(slides, out / MANIFEST_FILE)
    if config.packed is not None:
        return list(slides), _share_packed(slides, config.packed, out)
    tiled = tile_slides(slides, out, config.tile, config.runner, overwrite=overwrite)
    return list(slides), tiled


def stores_of(slides: Sequence[Slide], out: Path, *, images: bool = False) -> dict[str, TileStore]:
    """Open the stores of those slides, or images, of a run directory that have one."""
    if images:
        there = any((out / TILES_DIR).glob("*.zarr"))
        found = open_stores(out) if there else {}
        return {s.slide_id: found[s.slide_id] for s in slides if s.slide_id in found}
    paths = {slide.slide_id: store_path(out, slide.slide_id) for slide in slides}
    return {slide_id: open_store(path) for slide_id, path in paths.items() if path.is_dir()}


def refuse_unknown(
    slides: Sequence[Slide], stores: Mapping[str, TileStore], folder: Path, manifest: Path
) -> None:
    """Refuse slides that have neither tiles nor a row in the ledger that says why.

    Parameters
    ----------
    folder
        The run directory of the stores.
    manifest
        That names the slides.

    Raises
    ------
    ManifestError
        If there are any.
    """
    path = folder / LEDGER_FILE
    explained = read_states(path) if path.is_file() else {}
    unknown = [
        s.slide_id for s in slides if s.slide_id not in stores and s.slide_id not in explained
    ]
    if unknown:
        msg = (
            f"{manifest} has slides that are not in {folder}: {', '.join(unknown[:10])}; "
            "tile them, or take them out of the manifest"
        )
        raise ManifestError(msg)


def _listing(config: PipelineConfig, pack: PackConfig) -> Listing:
    return list_images(required(config.manifest, "manifest"), pack.classes)


def _packed_stores(folder: Path) -> dict[str, PackedImage]:
    stores = open_stores(folder)
    images = {name: store for name, store in stores.items() if isinstance(store, PackedImage)}
    if len(images) != len(stores):
        msg = (
            f"packed is {folder}, which holds tiles of slides: give the slides' manifest instead, "
            "or a folder that `wsi-specdec pack` wrote"
        )
        raise ConfigError(msg)
    return images


def _classes(folder: Path) -> tuple[str, ...]:
    image = next(iter(_packed_stores(folder).values()))
    return tuple(str(name) for name in image.attributes.get("classes") or ())


def _share_packed(slides: Sequence[Slide], packed: Path, out: Path) -> LedgerSummary:
    """Let a run directory have the packed stores of another folder, by a link."""
    refuse_unknown(slides, _packed_stores(packed), packed, out / MANIFEST_FILE)
    link, wanted = out / TILES_DIR, (packed / TILES_DIR).resolve()
    if link.is_dir() and not link.is_symlink():
        msg = f"{out} holds tiles of its own: choose another out for those of {packed}"
        raise ConfigError(msg)
    if link.resolve() != wanted:
        link.unlink(missing_ok=True)
        link.symlink_to(wanted, target_is_directory=True)
    rows = {row.slide_id: row for row in read_ledger(packed)}
    write_text(out / LEDGER_FILE, (packed / LEDGER_FILE).read_text(encoding="utf-8"))
    known = [rows[slide.slide_id] for slide in slides if slide.slide_id in rows]
    return LedgerSummary.of(known, out / LEDGER_FILE)
