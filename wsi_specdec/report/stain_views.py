"""What a stain sheet shows: slides of tile stores, or pictures, before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.errors import ImageError, ManifestError, StoreError
from wsi_specdec.report.images import fit
from wsi_specdec.report.stain_sheet import Look, StainView
from wsi_specdec.stain import (
    StainProfile,
    TileStatus,
    fit_pixels,
    merge_profiles,
    normalise,
    normalise_each,
    sample_pixels,
)
from wsi_specdec.stain.target import StainTarget, applied_target
from wsi_specdec.store import TileStore, find_stores, open_store

Image = NDArray[np.uint8]

_PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
_METADATA: Final = "zarr.json"
# Of a picture on the sheet, in pixels.
_SHOWN_PX: Final = 512
# Tiles of a store that are shown, side by side.
_GRID: Final = 3


@dataclass(frozen=True, eq=False)
class Subject:
    """A slide to be shown.

    Attributes
    ----------
    name
        Its id, or the picture's name.
    tiles
        (k, h, w, 3) uint8: those that are shown.
    pixels
        (n, 3) uint8, sampled over all of it.
    is_normalised
        Whether its tiles are stain-normalised already: they are shown as they are.
    """

    name: str
    tiles: Image
    pixels: Image
    is_normalised: bool = False


def find_subjects(paths: Sequence[Path], config: StainConfig, limit: int) -> list[Subject]:
    """Read the slides that are named by folders of stores, stores, pictures or folders of these.

    Parameters
    ----------
    config
        How many pixels are sampled, and by which seed.
    limit
        Slides at most; of more, this many evenly spaced ones.

    Raises
    ------
    ManifestError
        If a path does not exist, or there is nothing to be shown in it.
    ImageError, StoreError
        If a picture or a store cannot be read.
    """
    found = [file for path in paths for file in _files(path)]
    chosen = np.unique(np.linspace(0, len(found) - 1, min(limit, len(found))).round().astype(int))
    return [_read(found[number], config) for number in chosen.tolist()]


def stain_views(
    subjects: Sequence[Subject], config: StainConfig, target: StainTarget | None
) -> tuple[list[StainView], StainProfile]:
    """Normalise what is to be shown.

    Parameters
    ----------
    config
        The method, where there is no target.
    target
        What is reached; None merges the profiles of all that is shown.

    Returns
    -------
    views, target
        A view of each subject, and the profile that was reached.

    Raises
    ------
    NotEnoughDataError
        If there is no target and nothing has a usable profile.
    """
    settings = config if target is None else target.settings
    profiles = [fit_pixels(subject.pixels, settings) for subject in subjects]
    reached = merge_profiles(profiles) if target is None else target.profile
    views = [
        _view(subject, profile, StainTarget(reached, settings))
        for subject, profile in zip(subjects, profiles, strict=True)
    ]
    return views, reached


def _view(subject: Subject, profile: StainProfile, target: StainTarget) -> StainView:
    tiles, pixels, settings = subject.tiles, subject.pixels, target.settings
    if not subject.is_normalised:
        if settings.fit == "tile":
            tiles, _ = normalise_each(tiles, target.profile, settings)
        else:
            tiles = normalise(tiles, profile, target.profile)
        pixels = normalise(pixels, profile, target.profile)
    after = Look(_mosaic(tiles), pixels, fit_pixels(pixels, settings))
    before = Look(_mosaic(subject.tiles), subject.pixels, profile)
    return StainView(subject.name, _note(subject, profile), before, after)


def _note(subject: Subject, profile: StainProfile) -> str:
    if subject.is_normalised:
        return "stored normalised"
    status = TileStatus.of(profile.status).label.replace("_", " ")
    if profile.status != "ok" or profile.lab_means is not None:
        return status
    strengths = " and ".join(f"{value:.2f}" for value in profile.max_concentrations)
    return f"{status}, strengths {strengths}"


def _files(path: Path) -> list[Path]:
    """Return the stores and pictures that one argument stands for."""
    if not path.exists():
        msg = f"no such picture, store or folder: {path}"
        raise ManifestError(msg)
    if path.is_file() or (path / _METADATA).is_file():
        return [path]
    try:
        return list(find_stores(path).values())
    except StoreError:
        pictures = sorted(file for file in path.iterdir() if file.suffix.lower() in _PICTURES)
        if not pictures:
            msg = f"{path} holds neither tile stores nor pictures; name what `tile` wrote"
            raise ManifestError(msg) from None
        return pictures


def _read(path: Path, config: StainConfig) -> Subject:
    return _of_picture(path, config) if path.is_file() else _of_store(open_store(path), config)


def _of_store(store: TileStore, config: StainConfig) -> Subject:
    """Show tiles of much tissue from all over the slide."""
    best = np.argsort(-store.tissue_fraction, kind="stable")[: max(1, store.n_tiles // 2)]
    spaced = np.linspace(0, len(best) - 1, min(_GRID**2, len(best))).round().astype(int)
    pixels = sample_pixels(store.read, store.n_tiles, store.tile_size, config)
    tiles = store.read(np.sort(best)[spaced])
    return Subject(store.slide_id, tiles, pixels, applied_target(store.attributes) is not None)


def _of_picture(path: Path, config: StainConfig) -> Subject:
    found = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if found is None:
        msg = f"{path} is not a picture that can be read; slides are tiled first"
        raise ImageError(msg)
    image = np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)
    flat = image.reshape(-1, 3)
    if len(flat) > config.max_pixels:
        rng = np.random.default_rng(config.seed)
        flat = flat[rng.integers(0, len(flat), config.max_pixels)]
    return Subject(path.stem, image[np.newaxis], flat)


def _mosaic(tiles: Image) -> Image:
    """Put tiles side by side, (k, h, w, 3) to one picture of at most `_SHOWN_PX` a side."""
    if not len(tiles):
        return np.full((8, 8, 3), 255, np.uint8)
    side = int(np.ceil(len(tiles) ** 0.5))
    rest = side * (-(-len(tiles) // side)) - len(tiles)
    filled = np.concatenate([tiles, np.full((rest, *tiles.shape[1:]), 255, np.uint8)])
    grid = filled.reshape(-1, side, *tiles.shape[1:])
    rows, columns, height, width, _ = grid.shape
    picture = grid.swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    return fit(picture, _SHOWN_PX)
