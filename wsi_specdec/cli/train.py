"""`train`: tile stores to a model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from wsi_specdec.cli.options import (
    ConfigFile,
    Device,
    Manifest,
    Out,
    Quiet,
    Seed,
    Tiles,
    resolve,
    set_output,
    shown,
)
from wsi_specdec.config import StainConfig, TrainConfig, override


def train(
    *,
    tiles: Tiles,
    manifest: Manifest,
    out: Out,
    model: Annotated[
        str | None,
        typer.Option(help="Any timm classifier.", show_default=shown(TrainConfig, "model")),
    ] = None,
    epochs: Annotated[int | None, typer.Option(show_default=shown(TrainConfig, "epochs"))] = None,
    batch_size: Annotated[
        int | None, typer.Option(show_default=shown(TrainConfig, "batch_size"))
    ] = None,
    optimiser: Annotated[
        Literal["adamw", "sgd"] | None, typer.Option(show_default=shown(TrainConfig, "optimiser"))
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate.", show_default=shown(TrainConfig, "lr")),
    ] = None,
    spectral_decoupling: Annotated[
        str | None,
        typer.Option(
            metavar="FLOAT|auto",
            help="λ of the L2 penalty on the logits; 0 trains without it, auto searches it on the "
            "validation tiles (docs/search.md).",
            show_default=shown(TrainConfig, "sd_coef"),
        ),
    ] = None,
    weight_decay: Annotated[
        str | None,
        typer.Option(
            metavar="FLOAT|auto",
            help="auto searches it in the same way.",
            show_default=shown(TrainConfig, "weight_decay"),
        ),
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(
            help="Of the network; the loss is always computed in float32.",
            show_default=shown(TrainConfig, "precision"),
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Epochs without a better validation after which training ends.",
            show_default=shown(TrainConfig, "patience"),
        ),
    ] = None,
    keep: Annotated[
        Literal["best", "last"] | None,
        typer.Option(
            help="Epoch whose weights the model gets.", show_default=shown(TrainConfig, "keep")
        ),
    ] = None,
    stain: Annotated[
        Literal["none", "macenko", "vahadane", "reinhard"] | None,
        typer.Option(help="Stain normalisation.", show_default=shown(StainConfig, "method")),
    ] = None,
    labels: Annotated[
        Literal["auto", "tile", "slide"] | None,
        typer.Option(
            help="Truth of a tile: its own, or its slide's.",
            show_default=shown(TrainConfig, "labels"),
        ),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Weights to start from (.safetensors).", show_default=False)
    ] = None,
    device: Device = None,
    seed: Seed = None,
    config: ConfigFile = None,
    fold: Annotated[
        str | None,
        typer.Option(
            metavar="I/K",
            help="Validate on the I-th of K folds of patients, and train on the others; test "
            "splits stay. OUT/slides.csv says who is where.",
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting of docs/training.md, as in --set accumulate=4; repeatable.",
            show_default=False,
        ),
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Start from timm's published weights.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a tile classifier with spectral decoupling; the same command again resumes.

    The manifest's column 'split' says which slides train and which validate. Writes weights,
    model.json, curves and a model card to OUT. For several GPUs, call it by torchrun
    --nproc-per-node N -m wsi_specdec train …

    Example: wsi-specdec train --tiles run --manifest slides.csv --out run/model
    --spectral-decoupling 0.05 --weight-decay 0
    """
    from wsi_specdec.steps.train import train_model

    set_output(quiet=quiet)
    flags = {
        "model": model,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimiser": optimiser,
        "lr": lr,
        "sd_coef": spectral_decoupling,
        "weight_decay": weight_decay,
        "precision": precision,
        "patience": patience,
        "keep": keep,
        "labels": labels,
        "init": init,
        "device": device,
        "seed": seed,
        "pretrained": pretrained or None,
    }
    settings = resolve(TrainConfig, "train", config, flags)
    if stain is not None:
        changed = settings.stain.model_copy(update={"method": stain})
        settings = settings.model_copy(update={"stain": changed})
    train_model(tiles, manifest, out, override(settings, set_ or []), fold=_parsed(fold))


def _parsed(fold: str | None) -> tuple[int, int] | None:
    if fold is None:
        return None
    number, _, count = fold.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        msg = f"write it as 2/5, got {fold!r}"
        raise typer.BadParameter(msg, param_hint="--fold")
    return int(number), int(count)
