r"""Spectral decoupling: an L2 penalty on the logits in place of one on the weights.

With logits :math:`\hat y_i \in \mathbb{R}^C` (C = 1 for two classes), targets :math:`t_i` and a
batch of N,

.. math::

    L = \mathrm{CE}(\hat y, t)
        + \frac{1}{N} \sum_i \frac{\lambda_{t_i}}{2}
          \sum_c \left(\hat y_{ic} - \gamma_{t_i}\right)^2 .

Pezeshki et al., "Gradient Starvation: A Learning Proclivity in Neural Networks",
arXiv 2011.09468 (section "Spectral Decoupling"; one λ and gamma per class is the form it uses on
imbalanced CelebA); used on whole-slide images by Pohjonen et al., "Spectral decoupling allows
training transferable neural networks in medical imaging", arXiv 2103.17171.

Entering a λ from elsewhere
---------------------------
The penalty here is a *sum* over classes, a *mean* over the batch, times *one half*. A coefficient
`c` of another convention means the same loss when

============================================ =============================
their penalty                                `sd_coef` here
============================================ =============================
`c / 2 * (logits ** 2).sum(1).mean()`        `c`
`c * (logits ** 2).sum(1).mean()`            `2 * c`
`c * (logits ** 2).mean()`, over N and C     `2 * c / C`
`c / 2 * (logits ** 2).mean()`               `c / C`
all of it summed over the batch, CE too      `c`; with SGD, their lr times N
penalty summed over the batch, CE averaged   times N on top of the above
============================================ =============================

For two classes as two logits (softmax) the difference of the logits takes the part of the single
logit: a penalty of `c` on the pair ±ŷ/2 is a penalty of `c / 2` on ŷ.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsi_specdec.errors import ConfigError, ModelError

PerClass = float | Sequence[float]


class LossParts(NamedTuple):
    """The loss by its parts, scalar tensors: `loss` = `cross_entropy` + `logit_penalty`."""

    loss: Tensor
    cross_entropy: Tensor
    logit_penalty: Tensor


class SpectralDecoupling(nn.Module):
    r"""Cross-entropy plus λ/2 · mean over the batch of ‖ŷ - gamma‖², summed over classes.

    Parameters
    ----------
    sd_coef
        λ ≥ 0: one number, or one per *target* class (gradient starvation under imbalance).
        Where every λ is 0 the loss is the base loss, bit for bit.
    gamma
        The logit that is not penalised: one number, or one per target class.
    class_weights
        One weight per target class for the cross-entropy, whose mean is then Σ wᵢ·CEᵢ / Σ wᵢ
        (torch's convention). The penalty is not weighted; give `sd_coef` per class for that.

    Notes
    -----
    Under autocast the loss is computed in float32; float64 logits stay float64.

    Raises
    ------
    ConfigError
        If λ or a weight is negative or not finite, or the per-class settings differ in length.

    Examples
    --------
    >>> loss = SpectralDecoupling(sd_coef=0.5)
    >>> parts = loss(torch.tensor([[2.0], [-2.0]]), torch.tensor([1, 0]))
    >>> round(float(parts.logit_penalty), 6)
    1.0
    """

    sd_coef: Tensor
    gamma: Tensor
    class_weights: Tensor | None

    def __init__(
        self,
        sd_coef: PerClass = 0.0,
        gamma: PerClass = 0.0,
        *,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        coefficient = _setting(sd_coef, "sd_coef", lowest=0.0)
        weights = None if class_weights is None else _setting(class_weights, "class_weights", 0.0)
        self.register_buffer("sd_coef", coefficient, persistent=False)
        self.register_buffer("gamma", _setting(gamma, "gamma"), persistent=False)
        self.register_buffer("class_weights", weights, persistent=False)
        self._penalised = bool(coefficient.any())
        self._n_classes = _common_length(self.sd_coef, self.gamma, weights)

    def forward(self, logits: Tensor, target: Tensor) -> LossParts:
        """Compute the loss.

        Parameters
        ----------
        logits
            Shape (N, 1), the positive class against the other, or (N, C); any floating dtype.
        target
            Class indices, shape (N,), an integer dtype.

        Raises
        ------
        ModelError
            If the shapes, dtypes or classes do not fit each other.
        """
        _check(logits, target, self._n_classes)
        with torch.autocast(logits.device.type, enabled=False):
            wide = logits if logits.dtype == torch.float64 else logits.float()
            base = _cross_entropy(wide, target, self.class_weights)
            if not self._penalised:
                return LossParts(base, base, torch.zeros_like(base))
            penalty = logit_penalty(wide, target, self.sd_coef, self.gamma)
            return LossParts(base + penalty, base, penalty)

    def extra_repr(self) -> str:
        """Show λ and gamma."""
        return f"sd_coef={self.sd_coef.tolist()}, gamma={self.gamma.tolist()}"


def logit_penalty(logits: Tensor, target: Tensor, sd_coef: Tensor, gamma: Tensor) -> Tensor:
    """Mean over the batch of λ/2 · ‖ŷ - gamma‖², a scalar tensor.

    Parameters
    ----------
    logits, target
        Shapes (N, C) and (N,).
    sd_coef, gamma
        λ and gamma: scalar tensors, or of shape (classes,), then chosen by each sample's target.
    """
    center = gamma[target][:, None] if gamma.ndim else gamma  # (N, 1) or ()
    squared = (logits - center).square().sum(dim=1)  # (N,)
    if sd_coef.ndim:
        squared = sd_coef[target] * squared
        return 0.5 * squared.mean()
    return 0.5 * sd_coef * squared.mean()


def _cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    if weights is not None:
        weights = weights.to(logits.dtype)
    if logits.shape[1] > 1:
        return functional.cross_entropy(logits, target.long(), weight=weights)
    truth = target.to(logits.dtype)
    if weights is None:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], truth)
    each = weights[target.long()]
    terms = functional.binary_cross_entropy_with_logits(logits[:, 0], truth, reduction="none")
    return (each * terms).sum() / each.sum()


def _setting(value: PerClass, name: str, lowest: float | None = None) -> Tensor:
    tensor = torch.as_tensor(value, dtype=torch.float32)
    below = lowest is not None and bool((tensor < lowest).any())
    if tensor.ndim > 1 or tensor.numel() == 0 or below or not bool(tensor.isfinite().all()):
        rule = "finite" if lowest is None else f"finite and at least {lowest:g}"
        msg = f"{name} must be one number or one per class, each {rule}; got {value}"
        raise ConfigError(msg)
    return tensor


def _common_length(*settings: Tensor | None) -> int | None:
    lengths = {len(setting) for setting in settings if setting is not None and setting.ndim}
    if len(lengths) > 1:
        msg = (
            f"sd_coef, gamma and class_weights speak of {sorted(lengths)} classes; give one number"
        )
        raise ConfigError(msg)
    return lengths.pop() if lengths else None


def _check(logits: Tensor, target: Tensor, n_classes: int | None) -> None:
    if logits.ndim != 2 or target.shape != logits.shape[:1] or 0 in logits.shape:
        shapes = f"{tuple(logits.shape)} and {tuple(target.shape)}"
        msg = f"the loss takes logits (N, 1) or (N, C) and targets (N,), N > 0; got {shapes}"
        raise ModelError(msg)
    if target.is_floating_point() or target.dtype == torch.bool:
        msg = f"targets must be integer class indices, got {target.dtype}"
        raise ModelError(msg)
    classes = max(2, logits.shape[1])
    if n_classes not in (None, classes):
        msg = f"the loss was set up for {n_classes} classes, the logits are of {classes}"
        raise ModelError(msg)
    # On an accelerator this look would stall the queue; the kernels assert there.
    if target.device.type == "cpu" and not 0 <= int(target.min()) <= int(target.max()) < classes:
        msg = (
            f"targets must lie in 0 to {classes - 1}, got {int(target.min())}..{int(target.max())}"
        )
        raise ModelError(msg)
