"""What a training leaves beside its weights: history, curves and a model card."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsi_specdec.files import atomic_path, write_text
from wsi_specdec.keys import CURVES_FILE, HISTORY_FILE, MODEL_CARD_FILE
from wsi_specdec.models import ModelSpec

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


def write_card(out: Path, spec: ModelSpec) -> None:
    """Write `MODEL_CARD.md` from what the spec says of the training."""
    write_text(out / MODEL_CARD_FILE, model_card(spec))


def model_card(spec: ModelSpec) -> str:
    """Render the model card as Markdown."""
    settings, data = spec.training["settings"], spec.training["data"]
    metrics, made = spec.training["metrics"], spec.training["provenance"]
    start = "timm's pretrained weights" if settings["pretrained"] else "random weights"
    if settings["init"]:
        start = f"weights of SHA-256 {settings['init']}"
    resolution = "unknown resolution" if spec.mpp is None else f"{spec.mpp:.4g} µm per pixel"
    rows = {
        "architecture": f"{spec.arch} (timm {made['versions']['timm']}), from {start}",
        "input": f"tiles of {spec.tile_size} × {spec.tile_size} px at {resolution}",
        "output": f"one score per tile for: {', '.join(spec.score_names)}",
        "stain normalisation": spec.stain.method,
        "spectral decoupling λ (`sd_coef`)": f"{settings['sd_coef']:g}",
        "weight decay": f"{settings['weight_decay']:g}",
        "epochs, batch, learning rate": (
            f"{settings['epochs']}, {settings['batch_size']}, {settings['lr']:g}"
        ),
        "seed": str(settings["seed"]),
        "temperature": f"{spec.temperature:.4g}",
    }
    return _CARD.format(
        settings=_table("setting", "value", rows),
        data=_data_table(data),
        labels=data["label_source"],
        metrics=_table("on validation tiles", "value", {k: _number(v) for k, v in metrics.items()}),
        metrics_note=_FITTED if data["validation_tiles"] else _NOT_FITTED,
        revision=made["git_revision"] or "not from a checkout",
        version=made["versions"]["wsi-specdec"],
        torch=made["versions"]["torch"],
        created=made["created"],
    )


def _data_table(data: Mapping[str, Any]) -> str:
    lines = ["| split | slides | tiles | tumour tiles |", "|---|---|---|---|"]
    for split in ("train", "validation"):
        numbers = (data[f"{split}_{name}"] for name in ("slides", "tiles", "positive_tiles"))
        lines.append(f"| {split} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


def _table(first: str, second: str, rows: Mapping[str, str]) -> str:
    lines = [f"| {first} | {second} |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows.items()])


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def _column(history: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float("nan") if row[name] is None else float(row[name]) for row in history]


_FITTED = (
    "The temperature was fitted on these tiles, and settings may have been chosen by them: take\n"
    "slides that were not seen to estimate how well the model does."
)
_NOT_FITTED = "There were no validation tiles, so nothing was measured and nothing calibrated."
_CARD = """# Model card

A classifier of tiles from whole-slide images, trained by wsi_specdec.

## Intended use

Research on slide-level calls from histology. It is not a medical device, and its scores must not
guide the care of a patient. On slides of other organs, stains, scanners or resolutions than those
it was trained on, validate it first.

## Settings

{settings}

## Data

{data}

Labels are those of each {labels}. No patient stands in two splits.

## Results

{metrics}

{metrics_note}

## Origin

wsi-specdec {version}, revision {revision}, torch {torch}, made {created}.
The code is under Apache-2.0; the weights may be used as far as the terms of the training slides,
and of the weights they were started from, allow.
"""
