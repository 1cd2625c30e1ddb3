"""From tiles to logits, embeddings and probabilities."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor, nn

from wsi_specdec.errors import ModelError
from wsi_specdec.models.build import IN_CHANS
from wsi_specdec.models.spec import ModelSpec

Precision = Literal["float32", "bfloat16"]

_LUMA = (0.299, 0.587, 0.114)


def preprocess(tiles: Tensor, spec: ModelSpec) -> Tensor:
    """Normalise tiles to what the network takes.

    Parameters
    ----------
    tiles
        uint8, (n, T, T, 3), on any device.

    Returns
    -------
    float32, (n, channels, T, T), channels-last in memory.
    """
    return standardise(tiles.permute(0, 3, 1, 2).float().div_(255), spec)


def standardise(pixels: Tensor, spec: ModelSpec) -> Tensor:
    """Centre and scale pixels (n, 3, T, T) in [0, 1] by the spec's constants, in place.

    A network of one channel (`in_chans` in `arch_args`) gets their luma, (n, 1, T, T), by the
    weights of ITU-R BT.601; the mean over the channels of each constant goes with it.
    """
    if spec.arch_args.get(IN_CHANS, 3) == 1:
        luma = (pixels * _by_channel(_LUMA, pixels.device)).sum(dim=1, keepdim=True)
        return luma.sub_(sum(spec.mean) / 3).div_(sum(spec.std) / 3)
    mean, std = (_by_channel(values, pixels.device) for values in (spec.mean, spec.std))
    return pixels.sub_(mean).div_(std)


@lru_cache(maxsize=32)
def _by_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Constants of channels, (1, c, 1, 1); made anew for each batch, a GPU would wait for each."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, device=device).view(1, -1, 1, 1)


class Outputs(NamedTuple):
    """What a network says of tiles, on its device: float32, (n, outputs) and (n, features)."""

    logits: Tensor
    embeddings: Tensor | None


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network in evaluation mode, ready for batches of tiles.

    Attributes
    ----------
    module, spec
        The network, on its device, and what it is.
    precision
        Of its computations; "bfloat16" casts as `torch.autocast` does.
    symmetries
        How many of the square's symmetries logits and embeddings are the mean of, 1 to 8: the tile
        as it is, mirrored, upside down, turned by half; then the same four transposed.
    embeds
        Whether the pooled features that the last layer takes are wanted too.
    """

    module: nn.Module
    spec: ModelSpec
    precision: Precision = "float32"
    symmetries: int = 1
    embeds: bool = False

    def __call__(self, tiles: Tensor) -> Outputs:
        """Run the network; a GPU may still be at work when this returns.

        Parameters
        ----------
        tiles
            uint8, (n, T, T, 3), n >= 1, on the network's device; stain-normalised where the spec
            says so.
        """
        low = self.precision == "bfloat16"
        with (
            torch.inference_mode(),
            torch.autocast(tiles.device.type, torch.bfloat16, enabled=low),
        ):
            pixels = preprocess(tiles, self.spec)
            seen = [self._forward(turned(pixels, number)) for number in range(self.symmetries)]
            logits = _mean([logits for logits, _ in seen])
            features = [features for _, features in seen if features is not None]
            return Outputs(logits, _mean(features) if features else None)

    @property
    def n_features(self) -> int:
        """Width of the embeddings."""
        device = next(self.module.parameters()).device
        size = self.spec.tile_size
        blank = torch.zeros((1, size, size, 3), dtype=torch.uint8, device=device)
        with torch.inference_mode():
            return _embedded(self.module, preprocess(blank, self.spec))[1].shape[1]

    def _forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.embeds:
            return _embedded(self.module, pixels)
        return self.module(pixels), None


def turned(pixels: Tensor, number: int) -> Tensor:
    """Apply one of the square's eight symmetries to pixels (n, c, T, T), by its number."""
    if number & 4:
        pixels = pixels.transpose(-1, -2).contiguous(memory_format=torch.channels_last)
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if number & bit]
    return pixels.flip(axes) if axes else pixels


def _mean(parts: list[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0].float()
    return torch.stack([part.float() for part in parts]).mean(dim=0)


def _embedded(module: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the pooled features before the last layer, (n, D)."""
    network: Any = module
    if not hasattr(network, "forward_features") or not hasattr(network, "forward_head"):
        msg = f"{type(module).__name__} has no embeddings: it lacks timm's forward_features"
        raise ModelError(msg)
    features = network.forward_features(pixels)
    pooled: Tensor = network.forward_head(features, pre_logits=True)
    return network.forward_head(features), pooled.flatten(1)


def predict_logits(
    module: nn.Module, spec: ModelSpec, tiles: NDArray[np.uint8], device: torch.device
) -> NDArray[np.float32]:
    """Run the network over one batch, in evaluation mode; its mode is restored.

    Parameters
    ----------
    tiles
        uint8, (n, T, T, 3), n may be 0; already stain-normalised where the spec says so.

    Returns
    -------
    float32, (n, `spec.n_outputs`).
    """
    if len(tiles) == 0:
        return np.empty((0, spec.n_outputs), np.float32)
    training = module.training
    module.eval()
    try:
        logits = Predictor(module, spec)(torch.from_numpy(tiles).to(device)).logits
    finally:
        module.train(training)
    return np.asarray(logits.cpu().numpy(), np.float32)


def probabilities(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Calibrated probabilities: sigmoid of one logit, softmax of several, over the temperature.

    Parameters
    ----------
    logits
        (n, k).

    Returns
    -------
    float32, (n, k).
    """
    scaled = np.asarray(logits, np.float64) / temperature
    probs = expit(scaled) if logits.shape[1] == 1 else softmax(scaled, axis=1)
    return np.asarray(probs, np.float32)
