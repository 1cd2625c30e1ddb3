"""The model card: what a model is, what it was trained on, and how well it does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsi_specdec.files import write_text
from wsi_specdec.keys import MODEL_CARD_FILE
from wsi_specdec.models import ModelSpec


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
        "spectral decoupling λ (`sd_coef`)": _plain(settings["sd_coef"]),
        "weight decay": _plain(settings["weight_decay"]),
        "class weights": _plain(settings["class_weights"]),
        "optimiser": settings["optimiser"],
        "epochs, batch, learning rate": (
            f"{settings['epochs']}, {settings['batch_size']}, {settings['lr']:g}"
        ),
        "weights kept": _kept(settings, spec.training["epochs"]),
        "seed": str(settings["seed"]),
        "temperature": f"{spec.temperature:.4g}",
    }
    return _CARD.format(
        settings=_table("setting", "value", rows),
        data=_data_table(data, spec.classes),
        labels=data["label_source"],
        metrics=_table("on validation tiles", "value", {k: _number(v) for k, v in metrics.items()}),
        search=_search(spec.training.get("search")),
        metrics_note=_FITTED if data["validation"]["tiles"] else _NOT_FITTED,
        revision=made["git_revision"] or "not from a checkout",
        version=made["versions"]["wsi-specdec"],
        torch=made["versions"]["torch"],
        created=made["created"],
    )


def _data_table(data: Mapping[str, Any], classes: tuple[str, ...]) -> str:
    of_class = " | ".join(f"{name} tiles" for name in classes)
    lines = [
        f"| split | patients | slides | tiles | {of_class} |",
        "|---" * (4 + len(classes)) + "|",
    ]
    for split in ("train", "validation"):
        numbers = [data[split][name] for name in ("patients", "slides", "tiles")]
        cells = map(str, numbers + data[split]["tiles_of_class"])
        lines.append(f"| {split} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _kept(settings: Mapping[str, Any], epochs: Mapping[str, int]) -> str:
    mean = {"none": "", "ema": ", exponential mean of the steps", "swa": ", mean of the epochs"}
    best = f", best by {settings['monitor']}" if settings["keep"] == "best" else ""
    return f"of epoch {epochs['kept']} of {epochs['trained']}{best}{mean[settings['average']]}"


def _search(search: Mapping[str, Any] | None) -> str:
    """Render what was tried to choose a setting; nothing where none was searched."""
    if search is None:
        return ""
    tried = zip(search["values"], search["means"], strict=True)
    rows = {f"{value:g}": _number(auroc) for value, auroc in tried}
    return _SEARCH.format(
        **{name: search[name] for name in ("setting", "chosen", "trainings", "epochs")},
        seeds=", ".join(map(str, search["seeds"])),
        table=_table(f"`{search['setting']}`", "mean tile AUROC", rows),
    )


def _table(first: str, second: str, rows: Mapping[str, str]) -> str:
    lines = [f"| {first} | {second} |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows.items()])


def _plain(value: float | str | list[float]) -> str:
    """Render a setting that is one number, one per class, or a word."""
    if isinstance(value, list):
        return ", ".join(f"{one:g}" for one in value)
    return value if isinstance(value, str) else f"{value:g}"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


_FITTED = (
    "The temperature was fitted on these tiles, and settings may have been chosen by them: take\n"
    "slides that were not seen to estimate how well the model does."
)
_NOT_FITTED = "There were no validation tiles, so nothing was measured and nothing calibrated."
_SEARCH = """
## Search

`{setting}` was chosen on the validation tiles: {chosen:g}, by the highest AUROC, mean over the
seeds {seeds}, of {trainings} trainings of {epochs} epochs each.

{table}
"""
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
{search}
## Origin

wsi-specdec {version}, revision {revision}, torch {torch}, made {created}.
The code is under Apache-2.0; the weights may be used as far as the terms of the training slides,
and of the weights they were started from, allow.
"""
