r"""Two features in a linear system: what gradient descent learns of each, and what theory says.

Two samples with targets :math:`y_i = \pm 1` have features :math:`\Phi` (2, P) with
:math:`Y\Phi = U S V^T`: the columns of V are the features, :math:`s_1 \ge s_2` their strengths, and
U says how much of each a sample holds. The *responses* :math:`z = U^T Y \hat y = S V^T \theta` say
how much of each has been learnt. With :math:`\mu/2 \cdot \|\theta\|^2` as weight decay and
:math:`\lambda/2` times the mean of :math:`\hat y^2` as spectral decoupling, gradient flow on the
mean cross-entropy is

.. math::

    \dot z = S^2 \left(U^T \sigma(-Uz) - \lambda z\right) / 2 - \mu z .

Weight decay alone comes to rest where :math:`2 \mu z = S^2 U^T \sigma(-Uz)`: the response of the
weak feature falls as the other one grows stronger, which is gradient starvation. Spectral
decoupling alone comes to rest where every sample has the same margin q, with
:math:`\lambda q = \sigma(-q)`, so that :math:`z = q\,U^T 1` whatever the strengths; and there the
linearised flow is diagonal: each response approaches at its own rate
:math:`s_j^2 (\lambda + \sigma'(q)) / 2`.

After Pezeshki et al., "Gradient Starvation: A Learning Proclivity in Neural Networks", arXiv
2011.09468, sections 2 and 3, which states the loss as a sum over the samples and solves it by its
dual. Without a penalty nothing comes to rest, and only the flow is predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, root
from scipy.special import expit

from wsi_specdec.losses import SpectralDecoupling

Floats = NDArray[np.float64]

_SAMPLES: Final = 2
_START: Final = 1e-3


@dataclass(frozen=True, slots=True)
class System:
    """Two samples with two features.

    Attributes
    ----------
    angle
        Of U, a rotation, in radians: at 0 each sample has a feature of its own, at π/4 the first
        feature serves both alike and the second says nothing.
    strengths
        Of the features, positive.
    """

    angle: float
    strengths: tuple[float, float]

    @property
    def shares(self) -> Floats:
        """U, (samples, features)."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])

    @property
    def squared(self) -> Floats:
        """The diagonal of S², (2,)."""
        return np.array(self.strengths, dtype=np.float64) ** 2

    def speed(self, response: Floats, sd_coef: float, weight_decay: float) -> Floats:
        """How fast responses (2,) change under gradient flow."""
        pull = self.shares.T @ expit(-self.shares @ response)
        moved = self.squared * (pull - sd_coef * response) / _SAMPLES
        return np.asarray(moved - weight_decay * response)


def margin_at_rest(sd_coef: float) -> float:
    """Solve λ q = σ(-q), the margin of every sample under spectral decoupling of λ > 0."""
    return float(brentq(lambda q: sd_coef * q - expit(-q), 0.0, 0.5 / sd_coef))


def response_at_rest(system: System, sd_coef: float, weight_decay: float) -> Floats:
    """Return the responses (2,) at which gradient flow comes to rest.

    Raises
    ------
    ValueError
        If neither penalty is positive: then nothing comes to rest.
    """
    if not (sd_coef > 0 or weight_decay > 0):
        msg = "without a penalty the responses grow for ever; see `flow`"
        raise ValueError(msg)
    if weight_decay == 0:
        return np.asarray(margin_at_rest(sd_coef) * system.shares.sum(axis=0))
    # The loss is strictly convex in the parameters, so that there is one solution; dividing by S²
    # keeps the two equations of one size.
    found = root(
        lambda z: system.speed(z, sd_coef, weight_decay) / system.squared,
        system.shares.sum(axis=0),
        tol=1e-13,
    )
    return np.asarray(found.x, dtype=np.float64)


def rates_at_rest(system: System, sd_coef: float) -> Floats:
    """Return the rate (2,), per unit of time, of each response's approach under decoupling."""
    share = expit(margin_at_rest(sd_coef))
    return np.asarray(system.squared * (sd_coef + share * (1 - share)) / _SAMPLES)


def flow(system: System, sd_coef: float, weight_decay: float, times: Floats) -> Floats:
    """Integrate gradient flow from no response at all.

    Parameters
    ----------
    times
        (K,), ascending from 0 on; steps of gradient descent times its learning rate.

    Returns
    -------
    Responses, (K, 2).
    """
    solved = solve_ivp(
        lambda _, z: system.speed(z, sd_coef, weight_decay),
        (0.0, float(times[-1])),
        np.zeros(2),
        method="LSODA",
        t_eval=times,
        rtol=1e-9,
        atol=1e-11,
    )
    return np.asarray(solved.y.T, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Descent:
    """How gradient descent is done."""

    sd_coef: float
    weight_decay: float
    lr: float
    steps: int
    parameters: int


@dataclass(frozen=True, slots=True, eq=False)
class LinearRun:
    """One arm's linear models.

    Attributes
    ----------
    steps
        (K,), at which responses were recorded.
    responses, flow
        By gradient descent and by gradient flow, (K, seeds, strengths, 2).
    expected
        What theory says of the end, (seeds, strengths, 2): rest, or the flow where there is none.
    """

    steps: Floats
    responses: Floats
    flow: Floats
    expected: Floats


def descend(
    systems: Sequence[System], seeds: Sequence[int], how: Descent, every: int
) -> tuple[Floats, Floats]:
    """Train linear models by gradient descent on the package's own loss, all at once.

    Parameters
    ----------
    systems, seeds
        A model for each pair of them; the seed draws V, the targets' signs and where it starts.
    every
        Steps from one record of the responses to the next.

    Returns
    -------
    steps, responses
        (K,) from 0 on, and (K, models, 2).
    """
    drawn = [_features(s, seed, how.parameters) for s, seed in zip(systems, seeds, strict=True)]
    features, targets, starts = (
        torch.from_numpy(np.stack(each)) for each in zip(*drawn, strict=True)
    )
    target, theta = targets.flatten(), starts.requires_grad_()
    signed = torch.from_numpy(np.stack([s.shares for s in systems])).mT * (2 * targets - 1)[:, None]
    # The loss is a mean over all models' samples; each one's own gradient is so many times more.
    optimiser = torch.optim.SGD([theta], lr=how.lr, weight_decay=how.weight_decay)
    loss = SpectralDecoupling(how.sd_coef)
    records = []
    for step in range(how.steps + 1):
        logits = (features @ theta[:, :, None])[..., 0]
        if step % every == 0:
            records.append((signed @ logits.detach()[..., None])[..., 0].numpy())
        optimiser.zero_grad()
        torch.autograd.backward(loss(logits.reshape(-1, 1), target).loss * len(systems))
        optimiser.step()
    return np.arange(len(records), dtype=np.float64) * every, np.stack(records)


def _features(
    system: System, seed: int, parameters: int
) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Draw Φ (2, P), the targets (2,) and the first parameters (P,)."""
    rng = np.random.default_rng(seed)
    right, _ = np.linalg.qr(rng.standard_normal((parameters, 2)))
    targets = rng.integers(0, 2, _SAMPLES)
    held = system.shares @ np.diag(system.strengths) @ right.T
    start = np.asarray(_START * rng.standard_normal(parameters), dtype=np.float64)
    signed: Floats = (2.0 * targets - 1)[:, None] * held
    return signed, targets, start
