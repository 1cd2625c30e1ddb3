"""From tiles to logits and probabilities."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor, nn

from wsi_specdec.models.build import IN_CHANS
from wsi_specdec.models.spec import ModelSpec

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
        weights = torch.tensor(_LUMA, device=pixels.device).view(1, 3, 1, 1)
        luma = (pixels * weights).sum(dim=1, keepdim=True)
        return luma.sub_(sum(spec.mean) / 3).div_(sum(spec.std) / 3)
    mean = torch.tensor(spec.mean, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=pixels.device).view(1, 3, 1, 1)
    return pixels.sub_(mean).div_(std)


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
        with torch.inference_mode():
            batch = torch.from_numpy(tiles).to(device)
            logits: NDArray[np.float32] = module(preprocess(batch, spec)).float().cpu().numpy()
    finally:
        module.train(training)
    return logits


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
