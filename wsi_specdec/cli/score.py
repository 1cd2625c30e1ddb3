"""`score`: models over tile stores, or straight over slides."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from wsi_specdec.cli.options import (
    ConfigFile,
    Device,
    Json,
    Out,
    Quiet,
    Reader,
    Scheduler,
    SlideMpp,
    finish,
    print_json,
    resolve,
    set_output,
    shown,
)
from wsi_specdec.config import RunnerConfig, ScoreConfig, TileConfig
from wsi_specdec.errors import ConfigError

Model = Annotated[
    Path, typer.Option(help="Folder that `train` wrote.", show_default=False, exists=True)
]


def score(
    *,
    model: Annotated[
        list[Path],
        typer.Option(
            help="Folder that `train` wrote; given several times, their mean is the score.",
            show_default=False,
            exists=True,
        ),
    ],
    out: Out,
    tiles: Annotated[
        Path | None, typer.Option(help="Folder that `tile` wrote.", show_default=False, exists=True)
    ] = None,
    slides: Annotated[
        Path | None,
        typer.Option(
            help="Instead of tiles: a slide, a folder of slides, or a manifest (.csv). Tiles are "
            "cut as the model takes them, and not stored.",
            show_default=False,
            exists=True,
        ),
    ] = None,
    embeddings: Annotated[
        bool | None,
        typer.Option(
            "--embeddings/--no-embeddings",
            help="Write each tile's embedding too, to embeddings/ beside OUT.",
            show_default="off",
        ),
    ] = None,
    symmetries: Annotated[
        int | None,
        typer.Option(
            help="Test-time augmentation: mean over so many of the square's 8 symmetries.",
            show_default=shown(ScoreConfig, "symmetries"),
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        typer.Option(help="auto: bfloat16 on CUDA.", show_default=shown(ScoreConfig, "precision")),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Tiles at a time.", show_default="256 on CUDA, 32 on the CPU"),
    ] = None,
    min_tissue: Annotated[
        float | None,
        typer.Option(
            help="Least share of a tile that is tissue; others get no score.",
            show_default="every tile of a store; of slides as in tile",
        ),
    ] = None,
    slide_mpp: SlideMpp = None,
    reader: Reader = None,
    device: Device = None,
    scheduler: Scheduler = None,
    threads: Annotated[
        int | None, typer.Option(help="Of each slide, with --scheduler.", show_default="1")
    ] = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Score the tiles of slides: OUT/<slide_id>.parquet, and OUT/ledger.csv.

    The same command again does only what is missing: slides scored by these very models with these
    settings are skipped. For several GPUs, call it by torchrun --nproc-per-node N
    -m wsi_specdec score …

    Example: wsi-specdec score --tiles run --model run/model --out run/scores

    Example: wsi-specdec score --slides slides/ --model run/model --out new/scores
    """
    if (tiles is None) == (slides is None):
        msg = "give either --tiles, a folder that `tile` wrote, or --slides"
        raise ConfigError(msg)
    # Imported only where the verb runs: torch takes seconds.
    from wsi_specdec.scoring import is_first_process
    from wsi_specdec.steps.score import score_folder, score_slides

    set_output(quiet=quiet, as_json=json)
    flags = {
        "batch_size": batch_size,
        "device": device,
        "embeddings": embeddings,
        "precision": precision,
        "symmetries": symmetries,
    }
    spread = {"scheduler": scheduler, "threads": threads}
    runner = resolve(RunnerConfig, "runner", config, spread)
    if slides is not None:
        settings = resolve(ScoreConfig, "score", config, flags)
        cut = {"min_tissue": min_tissue, "slide_mpp": slide_mpp, "reader": reader}
        tile = resolve(TileConfig, "tile", config, cut)
        summary = score_slides(slides, model, out, tile, settings, runner)
    else:
        assert tiles is not None
        settings = resolve(ScoreConfig, "score", config, flags | {"min_tissue": min_tissue})
        summary = score_folder(tiles, model, out, settings, runner)
    if not is_first_process():
        raise typer.Exit(int(not summary.ok))
    if json:
        print_json({"out": out, **asdict(summary)})
    finish(summary)
