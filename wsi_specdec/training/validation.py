"""A look at the validation tiles: their logits, and how good these are."""

from collections.abc import Mapping
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from wsi_specdec.models import predict_logits, prefetched
from wsi_specdec.training.loop import check_finite
from wsi_specdec.training.source import TileSource
from wsi_specdec.training.task import Task
from wsi_specdec.training.temperature import cross_entropy

_BATCH = 256


def validation_logits(task: Task, source: TileSource) -> NDArray[np.float32]:
    """Logits of every tile, (n, outputs), as scoring computes them.

    Raises
    ------
    ConfigError
        If one is not finite.
    """
    rows = np.arange(len(source.tiles))
    parts = (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))
    with closing(prefetched(source.read, parts, task.config.prefetch)) as ready:
        logits = [predict_logits(task.judged, task.spec, tiles, task.device) for tiles in ready]
    together = np.concatenate(logits)
    check_finite(together, "logit of a validation tile", task.config.lr)
    return together


def validate(task: Task, source: TileSource | None) -> dict[str, float | None]:
    """Metrics of the validation tiles; none are defined where there are no tiles."""
    if source is None:
        return {"val_auroc": None, "val_cross_entropy": None}
    return measure(validation_logits(task, source), source.tiles.label)


def measure(
    logits: NDArray[np.float32], label: NDArray[np.int64], temperature: float = 1.0
) -> dict[str, float | None]:
    """AUROC and cross-entropy of logits (n, outputs) under a temperature."""
    return {
        "val_auroc": auroc(logits, label),
        "val_cross_entropy": cross_entropy(logits, label, temperature),
    }


def auroc(logits: NDArray[np.floating], label: NDArray[np.int64]) -> float | None:
    """Area under the ROC curve; of several classes the mean of each against the rest.

    Parameters
    ----------
    logits, label
        (n, outputs) and (n,).

    Returns
    -------
    float or None
        None where the labels are of one class. A class without a tile is left out of the mean.
    """
    if len(np.unique(label)) < 2:
        return None
    if logits.shape[1] == 1:
        return _two_class_auroc(label == 1, logits[:, 0])
    scores = softmax(logits.astype(np.float64), axis=1)
    each = [_two_class_auroc(label == name, scores[:, name]) for name in np.unique(label)]
    return float(np.mean(each))


def _two_class_auroc(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Return the share of pairs in the right order, ties being half right (Mann & Whitney 1947).

    Without scikit-learn, whose import every process of a training would wait for.
    """
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (count.cumsum() - (count - 1) / 2)[place]
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def best_epoch(history: list[dict[str, float | None]], monitor: str) -> int:
    """Find the first epoch, from 0, that no other surpasses; the last if none has a value."""
    values = [_goodness(row, monitor) for row in history]
    known = [value for value in values if value is not None]
    return values.index(max(known)) if known else len(history) - 1


def has_stalled(history: list[dict[str, float | None]], monitor: str, patience: int | None) -> bool:
    """Whether the last `patience` epochs brought nothing better."""
    if patience is None or not history:
        return False
    return len(history) - 1 - best_epoch(history, monitor) >= patience


def _goodness(row: Mapping[str, float | None], monitor: str) -> float | None:
    """Value of a metric, turned so that more is better."""
    value = row[monitor]
    return -value if value is not None and monitor == "val_cross_entropy" else value
