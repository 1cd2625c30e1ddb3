from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from wsi_specdec.config import AugmentConfig, TrainConfig
from wsi_specdec.config.augment import ColourJitter
from wsi_specdec.losses import SpectralDecoupling
from wsi_specdec.models import ModelSpec, build_classifier, preprocess
from wsi_specdec.training.averaging import Average
from wsi_specdec.training.optimiser import make_optimiser
from wsi_specdec.training.ranks import Ranks
from wsi_specdec.training.seeds import sample_keys
from wsi_specdec.training.task import Batch, Task, balanced_weights, train_step

CPU = torch.device("cpu")
LABEL = np.array([0, 1, 2, 2, 0, 1, 2, 2, 2, 0, 1])


def task(config: TrainConfig, loss: SpectralDecoupling, ranks: Ranks | None = None) -> Task:
    torch.manual_seed(0)
    spec = ModelSpec(
        arch=config.model,
        classes=config.classes,
        tile_size=32,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    module = build_classifier(spec)
    return Task(
        module=module,
        network=module,
        optimiser=make_optimiser(module, config),
        loss=loss,
        class_weights=None if loss.class_weights is None else tuple(loss.class_weights.tolist()),
        average=Average.of(module, config),
        spec=spec,
        config=config,
        device=CPU,
        ranks=ranks or Ranks(),
    )


def batch(label: NDArray[np.int64] = LABEL, own: slice = slice(None)) -> Batch:
    tiles = np.random.default_rng(0).integers(0, 256, (len(label), 32, 32, 3), np.uint8)
    keys = sample_keys(np.arange(len(label)), seed=0, epoch=0)
    return Batch(torch.from_numpy(tiles)[own], torch.from_numpy(label)[own], keys[own], own, label)


def gradient(made: Task, of: Batch) -> tuple[Tensor, Tensor]:
    """Gradient of one step as one vector, and what the step reports."""
    report = train_step(made, of, 0.1)
    found = [p.grad.flatten() for p in made.module.parameters() if p.grad is not None]
    return torch.cat(found), report


CONFIG = TrainConfig(
    model="test_vit",
    classes=("a", "b", "c"),
    optimiser="sgd",
    augment=AugmentConfig(colour=ColourJitter(brightness=0.3, contrast=0.3)),
    momentum=0.0,
)
WEIGHTED = SpectralDecoupling((0.1, 0.5, 0.9), (0.0, 1.0, 2.0), class_weights=(1.0, 3.0, 0.2))


@pytest.mark.parametrize("parts", [2, 3, 11])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(parts: int) -> None:
    whole, report = gradient(task(CONFIG, WEIGHTED), batch())
    in_parts = CONFIG.model_copy(update={"accumulate": parts})
    again, reported = gradient(task(in_parts, WEIGHTED), batch())
    torch.testing.assert_close(again, whole, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(reported, report, rtol=1e-5, atol=1e-6)


def test_shares_of_processes_sum_to_the_step_of_the_whole_batch() -> None:
    whole, report = gradient(task(CONFIG, WEIGHTED), batch())
    one, two = (
        gradient(task(CONFIG, WEIGHTED), batch(own=own)) for own in (slice(0, 5), slice(5, 11))
    )
    torch.testing.assert_close(one[0] + two[0], whole, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(one[1] + two[1], report, rtol=1e-5, atol=1e-6)


def test_the_step_is_that_of_torch() -> None:
    config = CONFIG.model_copy(
        update={"augment": AugmentConfig(flips=False, colour=ColourJitter(probability=0))}
    )
    made, of = task(config, WEIGHTED), batch()
    other = task(config, WEIGHTED)
    report = train_step(made, of, 0.1)
    logits = other.module(preprocess(of.tiles, other.spec))
    parts = WEIGHTED(logits, of.label)
    torch.autograd.backward(parts.loss)
    expected = [*parts, logits.abs().mean()]
    torch.testing.assert_close(report, torch.stack(expected).detach())
    for moved, start in zip(made.module.parameters(), other.module.parameters(), strict=True):
        assert start.grad is not None
        decay = config.decay if start.ndim > 1 else 0.0
        torch.testing.assert_close(moved, start - 0.1 * (start.grad + decay * start))


def test_clipping_bounds_the_norm_of_the_whole_gradient() -> None:
    free, _ = gradient(task(CONFIG, WEIGHTED), batch())
    clipped, _ = gradient(task(CONFIG.model_copy(update={"clip_norm": 0.01}), WEIGHTED), batch())
    assert free.norm() > 0.1
    torch.testing.assert_close(clipped, free * (0.01 / free.norm()), rtol=1e-3, atol=1e-7)


def test_balanced_weights_are_scikit_learns() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABEL)
    assert balanced_weights(LABEL, 3) == pytest.approx(expected.tolist())


def test_the_memory_layout_changes_nothing_but_rounding() -> None:
    plain, _ = gradient(task(CONFIG, WEIGHTED), batch())
    rowwise = CONFIG.model_copy(update={"channels_last": False})
    other, _ = gradient(task(rowwise, WEIGHTED), batch())
    torch.testing.assert_close(other, plain, rtol=1e-3, atol=1e-5)


def test_the_judged_network_is_the_mean_where_there_is_one() -> None:
    made = task(CONFIG.model_copy(update={"average": "ema"}), WEIGHTED)
    assert made.average is not None
    assert made.judged is made.average.module
    bare = replace(made, average=None)
    assert bare.judged is bare.module


def test_gradients_are_scaled_for_processes_that_average_them() -> None:
    alone, report = gradient(task(CONFIG, WEIGHTED), batch())
    tripled, same = gradient(task(CONFIG, WEIGHTED, _Silent(0, 3)), batch())
    torch.testing.assert_close(tripled, 3 * alone, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(same, report)


class _Silent(Ranks):
    """One of three processes that hears nothing of the others."""

    def summed(self, values: Tensor) -> Tensor:
        return values
