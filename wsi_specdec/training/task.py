"""What is trained, and one step of it."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wsi_specdec.config import TrainConfig
from wsi_specdec.losses import LossParts, SpectralDecoupling
from wsi_specdec.models import ModelSpec, standardise
from wsi_specdec.training.augment import Stains, augment
from wsi_specdec.training.averaging import Average
from wsi_specdec.training.optimiser import apply_step
from wsi_specdec.training.ranks import Ranks

# Numbers that a step reports: loss, cross-entropy, penalty, mean |logit|.
REPORTED = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """A process's share of a step.

    Attributes
    ----------
    tiles
        uint8, (n, T, T, 3), on the device.
    label
        int64, (n,), on the device.
    keys
        int64, (n,), on the CPU: what each tile's augmentation is drawn from.
    own
        The share's place in the whole batch.
    whole
        Labels of the whole batch, of all processes: int64, (N,).
    stains
        Whose stains the tiles have, where augmentation is by their slides' own.
    """

    tiles: Tensor
    label: Tensor
    keys: Tensor
    own: slice
    whole: NDArray[np.int64]
    stains: Stains | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained, with what, and how.

    Attributes
    ----------
    module
        The network.
    network
        The same as it is called: compiled, or bound to the other processes' gradients.
    class_weights
        Those of the loss, on the CPU, so that no step waits for an accelerator.
    average
        Mean of its weights, where one is asked for.
    """

    module: nn.Module
    network: nn.Module
    optimiser: torch.optim.Optimizer
    loss: SpectralDecoupling
    class_weights: tuple[float, ...] | None
    average: Average | None
    spec: ModelSpec
    config: TrainConfig
    device: torch.device
    ranks: Ranks

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and kept: the mean where there is one."""
        return self.module if self.average is None else self.average.module

    def forward(
        self, tiles: Tensor, label: Tensor, keys: Tensor, stains: Stains | None = None
    ) -> tuple[LossParts, Tensor]:
        """Augment tiles, run the network, and compute the loss and the mean |logit|."""
        pixels = standardise(augment(tiles, self.config, keys, stains), self.spec)
        if not self.config.channels_last:
            pixels = pixels.contiguous()
        low = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low):
            logits = self.network(pixels)
        return self.loss(logits, label), logits.detach().float().abs().mean()

    def without_exchange(self) -> AbstractContextManager[None]:
        """Keep gradients to this process for now."""
        if self.ranks.count == 1:
            return nullcontext()
        # Compiled or not, it hands this on.
        bound = cast("DistributedDataParallel", self.network)
        held: AbstractContextManager[None] = bound.no_sync()
        return held


def train_step(task: Task, batch: Batch, lr: float) -> Tensor:
    """Take one step of the optimiser at the learning rate `lr`.

    The gradient is that of the mean over the whole batch, in however many parts and processes it
    is computed: Σ wᵢ·CEᵢ / Σ wᵢ with both sums over all of it, and the penalty alike.

    Returns
    -------
    (4,): loss, cross-entropy, penalty and mean |logit| of the whole batch.
    """
    task.optimiser.zero_grad()
    report = torch.zeros(REPORTED, device=task.device)
    parts = list(_parts(batch, task.config.accumulate))
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        with nullcontext() if last else task.without_exchange():
            stains = None if batch.stains is None else batch.stains.part(part)
            tiles_of_part = (batch.tiles[part], batch.label[part], batch.keys[part])
            found, logit = task.forward(*tiles_of_part, stains)
            whole, tiles = _shares(batch, part, task.class_weights)
            scaled = _scaled(found, whole, tiles)
            # Processes' gradients are averaged, and their losses are shares of a sum.
            torch.autograd.backward(scaled.loss * task.ranks.count)
        report += torch.stack([*(value.detach() for value in scaled), logit * tiles])
    apply_step(task.optimiser, task.config, lr)
    return task.ranks.summed(report)


def _parts(batch: Batch, count: int) -> Iterator[slice]:
    bounds = [len(batch.label) * i // count for i in range(count + 1)]
    return (slice(*bound) for bound in pairwise(bounds))


def _shares(
    batch: Batch, part: slice, class_weights: Sequence[float] | None
) -> tuple[float, float]:
    """Share of the whole batch that a part has by class weight, and by number."""
    own = batch.whole[batch.own][part]
    by_number = len(own) / len(batch.whole)
    if class_weights is None or by_number == 1:
        return by_number, by_number
    counts = np.stack(
        [np.bincount(label, minlength=len(class_weights)) for label in (own, batch.whole)]
    )
    of_part, of_whole = counts @ np.asarray(class_weights)
    return float(of_part / of_whole), by_number


def _scaled(found: LossParts, by_weight: float, by_number: float) -> LossParts:
    """Turn means over a part into its share of those over the whole batch."""
    if by_number == 1:
        return found
    base, penalty = found.cross_entropy * by_weight, found.logit_penalty * by_number
    return LossParts(base + penalty, base, penalty)


def balanced_weights(label: NDArray[np.int64], classes: int) -> Sequence[float]:
    """Weight of each class, n / (classes · n of the class), so that all weigh alike together."""
    counts = np.bincount(label, minlength=classes)
    return [float(len(label) / (classes * count)) for count in counts]
