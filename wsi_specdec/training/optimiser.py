"""AdamW and its learning rate."""

import math

import torch
from torch import nn

from wsi_specdec.config import TrainConfig


def make_optimiser(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101), its decay on matrices and kernels alone.

    Biases and the scales of normalisation layers are not decayed.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, fused=True)


def learning_rate(step: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """Learning rate of a step, counted from 0 over all epochs.

    It rises linearly over `warmup_epochs` to `lr`, and falls to 0 after the last step as half a
    cosine (Loshchilov & Hutter, arXiv 1608.03983). A warm-up of all epochs or more ends in `lr`.
    """
    total = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
