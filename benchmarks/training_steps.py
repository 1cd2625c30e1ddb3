"""The step with spectral decoupling against the same step with plain cross-entropy.

As a program it takes one kind of step in a process of its own, for the memory that it needs:
python -m benchmarks.training_steps --kind sd|plain --result FILE --data FOLDER --work JSON
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measuring import resident
from benchmarks.training_data import Work, build, constant_batch, task_for
from wsi_specdec.losses import LossParts, SpectralDecoupling
from wsi_specdec.training import TrainingData
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


def cuda_peaks(task: Task, batch: Batch) -> dict[str, float]:
    """Most memory that a step allocates on the GPU, in MB."""
    peaks = {}
    for kind, variant in variants(task).items():
        step_seconds(variant, batch)
        torch.cuda.reset_peak_memory_stats(task.device)
        step_seconds(variant, batch)
        peaks[kind] = torch.cuda.max_memory_allocated(task.device) / 1e6
    return peaks


def command(kind: str, result: Path, data: Path, work: Work) -> list[str]:
    """Arguments of an interpreter that takes steps of one kind and writes what memory it took."""
    given = {"kind": kind, "result": result, "data": data, "work": json.dumps(asdict(work))}
    options = [f"--{name}={value}" for name, value in given.items()]
    return ["-m", "benchmarks.training_steps", *options]


def steps_of(kind: str, work: Work, data: TrainingData) -> dict[str, float]:
    """Take a few steps of one kind on the CPU; return the loss, and what memory they added."""
    device = torch.device("cpu")
    task = variants(task_for(work, data, device))[kind]
    batch = constant_batch(work, data, device)
    # Linux then counts the peak anew.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = resident(os.getpid())["VmRSS"]
    for _ in range(_WARM_UP):
        report = train_step(task, batch, _LR)
    peak = resident(os.getpid())["VmHWM"]
    return {"loss": float(report[0]), "peak_mb": (peak - before) / 1e6}


def main(arguments: Sequence[str] | None = None) -> None:
    """Take steps of one kind; the process that started this one looks at its memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", required=True)
    given = parser.parse_args(arguments)
    work = Work(**json.loads(given.work))
    found = steps_of(given.kind, work, build(given.data, work))
    given.result.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
