"""A picture of what augmentation does to tiles."""

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

_INCHES: Final = 1.2


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
    rows, columns = len(tiles), len(shown)
    figure = Figure((_INCHES * columns, _INCHES * rows + 0.5), dpi=120, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for column, images in enumerate(shown):
        for row, image in enumerate(images):
            axes[row, column].imshow(image, vmin=0, vmax=1, interpolation="nearest")
            axes[row, column].set_axis_off()
    axes[0, 0].set_title("tile", fontsize=8)
    figure.suptitle(described(config.augment), fontsize=8)
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


def _drawn(tiles: Tensor, config: TrainConfig, draws: int) -> list[NDArray[np.float32]]:
    keys = sample_keys(np.tile(np.arange(len(tiles)), draws), seed=config.seed, epoch=0)
    found: list[NDArray[np.float32]] = [
        augment(tiles, config, own).permute(0, 2, 3, 1).numpy() for own in keys.chunk(draws)
    ]
    return found
