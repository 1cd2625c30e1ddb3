"""`score`: a model over tile stores."""

from pathlib import Path
from typing import Annotated

import typer

from wsi_specdec.cli.options import (
    ConfigFile,
    Device,
    Out,
    Quiet,
    Tiles,
    resolve,
    set_output,
    shown,
)
from wsi_specdec.config import ScoreConfig

Model = Annotated[
    Path, typer.Option(help="Folder that `train` wrote.", show_default=False, exists=True)
]


def score(
    *,
    tiles: Tiles,
    model: Model,
    out: Out,
    batch_size: Annotated[
        int | None, typer.Option(show_default=shown(ScoreConfig, "batch_size"))
    ] = None,
    device: Device = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
) -> None:
    """Score every tile of every store: OUT/<slide_id>.parquet.

    Slides already scored by this very model are skipped.

    Example: wsi-specdec score --tiles run --model run/model --out run/scores
    """
    from wsi_specdec.steps import score_folder

    set_output(quiet=quiet)
    settings = resolve(ScoreConfig, "score", config, {"batch_size": batch_size, "device": device})
    score_folder(tiles, model, out, settings)
