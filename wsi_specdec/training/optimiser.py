"""The optimisers, and the learning rate."""

import math

import torch
from torch import nn

from wsi_specdec.config import TrainConfig


def make_optimiser(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101), or SGD with momentum.

    Weights are decayed where they are matrices and kernels; biases and the scales of
    normalisation layers only with `decay_all`. AdamW's decay shrinks weights by lr · decay a step,
    SGD's is the gradient of decay/2 · ‖w‖², so that momentum carries it on.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    spared = 0.0 if not config.decay_all else config.decay
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": spared},
    ]
    filled = [group for group in groups if group["params"]]
    if config.optimiser == "adamw":
        return torch.optim.AdamW(filled, lr=config.lr, fused=True)
    return torch.optim.SGD(
        filled,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov and config.momentum > 0,
        fused=True,
    )


def apply_step(optimiser: torch.optim.Optimizer, config: TrainConfig, lr: float) -> None:
    """Clip the gradient where that is asked for, and move the weights at the rate `lr`."""
    if config.clip_norm is not None:
        nn.utils.clip_grad_norm_(optimised(optimiser), config.clip_norm)
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.step()


def optimised(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return the parameters that an optimiser moves, in its order."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def learning_rate(step: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """Learning rate of a step, counted from 0 over all epochs.

    It rises linearly over `warmup_epochs` to `lr`, and then stays there (`constant`), or falls to
    0 after the last step as half a cosine (Loshchilov & Hutter, arXiv 1608.03983). A warm-up of
    all epochs or more ends in `lr`.
    """
    total = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "constant":
        return config.lr
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
