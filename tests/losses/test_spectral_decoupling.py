import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, log_softmax
from torch import Tensor, nn
from torch.nn import functional

from wsi_specdec.errors import ConfigError, ModelError
from wsi_specdec.losses import SpectralDecoupling


def _batch(n: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=generator, dtype=torch.float64) * 3
    target = torch.randint(max(2, classes), (n,), generator=generator)
    return logits, target


def test_binary_loss_equals_the_closed_form() -> None:
    logits = torch.tensor([[1.5], [-0.5], [3.0]], dtype=torch.float64)
    target = torch.tensor([1, 1, 0])
    parts = SpectralDecoupling(0.3, gamma=0.5)(logits, target)
    z = np.array([1.5, -0.5, 3.0])
    cross_entropy = -np.log(expit(z * np.array([1, 1, -1]))).mean()
    penalty = 0.3 / 2 * ((z - 0.5) ** 2).mean()
    assert float(parts.cross_entropy) == pytest.approx(cross_entropy, rel=1e-12)
    # λ and gamma are kept in float32.
    assert float(parts.logit_penalty) == pytest.approx(penalty, rel=1e-7)
    assert float(parts.loss) == pytest.approx(cross_entropy + penalty, rel=1e-7)


def test_the_penalty_of_several_classes_is_summed_over_them() -> None:
    logits, target = _batch(7, 4)
    parts = SpectralDecoupling(0.25)(logits, target)
    z, t = logits.numpy(), target.numpy()
    cross_entropy = -log_softmax(z, axis=1)[np.arange(7), t].mean()
    assert float(parts.cross_entropy) == pytest.approx(cross_entropy, rel=1e-12)
    assert float(parts.logit_penalty) == pytest.approx(0.125 * (z**2).sum(1).mean(), rel=1e-12)


@pytest.mark.parametrize("classes", [1, 3])
def test_lambda_and_gamma_are_chosen_by_the_target(classes: int) -> None:
    logits, target = _batch(9, classes, seed=1)
    n_classes = max(2, classes)
    sd_coef, gamma = np.linspace(0.25, 1, n_classes), np.linspace(-1, 2, n_classes)
    parts = SpectralDecoupling(sd_coef.tolist(), gamma.tolist())(logits, target)
    t = target.numpy()
    squared = ((logits.numpy() - gamma[t][:, None]) ** 2).sum(1)
    assert float(parts.logit_penalty) == pytest.approx((sd_coef[t] / 2 * squared).mean(), rel=1e-6)


@pytest.mark.parametrize("sd_coef", [0.01, 0.3, 2.0])
def test_a_separable_sample_rests_where_lambda_y_is_sigmoid_of_minus_y(sd_coef: float) -> None:
    logit = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    loss = SpectralDecoupling(sd_coef)
    # The curvature lies between λ and λ + 1/4, so that this step always contracts.
    for _ in range(700):
        (slope,) = torch.autograd.grad(loss(logit, torch.tensor([1])).loss, logit)
        logit = (logit - slope / (sd_coef + 0.25)).detach().requires_grad_()
    expected = brentq(lambda y: sd_coef * y - expit(-y), 0, 100)
    assert float(logit.detach()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("classes", "sd_coef", "gamma"),
    [(1, 0.5, 0.3), (1, [0.1, 2.0], [-1.0, 1.5]), (3, 0.5, 0.0), (3, [0.1, 0.2, 3.0], 1.0)],
)
def test_gradients_equal_finite_differences(
    classes: int, sd_coef: float | list[float], gamma: float | list[float]
) -> None:
    logits, target = _batch(5, classes, seed=2)
    logits.requires_grad_()
    weights = np.linspace(0.5, 2, max(2, classes)).tolist()
    loss = SpectralDecoupling(sd_coef, gamma, class_weights=weights)
    assert torch.autograd.gradcheck(lambda z: loss(z, target).loss, (logits,))


