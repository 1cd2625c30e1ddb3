"""`export`: a run's scores for other programs."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from wsi_specdec.cli.options import Json, Quiet, print_json, set_output, shown, with_flags
from wsi_specdec.config import ExportConfig
from wsi_specdec.config.calls import ExportFormat


def export(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A run directory.", exists=True, file_okay=False)
    ],
    *,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="|".join(get_args(ExportFormat)),
            help="Called regions or scored tiles as GeoJSON for QuPath, the heatmap as pyramidal "
            "OME-TIFF, the scores as OME-Zarr, the tiles' coordinates as HDF5; may be repeated.",
            show_default="those of the run's config",
        ),
    ] = None,
    slide: Annotated[
        list[str] | None,
        typer.Option(
            help="Id of a slide; may be repeated.", show_default="all that have a heatmap"
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="Name of an arm; may be repeated.", show_default="all"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Least score of a called tile.", show_default=shown(ExportConfig, "tile_threshold")
        ),
    ] = None,
    origin: Annotated[
        Literal["bounds", "slide"] | None,
        typer.Option(
            help="GeoJSON counts from the corner of the scanned area, as QuPath does, or of the "
            "slide.",
            show_default=shown(ExportConfig, "origin"),
        ),
    ] = None,
    gzip: Annotated[bool, typer.Option("--gzip", help="GeoJSON as .geojson.gz.")] = False,
    max_px: Annotated[
        int | None,
        typer.Option(
            help="Longest side of the OME-TIFF, in pixels.",
            show_default=shown(ExportConfig, "max_px"),
        ),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write a run's scores as files that QuPath, napari, CLAM and TRIDENT open.

    They lie in exports/ beside the scores, of each arm's first seed; HDF5 in DIR/coords.

    Example: wsi-specdec export demo --format regions --format tiles
    """
    from wsi_specdec.report import export_run, read_run, report_config

    set_output(quiet=quiet, as_json=json)
    flags = {
        "formats": tuple(formats) if formats else None,
        "tile_threshold": threshold,
        "origin": origin,
        "gzip": gzip or None,
        "max_px": max_px,
    }
    settings = with_flags(report_config(folder).export, flags)
    run = read_run(folder)
    written = export_run(run, settings, slides=slide or (), arms=arm or ())
    if json:
        print_json({"files": written})
    elif not quiet:
        for place, number in Counter(path.parent for path in written).items():
            typer.echo(f"{number:>5} in {place}")
