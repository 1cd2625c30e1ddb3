"""Two moons: a gap tells them apart at a glance, their shape tells them apart as well.

After figure 1 of Pezeshki et al., "Gradient Starvation", arXiv 2011.09468: the gap is the easy
feature, and a network that has learned nothing else fails where moons reach into each other.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import nn

from wsi_specdec.config import MoonsConfig
from wsi_specdec.losses import SpectralDecoupling

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

# Extent of the plane on which boundaries are found, and its grid.
EXTENT: Final = 2.0
GRID: Final = 201


@dataclass(frozen=True, slots=True)
class Training:
    """One network: its penalty and its seed."""

    sd_coef: float
    weight_decay: float
    seed: int
    config: MoonsConfig


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a network makes of the plane.

    Attributes
    ----------
    plane
        Logits on a grid over [-EXTENT, EXTENT]², float64 (GRID, GRID): rows are the second axis.
    training_accuracy
        Share of the training points that are right.
    margin
        Least distance of a training point to the boundary, in the plane's units.
    accuracy
        Share of test points that are right, for each of the config's `test_gaps`.
    """

    plane: Floats
    training_accuracy: float
    margin: float
    accuracy: tuple[float, ...]


def draw_moons(points: int, gap: float, noise: float, seed: int) -> tuple[Floats, Labels]:
    """Draw two half circles of radius 1, of `points` each, moved apart along the second axis.

    At a gap of 0 the ends of one and the other lie on one line; at -0.5 each reaches halfway into
    the other.

    Returns
    -------
    points, labels
        (2 n, 2) and (2 n,); the upper moon is 1.
    """
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, (2, points))
    spread = noise * rng.standard_normal((2, points, 2))
    upper = np.stack([np.cos(angle[0]) - 0.5, np.sin(angle[0]) + gap / 2], axis=1)
    lower = np.stack([0.5 - np.cos(angle[1]), -np.sin(angle[1]) - gap / 2], axis=1)
    labels = np.repeat([1, 0], points).astype(np.int64)
    return np.concatenate([upper, lower]) + spread.reshape(-1, 2), labels


def parted(points: Floats, labels: Labels, gap: float) -> Floats:
    """Mirror the points that noise has taken across a gap's middle or into it.

    Returns
    -------
    Points of which those of 1 lie above `gap` / 2, and the others below minus that.
    """
    side = 2.0 * labels - 1
    height = side * points[:, 1] - gap / 2
    return np.stack([points[:, 0], side * (np.abs(height) + gap / 2)], axis=1)


def train_on_moons(training: Training) -> Trained:
    """Train a network of one hidden layer by gradient descent with momentum on all points."""
    config = training.config
    points, labels = draw_moons(config.points, config.gap, config.noise, training.seed)
    points = parted(points, labels, config.gap)
    net = _fit(points, labels, training)
    axis = np.linspace(-EXTENT, EXTENT, GRID)
    plane = _logits(net, np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
    plane = plane.reshape(GRID, GRID)
    crossings = boundary(plane)
    tests = [
        # Other points than those of any training.
        draw_moons(config.test_points, gap, config.noise, 10_000 + training.seed)
        for gap in config.test_gaps
    ]
    return Trained(
        plane,
        _accuracy(net, points, labels),
        float(cKDTree(crossings).query(points)[0].min()) if len(crossings) else 0.0,
        tuple(_accuracy(net, *test) for test in tests),
    )


def boundary(plane: Floats) -> Floats:
    """Find where logits on the grid cross 0, by linear interpolation: points (k, 2)."""
    axis = np.linspace(-EXTENT, EXTENT, plane.shape[0])
    step = axis[1] - axis[0]
    found = []
    for along, values in ((1, plane), (0, plane.T)):
        here, there = values[:-1], values[1:]
        row, column = np.nonzero((here > 0) != (there > 0))
        share = here[row, column] / (here[row, column] - there[row, column])
        crossing = axis[row] + step * share
        pair = (axis[column], crossing) if along == 1 else (crossing, axis[column])
        found.append(np.stack(pair, axis=1))
    return np.concatenate(found)


def _fit(points: Floats, labels: Labels, training: Training) -> nn.Module:
    config = training.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        net = nn.Sequential(nn.Linear(2, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 1))
    optimiser = torch.optim.SGD(
        net.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=training.weight_decay,
    )
    loss = SpectralDecoupling(training.sd_coef)
    inputs, target = torch.from_numpy(points).float(), torch.from_numpy(labels)
    for _ in range(config.steps):
        optimiser.zero_grad()
        torch.autograd.backward(loss(net(inputs), target).loss)
        optimiser.step()
    return net


def _logits(net: nn.Module, points: Floats) -> Floats:
    with torch.no_grad():
        logits = net(torch.from_numpy(points).float())[:, 0]
    return np.asarray(logits.numpy(), dtype=np.float64)


def _accuracy(net: nn.Module, points: Floats, labels: Labels) -> float:
    return float(((_logits(net, points) > 0) == (labels == 1)).mean())