@given(st.integers(1, 40), st.sampled_from([1, 2, 5]), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_without_lambda_it_is_the_base_loss_bit_for_bit(n: int, classes: int, seed: int) -> None:
    drawn, target = _batch(n, classes, seed)
    ours = drawn.float().requires_grad_()
    base = drawn.float().requires_grad_()
    parts = SpectralDecoupling(0.0, gamma=3.0)(ours, target)
    if classes == 1:
        expected = functional.binary_cross_entropy_with_logits(base[:, 0], target.float())
    else:
        expected = functional.cross_entropy(base, target)
    torch.autograd.backward([parts.loss, expected])
    assert torch.equal(parts.loss, expected)
    assert torch.equal(parts.cross_entropy, expected)
    assert float(parts.logit_penalty) == 0
    assert ours.grad is not None
    assert base.grad is not None
    assert torch.equal(ours.grad, base.grad)


def test_without_lambda_an_overflowing_logit_adds_nothing() -> None:
    parts = SpectralDecoupling(0.0)(torch.tensor([[1e30]]), torch.tensor([1]))
    assert float(parts.loss) == 0


def test_class_weights_average_as_torch_does() -> None:
    logits, target = _batch(11, 1, seed=3)
    pair = torch.cat([torch.zeros_like(logits), logits], dim=1)
    expected = functional.cross_entropy(pair, target, torch.tensor([0.25, 4.0]).double())
    for given_logits in (logits, pair):
        parts = SpectralDecoupling(class_weights=[0.25, 4.0])(given_logits, target)
        assert float(parts.loss) == pytest.approx(float(expected), rel=1e-9)


def test_a_softmax_pair_needs_twice_the_lambda_of_one_logit() -> None:
    logits, target = _batch(6, 1, seed=4)
    pair = torch.cat([-logits / 2, logits / 2], dim=1)
    one = SpectralDecoupling(0.25)(logits, target)
    two = SpectralDecoupling(0.5)(pair, target)
    assert float(two.loss) == pytest.approx(float(one.loss), rel=1e-9)


def test_under_autocast_the_loss_is_float32() -> None:
    drawn, target = _batch(8, 1, seed=5)
    logits = drawn.bfloat16()
    loss = SpectralDecoupling(0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(logits, target)
    outside = loss(logits.float(), target)
    assert inside.loss.dtype == torch.float32
    assert torch.equal(inside.loss, outside.loss)


def test_settings_follow_the_module_but_not_its_weights() -> None:
    loss = SpectralDecoupling(0.5, gamma=[0.0, 1.0], class_weights=[1.0, 2.0])
    assert loss.state_dict() == {}
    moved = loss.to("meta")
    assert {buffer.device.type for buffer in moved.buffers()} == {"meta"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"sd_coef": -0.1},
        {"sd_coef": math.nan},
        {"gamma": math.inf},
        {"sd_coef": []},
        {"sd_coef": [0.1, 0.2], "gamma": [0.0, 1.0, 2.0]},
        {"class_weights": [1.0, -1.0]},
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, list[float]]) -> None:
    with pytest.raises(ConfigError):
        SpectralDecoupling(**arguments)


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (torch.zeros(3), torch.zeros(3).long(), "(N, 1)"),
        (torch.zeros(3, 1), torch.zeros(2).long(), "(N, 1)"),
        (torch.zeros(0, 1), torch.zeros(0).long(), "N > 0"),
        (torch.zeros(3, 1), torch.zeros(3), "integer"),
        (torch.zeros(3, 1), torch.tensor([0, 1, 2]), "0 to 1"),
        (torch.zeros(3, 1), torch.tensor([0, -1, 1]), "0 to 1"),
        (torch.zeros(3, 3), torch.tensor([0, 1, 2]), "set up for 2 classes"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(logits: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        SpectralDecoupling(0.1, gamma=[0.0, 1.0])(logits, target)
    assert message in str(caught.value)


def _moons(n: int, gap: float) -> tuple[Tensor, Tensor]:
    """Two half circles apart by `gap` along the second axis, so that it alone separates them."""
    angle = torch.linspace(0, math.pi, n)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() + gap / 2], dim=1)
    lower = torch.stack([0.5 - angle.cos(), -angle.sin() - gap / 2], dim=1)
    return torch.cat([upper, lower]), torch.cat([torch.ones(n), torch.zeros(n)]).long()


def _tilt_of_boundary(sd_coef: float) -> float:
    """How far the boundary falls from x = -1/2 to x = 1/2; 0 for one that sees the gap alone."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(2, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 1)
    )
    points, target = _moons(100, gap=0.3)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    loss = SpectralDecoupling(sd_coef)
    for _ in range(400):
        optimiser.zero_grad()
        torch.autograd.backward(loss(net(points), target).loss)
        optimiser.step()
    with torch.no_grad():
        assert torch.equal(net(points)[:, 0] > 0, target == 1)
        height = torch.linspace(-1.0, 1.0, 401)
        sides = (net(torch.stack([torch.full_like(height, x), height], 1)) for x in (-0.5, 0.5))
        left, right = (float(height[(side[:, 0] > 0).float().argmax()]) for side in sides)
    return left - right


def test_on_two_moons_cross_entropy_sees_the_easy_feature_and_decoupling_both() -> None:
    # The widest margin at these two x would tilt the boundary by about 1.
    assert abs(_tilt_of_boundary(0.0)) < 0.2
    assert _tilt_of_boundary(1.0) > 0.4
