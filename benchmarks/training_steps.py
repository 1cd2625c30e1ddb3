"""The step with spectral decoupling against the same step with plain cross-entropy."""

import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from wsi_specdec.losses import LossParts, SpectralDecoupling
from wsi_specdec.training.task import Batch, Task, train_step

KINDS = ("sd", "plain")
_WARM_UP = 3
_LR = 1e-4


@dataclass(frozen=True)
class Interval:
    """A median, and bounds that hold that of the population in 95 % of cases."""

    median: float
    low: float
    high: float


class PlainCrossEntropy(SpectralDecoupling):
    """torch's binary cross-entropy, and nothing beside it."""

    def forward(self, logits: Tensor, target: Tensor) -> LossParts:
        """Compute the loss of logits (n, 1), in float32 as training does."""
        with torch.autocast(logits.device.type, enabled=False):
            loss = functional.binary_cross_entropy_with_logits(
                logits[:, 0].float(), target.to(torch.float32)
            )
        return LossParts(loss, loss, loss.new_zeros(()))


def median_interval(values: Sequence[float]) -> Interval:
    """Median with bounds from order statistics, free of any assumption on the distribution.

    The k-th smallest and the k-th largest of n values hold the median with the probability
    1 - 2 P(X < k), X binomial (n, 1/2); the largest k with at least 95 % is taken, or k = 1.
    """
    from scipy.stats import binom

    ordered = sorted(values)
    n = len(ordered)
    fitting = [k for k in range(1, n // 2 + 1) if 2 * binom.cdf(k - 1, n, 0.5) <= 0.05]
    k = max(fitting, default=1)
    return Interval(statistics.median(ordered), ordered[k - 1], ordered[n - k])


def variants(task: Task) -> dict[str, Task]:
    """Return the task with either loss: the same network, weights and optimiser in both."""
    return {"sd": task, "plain": replace(task, loss=PlainCrossEntropy().to(task.device))}


def step_seconds(task: Task, batch: Batch) -> float:
    """Seconds of one step, the device's work included."""
    synchronise(task.device)
    started = time.perf_counter()
    train_step(task, batch, _LR)
    synchronise(task.device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    """Wait for all that a device was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def paired_seconds(task: Task, batch: Batch, pairs: int, seed: int = 0) -> list[dict[str, float]]:
    """Seconds of a step with the penalty and of a plain one next to it, pair by pair.

    Which of a pair is first is drawn, so that neither gains by its place.
    """
    kinds = variants(task)
    for _ in range(_WARM_UP):
        for kind in KINDS:
            step_seconds(kinds[kind], batch)
    rng = np.random.default_rng(seed)
    taken = []
    for _ in range(pairs):
        order = KINDS if rng.integers(2) else KINDS[::-1]
        taken.append({kind: step_seconds(kinds[kind], batch) for kind in order})
    return taken


def peak_mb(task: Task, batch: Batch) -> dict[str, float]:
    """Most memory that torch holds at a moment of a step of each kind, in MB.

    On a GPU all of it, the weights too; on a CPU what is allocated since the step began. Resident
    memory would tell more of the C library's reserves than of the step.
    """
    peaks = {}
    for kind, variant in variants(task).items():
        step_seconds(variant, batch)
        if task.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(task.device)
            step_seconds(variant, batch)
            peaks[kind] = torch.cuda.max_memory_allocated(task.device) / 1e6
        else:
            peaks[kind] = _allocated_peak(variant, batch) / 1e6
    return peaks


def _allocated_peak(task: Task, batch: Batch) -> int:
    """Highest sum of what torch's allocator gave out and took back during a step, in bytes."""
    # What an earlier step left must not be given back in this one.
    task.optimiser.zero_grad()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as found:
        train_step(task, batch, _LR)
    # The only place where each single allocation stands.
    traced: Any = found.profiler
    events = [e for e in traced.kineto_results.events() if e.name() == "[memory]"]
    ordered = sorted(events, key=lambda event: event.start_ns())
    highest: int = max(accumulate(event.nbytes() for event in ordered))
    return highest
