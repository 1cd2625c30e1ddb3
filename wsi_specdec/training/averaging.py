"""Means of a network's weights over the training, which stand in for its last ones."""

from copy import deepcopy
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from wsi_specdec.config import TrainConfig


class Average:
    """A second network whose weights are a mean of the trained one's.

    Running statistics of batch normalisation are averaged like weights; counters are copied.
    """

    def __init__(self, trained: nn.Module) -> None:
        self.module = deepcopy(trained).requires_grad_(requires_grad=False).eval()
        self._trained, self._counters = _by_kind(trained)
        self._mean, self._own_counters = _by_kind(self.module)

    @classmethod
    def of(cls, trained: nn.Module, config: TrainConfig) -> Self | None:
        """Make one where the config asks for it."""
        return None if config.average == "none" else cls(trained)

    def after_step(self, step: int, config: TrainConfig) -> None:
        """Take in the weights after a step, counted from 0 over all epochs (`ema` alone)."""
        if config.average == "ema":
            self._update(1 - ema_decay(step, config.ema_decay))

    def after_epoch(self, epoch: int, config: TrainConfig) -> None:
        """Take in the weights after an epoch, counted from 0 (`swa` alone)."""
        if config.average == "swa":
            number = epoch - first_averaged(config)
            self._update(1.0 if number < 0 else 1 / (number + 1))

    @torch.no_grad()
    def _update(self, share: float) -> None:
        """Move the mean by a share of the way to the trained weights."""
        if share == 1.0:
            for mean, trained in zip(self._mean, self._trained, strict=True):
                mean.copy_(trained)
        else:
            update = get_ema_multi_avg_fn(1 - share)  # type: ignore[no-untyped-call]
            update(self._mean, self._trained, 0)
        for own, counter in zip(self._own_counters, self._counters, strict=True):
            own.copy_(counter)


def ema_decay(step: int, decay: float) -> float:
    """Decay of the exponential mean after a step: less at first, so that the start is forgotten.

    min(decay, (1 + step) / (10 + step)), as TensorFlow's ExponentialMovingAverage has it.
    """
    return min(decay, (1 + step) / (10 + step))


def first_averaged(config: TrainConfig) -> int:
    """First epoch, counted from 0, whose weights stochastic weight averaging takes in.

    Izmailov et al., arXiv 1803.05407; the schedule of the rate is a setting of its own.
    """
    return int(config.swa_start * config.epochs)


def _by_kind(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Tensors of a network: floating ones, and the others."""
    tensors = list(module.state_dict().values())
    floating = [t for t in tensors if t.is_floating_point()]
    return floating, [t for t in tensors if not t.is_floating_point()]
