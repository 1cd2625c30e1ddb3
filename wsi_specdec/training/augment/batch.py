"""The augmentations of a batch, in their order."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from wsi_specdec.config import TrainConfig
from wsi_specdec.config.augment import (
    AugmentConfig,
    BlurJitter,
    ColourJitter,
    CropJitter,
    JpegJitter,
    NoiseJitter,
    SharpenJitter,
    StainJitter,
)
from wsi_specdec.training.augment.colour import relight, saturate, turn_hue
from wsi_specdec.training.augment.draws import Numbers, Step, Stream, around, between, take
from wsi_specdec.training.augment.focus import blur, sharpen
from wsi_specdec.training.augment.geometry import crop, turn
from wsi_specdec.training.augment.sensor import add_noise, compress
from wsi_specdec.training.augment.stain import Stains, restain
from wsi_specdec.training.augment.strong import strong
from wsi_specdec.training.seeds import uniforms


def augment(
    tiles: Tensor, config: TrainConfig, keys: Tensor, stains: Stains | None = None
) -> Tensor:
    """Augment a batch as `config.augment` says, and turn it into fractions.

    Parameters
    ----------
    tiles
        uint8, (n, T, T, 3), on any device; left as they are.
    keys
        int64, (n,), on the CPU: one per tile, and all that its random numbers depend on.
    stains
        Whose stains the tiles have, for `stain`; by default the standard ones.

    Returns
    -------
    float32, (n, 3, T, T) in [0, 1], channels-last in memory, on the tiles' device.
    """
    plan = config.augment
    if plan.flips:
        tiles = turn(tiles, (8 * uniforms(keys, Stream.FLIPS, 1)[:, 0]).astype(np.int64))
    pixels = tiles.permute(0, 3, 1, 2)
    if _tells_channels_apart(plan):
        # What is done to single channels is several times as fast where each lies in one piece.
        pixels = pixels.contiguous()
    pixels = pixels.float().div_(255)
    for step in _steps(plan, stains):
        pixels = take(step, pixels, keys)
    if plan.strong.probability > 0:
        pixels = strong(pixels, keys, plan.strong)
    return pixels.contiguous(memory_format=torch.channels_last)


def _steps(plan: AugmentConfig, stains: Stains | None) -> tuple[Step, ...]:
    """Field of view, staining, light, focus, sensor, file: as they follow on each other."""
    owner = None if stains is None else stains.owner[:, np.newaxis].astype(np.float64)
    restained = partial(_restain, plan.stain, stains)
    return (
        Step(Stream.CROP, plan.crop.probability, 3, partial(_crop, plan.crop)),
        Step(Stream.STAIN, plan.stain.probability, 4, restained, owner),
        Step(Stream.COLOUR, plan.colour.probability, 4, partial(_recolour, plan.colour)),
        Step(Stream.BLUR, plan.blur.probability, 1, partial(_blur, plan.blur)),
        Step(Stream.SHARPEN, plan.sharpen.probability, 1, partial(_sharpen, plan.sharpen)),
        Step(Stream.NOISE, plan.noise.probability, 3, partial(_add_noise, plan.noise)),
        Step(Stream.JPEG, plan.jpeg.probability, 1, partial(_compress, plan.jpeg)),
    )


def _tells_channels_apart(plan: AugmentConfig) -> bool:
    colour = plan.colour.probability > 0 and plan.colour.saturation + plan.colour.hue > 0
    return colour or plan.stain.probability > 0 or plan.strong.probability > 0


def _crop(config: CropJitter, pixels: Tensor, numbers: Numbers) -> Tensor:
    low, high = np.log(config.zoom)
    # As often twice as large as half as large.
    zoom = np.exp(between(numbers[:, 0], (low, high)))
    return crop(pixels, zoom, around(numbers[:, 1:], 0, config.shift))


def _restain(
    config: StainJitter, stains: Stains | None, pixels: Tensor, numbers: Numbers
) -> Tensor:
    alpha = around(numbers[:, :2], 1, config.alpha)
    beta = around(numbers[:, 2:4], 0, config.beta)
    if stains is not None:
        stains = Stains(stains.profiles, numbers[:, 4].astype(np.int64))
    return restain(pixels, alpha, beta, stains)


def _recolour(config: ColourJitter, pixels: Tensor, numbers: Numbers) -> Tensor:
    contrast, brightness, saturation, hue = numbers.T
    if config.contrast + config.brightness > 0:
        pixels = relight(
            pixels, around(contrast, 1, config.contrast), around(brightness, 1, config.brightness)
        )
    if config.saturation > 0:
        pixels = saturate(pixels, around(saturation, 1, config.saturation))
    return turn_hue(pixels, around(hue, 0, config.hue)) if config.hue > 0 else pixels


def _blur(config: BlurJitter, pixels: Tensor, numbers: Numbers) -> Tensor:
    return blur(pixels, between(numbers[:, 0], config.sigma))


def _sharpen(config: SharpenJitter, pixels: Tensor, numbers: Numbers) -> Tensor:
    return sharpen(pixels, between(numbers[:, 0], config.amount), config.sigma)


def _add_noise(config: NoiseJitter, pixels: Tensor, numbers: Numbers) -> Tensor:
    return add_noise(pixels, between(numbers[:, 0], config.std), numbers[:, 1:])


def _compress(config: JpegJitter, pixels: Tensor, numbers: Numbers) -> Tensor:
    return compress(pixels, between(numbers[:, 0], config.quality))
