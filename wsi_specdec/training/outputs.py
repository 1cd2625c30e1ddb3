"""How a training went: its history and its curves."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsi_specdec.files import atomic_path, write_text
from wsi_specdec.keys import CURVES_FILE, HISTORY_FILE

HISTORY_COLUMNS = (
    "epoch",
    "lr",
    "loss",
    "cross_entropy",
    "logit_penalty",
    "mean_abs_logit",
    "val_auroc",
    "val_cross_entropy",
    "tiles_per_s",
)
_INK = "#1f4e79"
_INK_2 = "#b5541c"


def write_history(out: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write `history.csv`, a row per epoch; what is not defined is left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(out / HISTORY_FILE, text.getvalue())


def write_curves(out: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw `curves.png`: cross-entropy, mean |logit| and validation AUROC by epoch."""
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9.6, 3.0), dpi=120, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(epochs, _column(history, "cross_entropy"), "o-", color=_INK, label="training")
    left.plot(
        epochs, _column(history, "val_cross_entropy"), "s--", color=_INK_2, label="validation"
    )
    left.set_title("cross-entropy")
    left.legend(frameon=False)
    middle.plot(epochs, _column(history, "mean_abs_logit"), "o-", color=_INK)
    middle.set_title("mean |logit|, training")
    right.plot(epochs, _column(history, "val_auroc"), "s--", color=_INK_2)
    right.set_title("tile AUROC, validation")
    for axes in (left, middle, right):
        axes.set_xlabel("epoch")
        axes.set_xticks(epochs[:: max(1, -(-len(epochs) // 10))])
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(out / CURVES_FILE) as temporary:
        figure.savefig(temporary)


def _column(history: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float("nan") if row[name] is None else float(row[name]) for row in history]
