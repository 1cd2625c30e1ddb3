"""`info`: what a slide says of itself."""

from pathlib import Path
from typing import Annotated

import typer

from wsi_specdec.cli.options import SOME_FAILED, Json, Reader, SlideMpp, print_json


def info(
    slides: Annotated[list[Path], typer.Argument(metavar="SLIDE")],
    reader: Reader = None,
    slide_mpp: SlideMpp = None,
    *,
    json: Json = False,
) -> None:
    """Show vendor, levels, mpp and its source, and which pixel path tiling would take.

    Example: wsi-specdec info slide.svs
    """
    from wsi_specdec.doctor import describe_slide
    from wsi_specdec.errors import SlideError

    descriptions = []
    failed = False
    for path in slides:
        try:
            descriptions.append(describe_slide(path, reader or "auto", slide_mpp))
        except SlideError as error:
            failed = True
            typer.secho(f"failed {path}: {error}", fg="red", err=True)
    if json:
        print_json(descriptions)
    else:
        for description in descriptions:
            for name, value in description.items():
                typer.echo(f"{name:<16} {value}")
            typer.echo()
    if failed:
        raise typer.Exit(SOME_FAILED)
