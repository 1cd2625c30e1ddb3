"""A picture of what augmentation does to tiles."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsi_specdec.config import TrainConfig
from wsi_specdec.config.augment import AugmentConfig
from wsi_specdec.files import atomic_path
from wsi_specdec.training.augment.batch import augment
from wsi_specdec.training.seeds import sample_keys

# Of a tile, and of what stands above the tiles.
_INCHES: Final = 1.2
_HEADER: Final = 0.5


def preview_augmentations(
    tiles: NDArray[np.uint8], config: TrainConfig, path: Path, draws: int = 7
) -> None:
    """Draw tiles, and beside each how training may see it.

    Parameters
    ----------
    tiles
        uint8, (n, T, T, 3): a row of the picture each.
    path
        The PNG to write; it is replaced.
    draws
        Random draws shown of each tile.
    """
    from matplotlib.figure import Figure

    shown: list[NDArray[np.float32]] = [
        np.divide(tiles, 255, dtype=np.float32),
        *_drawn(torch.from_numpy(tiles), config, draws),
    ]
    sheet = _sheet(shown)
    height = _INCHES * len(tiles)
    figure = Figure((_INCHES * len(shown), height + _HEADER), dpi=120)
    axes = figure.add_axes((0, 0, 1, height / (height + _HEADER)))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    top = 1 - 0.1 * _HEADER / (height + _HEADER)
    figure.text(0.5, top, described(config.augment), ha="center", va="top", fontsize=8)
    figure.text(
        0.5 / len(shown), axes.get_position().y1, "tile", ha="center", va="bottom", fontsize=8
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def described(plan: AugmentConfig) -> str:
    """Name what is done to tiles, and how often."""
    often = [
        f"{name} {values['probability']:.0%}"
        for name, values in plan.model_dump().items()
        if isinstance(values, dict) and values["probability"] > 0
    ]
    return " · ".join((["flips"] if plan.flips else []) + often) or "no augmentation"


def _sheet(columns: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Lay images out on white, a column each: one picture, since axes take long to draw."""
    rows, side = columns[0].shape[:2]
    inset = max(1, side // 32)
    cell = side + 2 * inset
    sheet = np.ones((rows * cell, len(columns) * cell, 3), np.float32)
    for column, images in enumerate(columns):
        for row, image in enumerate(images):
            top, left = row * cell + inset, column * cell + inset
            sheet[top : top + side, left : left + side] = image
    return sheet


def _drawn(tiles: Tensor, config: TrainConfig, draws: int) -> list[NDArray[np.float32]]:
    keys = sample_keys(np.tile(np.arange(len(tiles)), draws), seed=config.seed, epoch=0)
    found: list[NDArray[np.float32]] = [
        augment(tiles, config, own).permute(0, 2, 3, 1).numpy() for own in keys.chunk(draws)
    ]
    return found
