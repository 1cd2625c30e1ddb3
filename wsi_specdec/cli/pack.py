"""`pack`: images that are no slides to a packed store."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from wsi_specdec.cli.options import (
    Json,
    Out,
    Overwrite,
    Quiet,
    Seed,
    finish,
    given,
    print_json,
    set_output,
    shown,
)
from wsi_specdec.config import PackConfig, RunnerConfig, make_config, override


def pack(
    *,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|CSV",
            help="Folder of images, of a folder for each class, or of one for each split with "
            "those; or a CSV with the columns path, patient_id, label, split, site, view.",
            exists=True,
        ),
    ],
    out: Out,
    size: Annotated[
        int | None,
        typer.Option(help="Side of a tile, in pixels.", show_default=shown(PackConfig, "size")),
    ] = None,
    fit: Annotated[
        Literal["pad", "crop", "stretch"] | None,
        typer.Option(
            help="How an oblong image becomes square.", show_default=shown(PackConfig, "fit")
        ),
    ] = None,
    codec: Annotated[
        Literal["lossless", "jpeg"] | None,
        typer.Option(help="How pixels are stored.", show_default=shown(PackConfig, "codec")),
    ] = None,
    jpeg_quality: Annotated[
        int | None, typer.Option(show_default=shown(PackConfig, "jpeg_quality"))
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,…",
            help="Classes of the labels 0, 1, …: the negative one first.",
            show_default="those found",
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHARE",
            help="Share of the patients in train, validation or internal, where no image has a "
            "split; give one for each.",
            show_default=False,
        ),
    ] = None,
    burnt_in: Annotated[
        Literal["refuse", "keep"] | None,
        typer.Option(
            help="DICOM images that state burnt-in annotations.",
            show_default=shown(PackConfig, "burnt_in"),
        ),
    ] = None,
    seed: Seed = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting of docs/images.md, as in --set fill=255; repeatable.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-j", help="Images at a time.", show_default=shown(RunnerConfig, "workers")
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Pack radiographs or patches (PNG, JPEG, TIFF, DICOM) into one store of square tiles.

    Writes OUT/tiles/images.zarr, OUT/slides.csv, in which each image is a slide of one tile, and
    OUT/ledger.csv with what became of each. The same command again does only what is missing.

    Example: wsi-specdec pack radiographs/ --out packed --size 224 --classes normal,COVID
    """
    from wsi_specdec.packing import list_images, pack_images

    set_output(quiet=quiet, as_json=json)
    flags = {
        "size": size,
        "fit": fit,
        "codec": codec,
        "jpeg_quality": jpeg_quality,
        "classes": [name.strip() for name in classes.split(",")] if classes else None,
        "splits": dict(map(_share, split)) if split else None,
        "burnt_in": burnt_in,
        "seed": seed,
    }
    settings = override(make_config(PackConfig, given(flags), "settings"), set_ or [])
    runner = make_config(RunnerConfig, given({"workers": workers}), "settings")
    listing = list_images(source, settings.classes)
    summary = pack_images(listing, out, settings, runner, overwrite=overwrite)
    if json:
        print_json({"out": out, "classes": listing.classes, **asdict(summary)})
    finish(summary)


def _share(text: str) -> tuple[str, str]:
    name, equals, share = text.partition("=")
    if not equals:
        msg = f"write it as train=0.6, got {text!r}"
        raise typer.BadParameter(msg, param_hint="--split")
    return name, share
