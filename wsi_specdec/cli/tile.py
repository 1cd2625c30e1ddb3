"""`tile`: slides to tile stores."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from wsi_specdec.cli.options import (
    ConfigFile,
    Json,
    MinTissue,
    Out,
    Overwrite,
    Quiet,
    Reader,
    Scheduler,
    SlideMpp,
    Workers,
    finish,
    print_json,
    resolve,
    set_output,
    shown,
)
from wsi_specdec.config import RunnerConfig, TileConfig


def tile(
    *,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT", help="Slides, folders of slides, or one manifest (.csv)."),
    ],
    out: Out,
    mpp: Annotated[
        float | None,
        typer.Option(help="µm per pixel of the tiles.", show_default="that of level 0"),
    ] = None,
    tile_size: Annotated[
        int | None,
        typer.Option(
            help="Side of a tile, in pixels.", show_default=shown(TileConfig, "tile_size")
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            help="Pixels that neighbours share.", show_default=shown(TileConfig, "overlap")
        ),
    ] = None,
    min_tissue: MinTissue = None,
    slide_mpp: SlideMpp = None,
    codec: Annotated[
        Literal["jpeg", "lossless"] | None,
        typer.Option(help="How pixels are stored.", show_default=shown(TileConfig, "codec")),
    ] = None,
    jpeg_quality: Annotated[
        int | None,
        typer.Option(
            help="1 to 100; tiles that are copied keep theirs.",
            show_default=shown(TileConfig, "jpeg_quality"),
        ),
    ] = None,
    pixel_path: Annotated[
        Literal["auto", "passthrough", "decode", "read_region"] | None,
        typer.Option(
            help="How pixels are read: copied compressed, decoded directly, or by the library; "
            "auto takes the fastest that fits, and the store says why.",
            show_default=shown(TileConfig, "pixel_path"),
        ),
    ] = None,
    quality: Annotated[
        bool | None,
        typer.Option(
            help="Measure sharpness, saturation and pen of every tile; copied tiles are then "
            "decoded as well, at a tenth of the speed.",
            show_default="off",
        ),
    ] = None,
    coords: Annotated[
        Path | None,
        typer.Option(
            help="Folder of HDF5 files by CLAM or TRIDENT, <slide_id>.h5, that say where tiles "
            "lie and how large they are.",
            show_default="a grid over the tissue",
        ),
    ] = None,
    stain_target: Annotated[
        Path | None,
        typer.Option(
            help="Normalise stains as tiles are written, to the file that `stain fit` wrote.",
            show_default="tiles as they are in the slide",
            exists=True,
        ),
    ] = None,
    hdf5: Annotated[
        bool,
        typer.Option("--hdf5", help="Write OUT/coords/<slide_id>.h5 too, as CLAM and TRIDENT do."),
    ] = False,
    reader: Reader = None,
    config: ConfigFile = None,
    workers: Workers = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Of each slide.", show_default="the cores that each worker has"),
    ] = None,
    scheduler: Scheduler = None,
    full_hash: Annotated[
        bool, typer.Option("--full-hash", help="Identify slides by every byte of theirs.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Cut the tissue of slides into tiles, one Zarr store a slide.

    Writes OUT/tiles/<slide_id>.zarr, previews of the tissue masks, and OUT/ledger.csv with what
    became of each slide. The same command again does only what is missing.

    Example: wsi-specdec tile slides/ --out run --mpp 0.5 --tile-size 256
    """
    from wsi_specdec.cohort import read_slides
    from wsi_specdec.tiling import tile_slides

    set_output(quiet=quiet, as_json=json)
    settings = resolve(
        TileConfig,
        "tile",
        config,
        {
            "mpp": mpp,
            "tile_size": tile_size,
            "overlap": overlap,
            "min_tissue": min_tissue,
            "slide_mpp": slide_mpp,
            "codec": codec,
            "jpeg_quality": jpeg_quality,
            "pixel_path": pixel_path,
            "quality": quality,
            "coords": coords,
            "reader": reader,
            **_stains(stain_target),
            "full_hash": full_hash or None,
        },
    )
    spread = {"workers": workers, "threads": threads, "scheduler": scheduler}
    runner = resolve(RunnerConfig, "runner", config, spread)
    summary = tile_slides(
        read_slides(inputs), out, settings, runner, overwrite=overwrite, hdf5=hdf5
    )
    if json:
        print_json({"out": out, **asdict(summary)})
    finish(summary)


def _stains(target: Path | None) -> dict[str, Any]:
    """Return the settings that go with a target: slides are fitted as it was."""
    if target is None:
        return {}
    from wsi_specdec.stain.target import read_target

    return {"stain": read_target(target).settings.model_dump(), "stain_target": target}
