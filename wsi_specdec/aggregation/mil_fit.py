"""Learning the attention: from slides of `train`, ended by slides of `validation`."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wsi_specdec.aggregation.mil_network import GatedAttention
from wsi_specdec.aggregation.pooling import Mil, MilWeights, forward
from wsi_specdec.config import MilConfig
from wsi_specdec.errors import ModelError, NotEnoughDataError
from wsi_specdec.losses import SpectralDecoupling
from wsi_specdec.progress import progress

Rows = NDArray[np.float32]
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Bag:
    """One slide to learn from.

    Attributes
    ----------
    name
        Its id.
    label
        0 or 1.
    read
        Reads its embeddings, (n, D), n > 0.
    """

    name: str
    label: int
    read: Callable[[], Rows]


def fit_mil(train: Sequence[Bag], validation: Sequence[Bag], config: MilConfig) -> Mil:
    """Minimise the cross-entropy of `train`, with spectral decoupling where λ is set.

    The weights are those of the epoch of the lowest cross-entropy on `validation`, of equal ones
    the first. On the CPU the same slides, settings and number of threads give the same bits.

    Raises
    ------
    NotEnoughDataError
        If `train` lacks a class, or `validation` is empty.
    ModelError
        If slides have embeddings of several widths, or training diverges.
    """
    if {bag.label for bag in train} != {0, 1} or not validation:
        msg = (
            f"mil learns from slides of both labels and ends by others: train has "
            f"{sum(bag.label == 1 for bag in train)} positive and "
            f"{sum(bag.label == 0 for bag in train)} negative ones with embeddings, validation "
            f"{len(validation)} in all"
        )
        raise NotEnoughDataError(msg)
    rows = _Rows(config.cache_mb)
    mean, scale = _moments(train, rows)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = GatedAttention(mean, scale, config).to(config.device)
        best = _Best(network.tensors(), math.inf, 0)
        for found in _epochs(network, train, validation, rows, config):
            if found.cross_entropy < best.cross_entropy:
                best = found
            elif found.epoch - best.epoch >= config.patience:
                break
    if best.epoch == 0:
        msg = "mil has diverged in its first epoch: lower mil.lr"
        raise ModelError(msg)
    weights = MilWeights.of(best.tensors)
    training = {
        "settings": config.model_dump(mode="json"),
        "epoch": best.epoch,
        "validation_cross_entropy": best.cross_entropy,
        "train_slides": len(train),
    }
    pooler = Mil(n_features=len(mean), weights_sha256=weights.sha256, training=training)
    return pooler.with_weights(weights)


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    tensors: Mapping[str, Rows]
    cross_entropy: float
    epoch: int


class _Rows:
    """Embeddings by slide, kept while they fit."""

    def __init__(self, cache_mb: float) -> None:
        self._left = cache_mb * _MIB
        self._kept: dict[str, Rows] = {}
        self._width: int | None = None

    def of(self, bag: Bag) -> Rows:
        if bag.name in self._kept:
            return self._kept[bag.name]
        rows = bag.read()
        if self._width not in (None, rows.shape[1]):
            msg = (
                f"the embeddings of {bag.name} have {rows.shape[1]} numbers and those of others "
                f"{self._width}: score all slides with one model again"
            )
            raise ModelError(msg)
        self._width = rows.shape[1]
        if rows.nbytes <= self._left:
            self._left -= rows.nbytes
            self._kept[bag.name] = rows
        return rows


def _moments(bags: Sequence[Bag], rows: _Rows) -> tuple[Rows, Rows]:
    """Mean and deviation of the embeddings, each slide counting alike whatever its size."""
    means, squares = [], []
    for bag in bags:
        values = rows.of(bag).astype(np.float64)
        means.append(values.mean(axis=0))
        squares.append(np.square(values).mean(axis=0))
    mean = np.mean(means, axis=0)
    deviation = np.sqrt(np.maximum(np.mean(squares, axis=0) - mean**2, 0))
    scale = np.where(deviation > 1e-6, deviation, 1.0)
    return mean.astype(np.float32), scale.astype(np.float32)


def _epochs(
    network: GatedAttention,
    train: Sequence[Bag],
    validation: Sequence[Bag],
    rows: _Rows,
    config: MilConfig,
) -> Iterator[_Best]:
    """Train epoch by epoch, yielding the weights after each."""
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=config.lr, weight_decay=config.weight_decay
    )
    loss = SpectralDecoupling(config.sd_coef, config.sd_gamma).to(config.device)
    with progress("attention", config.epochs) as tick:
        for epoch in range(1, config.epochs + 1):
            rng = np.random.default_rng([config.seed, epoch])
            order = rng.permutation(len(train))
            network.train()
            for first in range(0, len(order), config.batch_size):
                bags = [train[i] for i in order[first : first + config.batch_size]]
                logits = torch.stack([network(_draw(rows.of(b), rng, config)) for b in bags])
                labels = torch.tensor([bag.label for bag in bags], device=config.device)
                optimiser.zero_grad(set_to_none=True)
                loss(logits, labels).loss.backward()
                optimiser.step()
            tensors = network.tensors()
            found = _Best(tensors, _cross_entropy(tensors, validation, rows), epoch)
            tick(1, f"cross-entropy {found.cross_entropy:.4f}")
            yield found


def _draw(rows: Rows, rng: np.random.Generator, config: MilConfig) -> torch.Tensor:
    if len(rows) > config.max_tiles:
        rows = rows[np.sort(rng.choice(len(rows), config.max_tiles, replace=False))]
    return torch.from_numpy(rows).to(config.device)


def _cross_entropy(tensors: Mapping[str, Rows], bags: Sequence[Bag], rows: _Rows) -> float:
    """Mean cross-entropy of whole slides; infinite where it is not a number."""
    wide = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    terms = []
    for bag in bags:
        with np.errstate(all="ignore"):
            logit, _ = forward(wide, rows.of(bag))
        if not math.isfinite(logit):
            return math.inf
        terms.append(np.logaddexp(0, -logit if bag.label == 1 else logit))
    return float(np.mean(terms))
