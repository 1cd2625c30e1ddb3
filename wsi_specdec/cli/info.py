"""`info`: what a slide says of itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wsi_specdec.cli.options import SOME_FAILED, Json, Reader, SlideMpp, given, print_json, shown
from wsi_specdec.config import TileConfig


def info(
    slides: Annotated[list[Path], typer.Argument(metavar="SLIDE")],
    reader: Reader = None,
    slide_mpp: SlideMpp = None,
    mpp: Annotated[
        float | None,
        typer.Option(help="µm per pixel of the tiles to be cut.", show_default="level 0 as it is"),
    ] = None,
    tile_size: Annotated[
        int | None,
        typer.Option(
            help="Side of the tiles to be cut, in pixels.",
            show_default=shown(TileConfig, "tile_size"),
        ),
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Show vendor, levels, mpp and its source, and which pixel path tiling would take.

    Example: wsi-specdec info slide.svs
    """
    from wsi_specdec.config import make_config
    from wsi_specdec.doctor import describe_slide
    from wsi_specdec.errors import SlideError

    config = make_config(TileConfig, given({"mpp": mpp, "tile_size": tile_size}), "settings")
    descriptions = []
    failed = False
    for path in slides:
        try:
            descriptions.append(describe_slide(path, reader or "auto", slide_mpp, config))
        except SlideError as error:
            failed = True
            typer.secho(f"failed {path}: {error}", fg="red", err=True)
    if json:
        print_json(descriptions)
    else:
        for description in descriptions:
            _print(description)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _print(slide: Mapping[str, Any]) -> None:
    typer.secho(slide["path"], bold=True)
    box, level0 = slide["bounds"], slide["levels"][0]
    whole = (box["width"], box["height"]) == (level0["width"], level0["height"])
    rows = {
        "vendor": f"{slide['vendor']}, read by {slide['reader']}",
        "scanner": slide["scanner"] or "not stated",
        "objective": "not stated"
        if slide["objective_power"] is None
        else f"{slide['objective_power']:g} x",
        "mpp": "unknown"
        if slide["mpp"] is None
        else f"{slide['mpp']:.6g}, from the {slide['mpp_source']}",
        "bounds": "the whole slide"
        if whole
        else f"{box['width']} x {box['height']} px at ({box['x']}, {box['y']})",
        "fluorescence": "yes" if slide["fluorescence"] else "not stated",
        "pixel path": ": ".join(
            text for text in (slide["pixel_path"] or "none", slide["pixel_path_reason"]) if text
        ),
    }
    for name, value in rows.items():
        typer.echo(f"  {name:<13} {value}")
    typer.echo(f"  {'level':<6}{'width':>9}{'height':>9}{'downsample':>12}{'mpp':>10}")
    for row in slide["levels"]:
        mpp = "" if row["mpp"] is None else f"{row['mpp']:.4g}"
        typer.echo(
            f"  {row['level']:<6}{row['width']:>9}{row['height']:>9}"
            f"{row['downsample']:>12.4g}{mpp:>10}"
        )
    for warning in slide["warnings"]:
        typer.secho(f"  warning: {warning}", fg="yellow")
    typer.echo()
