import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from wsi_specdec.config import TrainConfig
from wsi_specdec.training.optimiser import learning_rate, make_optimiser


def test_the_rate_warms_up_linearly_and_falls_as_a_cosine() -> None:
    config = TrainConfig(epochs=4, warmup_epochs=1, lr=0.5)
    rates = [learning_rate(step, 10, config) for step in range(40)]
    assert rates[:10] == pytest.approx([0.05 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(0.5)
    assert rates[25] == pytest.approx(0.25)
    assert rates[39] == pytest.approx(0.25 * (1 + math.cos(math.pi * 29 / 30)))
    assert all(a > b for a, b in pairwise(rates[10:]))


@pytest.mark.parametrize("warmup", [0.0, 0.25, 1.0, 5.0])
def test_the_rate_stays_in_bounds_for_any_warm_up(warmup: float) -> None:
    config = TrainConfig(epochs=1, warmup_epochs=warmup, lr=0.5)
    rates = [learning_rate(step, 8, config) for step in range(8)]
    assert all(0 < rate <= 0.5 for rate in rates)
    assert max(rates) == 0.5


def test_decay_is_for_matrices_and_kernels_alone() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 1))
    optimiser = make_optimiser(module, TrainConfig(weight_decay=0.3))
    decay = {
        id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]
    }
    for parameter in module.parameters():
        assert decay[id(parameter)] == (0.3 if parameter.ndim > 1 else 0.0)


def test_decay_shrinks_weights_by_rate_times_decay() -> None:
    module = nn.Linear(4, 2)
    before = {k: v.detach().clone() for k, v in module.named_parameters()}
    optimiser = make_optimiser(module, TrainConfig(weight_decay=0.3, lr=0.01))
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    torch.testing.assert_close(module.weight.detach(), before["weight"] * (1 - 0.01 * 0.3))
    assert torch.equal(module.bias.detach(), before["bias"])
