"""Stain normalisation: fit a target on training slides, apply it to stores, look at it.

Normalise while tiling with `tile --stain-target`, or as tiles are read with `train --stain`.
"""

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from wsi_specdec.cli.options import (
    SOME_FAILED,
    ConfigFile,
    Json,
    Manifest,
    Out,
    Overwrite,
    Quiet,
    Tiles,
    print_json,
    resolve,
    set_output,
    shown,
)
from wsi_specdec.config import StainConfig, TileConfig, TrainConfig, override

_DEFAULT_METHOD: Final = "macenko"

Method = Annotated[
    Literal["macenko", "vahadane", "reinhard"] | None,
    typer.Option(help="How stains are found.", show_default=_DEFAULT_METHOD),
]
TargetFile = Annotated[
    Path,
    typer.Option("--target", help="File that `stain fit` wrote.", show_default=False, exists=True),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other setting of docs/stain.md, as in --set min_od=0.2; repeatable.",
        show_default=False,
    ),
]
OutFile = Annotated[Path, typer.Option("--out", "-o", help="File to write.", show_default=False)]


def fit(
    *,
    tiles: Tiles,
    manifest: Manifest,
    out: OutFile,
    split: Annotated[
        str,
        typer.Option(help="The slides that are fitted: those of this split, and no other."),
    ] = "train",
    method: Method = None,
    config: ConfigFile = None,
    set_: Set = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Fit the target profile to the slides of one split, and write it to OUT, a JSON file.

    Every slide's own profile is fitted to pixels sampled over its tiles, and kept beside them
    (stain/); the target is their mean. Slides with too little tissue count for nothing. The same
    command again does only what is missing.

    Example: wsi-specdec stain fit --tiles run --manifest slides.csv --split train --out target.json
    """
    from wsi_specdec.steps.stain import fit_target

    set_output(quiet=quiet, as_json=json)
    made = fit_target(tiles, manifest, split, out, _settings(method, config, set_))
    statuses = made["made_from"]["slides"]
    left = {slide_id: status for slide_id, status in statuses.items() if status != "ok"}
    if json:
        print_json({"out": out, **made})
    elif not quiet:
        used = len(statuses) - len(left)
        typer.echo(f"{out}: {made['profile']['method']}, of {used} of {len(statuses)} slides")
    for slide_id, status in left.items():
        typer.secho(f"not used {slide_id}: {status.replace('_', ' ')}", fg="yellow", err=True)


def apply(
    *,
    tiles: Tiles,
    target: TargetFile,
    out: Out,
    codec: Annotated[
        Literal["jpeg", "lossless"] | None,
        typer.Option(help="How pixels are stored.", show_default="that of each store"),
    ] = None,
    jpeg_quality: Annotated[
        int,
        typer.Option(
            help="1 to 100, of stores in JPEG: tiles are encoded once more.", min=1, max=100
        ),
    ] = int(shown(TileConfig, "jpeg_quality")),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write stain-normalised copies of tile stores to OUT/tiles.

    Each slide's profile is fitted to its own tiles and taken to the target; one that has none
    keeps its pixels, and says so. The same command again does only what is missing. Training and
    scoring on OUT then need no further setting. To tile and normalise in one go, and encode once,
    give the target to `tile --stain-target`.

    Example: wsi-specdec stain apply --tiles run --target target.json --out normalised
    """
    from wsi_specdec.steps.stain import apply_target
    from wsi_specdec.tiling.restained import Encoding

    set_output(quiet=quiet, as_json=json)
    encoding = Encoding(codec, jpeg_quality)
    done = apply_target(tiles, target, out, encoding, overwrite=overwrite)
    if json:
        print_json({"out": out, "slides": dict(done.statuses), "failures": dict(done.failures)})
    elif not quiet:
        typer.echo(f"{out}: {len(done.statuses)} slides")
    for slide_id, status in done.statuses.items():
        if status in {"too_little_tissue", "degenerate"}:
            told = f"not normalised {slide_id}: {status.replace('_', ' ')}"
            typer.secho(told, fg="yellow", err=True)
    for slide_id, reason in done.failures.items():
        typer.secho(f"failed {slide_id}: {reason}", fg="red", err=True)
    if done.failures:
        raise typer.Exit(SOME_FAILED)


def show(
    *,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT", help="Folders that `tile` wrote, single stores, pictures, or folders."
        ),
    ],
    out: OutFile,
    target: Annotated[
        Path | None,
        typer.Option(
            help="File that `stain fit` wrote.",
            show_default="the mean of all that is shown",
            exists=True,
        ),
    ] = None,
    method: Method = None,
    slides: Annotated[
        int, typer.Option(help="Shown at most, evenly spaced where there are more.", min=1)
    ] = 12,
    config: ConfigFile = None,
    set_: Set = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Draw a contact sheet, OUT (PNG): each slide before and after, and its stain vectors.

    Beside the tiles stand their optical densities in red and green, with the stain vectors of the
    slide (drawn through) and of the target (dashed).

    Example: wsi-specdec stain show run --target target.json --out stains.png
    """
    from wsi_specdec.report.stain_sheet import draw_stain_sheet
    from wsi_specdec.report.stain_views import find_subjects, stain_views
    from wsi_specdec.stain.target import read_target

    set_output(quiet=quiet, as_json=json)
    wanted = None if target is None else read_target(target)
    settings = _settings(method, config, set_) if wanted is None else wanted.settings
    views, reached = stain_views(find_subjects(inputs, settings, slides), settings, wanted)
    draw_stain_sheet(views, reached, out)
    if json:
        found = {view.name: view.before.profile.to_json() for view in views}
        print_json({"out": out, "target": reached.to_json(), "slides": found})
    elif not quiet:
        typer.echo(f"{out}: {len(views)} slides")


# In the order in which they are listed.
COMMANDS: Final = (fit, apply, show)


def _settings(method: str | None, config: Path | None, changes: list[str] | None) -> StainConfig:
    """Combine the defaults, the section `train: stain:` of a config, and the flags."""
    stain = resolve(TrainConfig, "train", config, {}).stain
    wanted = method or (_DEFAULT_METHOD if stain.method == "none" else stain.method)
    return override(stain.model_copy(update={"method": wanted}), changes or [])
