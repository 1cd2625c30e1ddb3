import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from wsi_specdec.config import TrainConfig
from wsi_specdec.training.optimiser import apply_step, learning_rate, make_optimiser


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


def test_a_constant_rate_stays_after_its_warm_up() -> None:
    config = TrainConfig(epochs=3, warmup_epochs=1, lr=0.5, schedule="constant")
    rates = [learning_rate(step, 4, config) for step in range(12)]
    assert rates == pytest.approx([0.125, 0.25, 0.375, *[0.5] * 9])


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_its_closed_form(nesterov: bool) -> None:
    config = TrainConfig(
        optimiser="sgd", momentum=0.8, nesterov=nesterov, weight_decay=0.3, decay_all=True
    )
    module = nn.Linear(3, 2)
    optimiser = make_optimiser(module, config)
    expected = {name: p.detach().clone() for name, p in module.named_parameters()}
    velocity: dict[str, torch.Tensor] = {}
    for lr in (0.1, 0.05, 0.2):
        for name, parameter in module.named_parameters():
            parameter.grad = torch.full_like(parameter, 0.5)
            push = 0.5 + 0.3 * expected[name]
            velocity[name] = 0.8 * velocity[name] + push if name in velocity else push
            move = push + 0.8 * velocity[name] if nesterov else velocity[name]
            expected[name] = expected[name] - lr * move
        apply_step(optimiser, config, lr)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name])


def test_clipping_bounds_the_norm_of_all_gradients_together() -> None:
    config = TrainConfig(optimiser="sgd", momentum=0.0, weight_decay=0.0, clip_norm=1.0)
    module = nn.Linear(2, 2)
    before = module.weight.detach().clone(), module.bias.detach().clone()
    optimiser = make_optimiser(module, config)
    module.weight.grad, module.bias.grad = torch.full((2, 2), 2.0), torch.full((2,), -2.0)
    apply_step(optimiser, config, 0.1)
    part = 0.1 / 6**0.5
    torch.testing.assert_close(module.weight.detach(), before[0] - part)
    torch.testing.assert_close(module.bias.detach(), before[1] + part)
