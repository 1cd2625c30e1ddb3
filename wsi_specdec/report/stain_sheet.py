"""A contact sheet of stain normalisation: tiles and their optical densities, before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.files import atomic_path
from wsi_specdec.stain import WHITE, StainProfile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INCHES: Final = 2.3
# Optical density of the channels that tell haematoxylin from eosin best: red and green.
_CHANNELS: Final = (0, 1)
_REACH: Final = 2.4
_BINS: Final = 96
_STAINS: Final = (("haematoxylin", "#3b2f8f"), ("eosin", "#d81b60"))
_TARGET: Final = "#202020"


@dataclass(frozen=True, eq=False)
class Look:
    """A slide's tiles and stains at one time.

    Attributes
    ----------
    picture
        (h, w, 3) uint8, to be shown.
    pixels
        (n, 3) uint8, sampled over the slide.
    profile
        Fitted to them.
    """

    picture: NDArray[np.uint8]
    pixels: NDArray[np.uint8]
    profile: StainProfile


@dataclass(frozen=True, eq=False)
class StainView:
    """A slide before and after normalisation, its name, and what is said beside it."""

    name: str
    note: str
    before: Look
    after: Look


def draw_stain_sheet(views: Sequence[StainView], target: StainProfile, path: Path) -> None:
    """Draw a row for each slide: tiles before and after, and each one's optical densities.

    Densities are counted in the plane of red and green. Arrows are the stain vectors, as long as
    the strongest concentrations; those of the target are dashed.

    Parameters
    ----------
    views
        The slides, at least one.
    target
        What was to be reached.
    path
        The PNG to write; it is replaced.
    """
    from matplotlib.figure import Figure

    size = (_INCHES * 4 + 0.3, _INCHES * len(views) + 0.9)
    figure = Figure(size, dpi=130, layout="constrained")
    axes = figure.subplots(len(views), 4, squeeze=False)
    for row, view in zip(axes, views, strict=True):
        _draw_row(row, view, target)
    for place, title in zip(
        axes[0],
        ("before", "before: optical density", "after", "after: optical density"),
        strict=True,
    ):
        place.set_title(title, fontsize=9)
    _explain(figure, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _draw_row(row: "Sequence[Axes]", view: StainView, target: StainProfile) -> None:
    for place, look in ((row[0], view.before), (row[2], view.after)):
        place.imshow(look.picture, interpolation="antialiased")
        place.set_xticks([])
        place.set_yticks([])
    row[0].set_ylabel(view.name, fontsize=7)
    row[0].set_xlabel(view.note, fontsize=7)
    for place, look in ((row[1], view.before), (row[3], view.after)):
        _draw_densities(place, look, target)


def _draw_densities(place: "Axes", look: Look, target: StainProfile) -> None:
    # Spread over the width of a grey level, or bins that no level falls into would show as stripes.
    levels = look.pixels[:, _CHANNELS] + np.random.default_rng(0).uniform(
        0.5, 1.5, (len(look.pixels), 2)
    )
    red, green = -np.log(levels.T / WHITE)
    span = [[-0.1, _REACH], [-0.1, _REACH]]
    counts, *_ = np.histogram2d(red, green, bins=_BINS, range=span)
    place.imshow(
        np.log1p(counts.T), origin="lower", extent=(-0.1, _REACH, -0.1, _REACH), cmap="Greys"
    )
    _draw_vectors(place, look.profile, dashed=False)
    _draw_vectors(place, target, dashed=True)
    place.set_xlim(-0.1, _REACH)
    place.set_ylim(-0.1, _REACH)
    place.set_xticks([0, 1, 2])
    place.set_yticks([0, 1, 2])
    place.tick_params(labelsize=6, length=2)
    place.set_xlabel("red", fontsize=6, labelpad=1)
    place.set_ylabel("green", fontsize=6, labelpad=1)


def _draw_vectors(place: "Axes", profile: StainProfile, *, dashed: bool) -> None:
    if profile.status != "ok" or profile.lab_means is not None:
        return
    ends = profile.matrix() * np.array(profile.max_concentrations)[:, np.newaxis]
    for end, (_, colour) in zip(ends[:, _CHANNELS], _STAINS, strict=True):
        # Cut where it leaves the picture, its direction kept.
        x, y = (end * min(1.0, _REACH / max(end.max(), 1e-9))).tolist()
        style: dict[str, Any] = {"color": _TARGET, "ls": (0, (4, 2)), "lw": 1.2}
        if not dashed:
            style = {"color": colour, "ls": "-", "lw": 1.8}
        place.plot([0, x], [0, y], solid_capstyle="round", **style)
        place.plot([x], [y], marker="o", ms=3, color=style["color"])


def _explain(figure: "Figure", target: StainProfile) -> None:
    from matplotlib.lines import Line2D

    if target.lab_means is not None:
        figure.suptitle(f"{target.method}: means and deviations of L*a*b*, no stain vectors")
        return
    handles = [Line2D([], [], color=colour, lw=1.8, label=name) for name, colour in _STAINS]
    handles.append(Line2D([], [], color=_TARGET, lw=1.2, ls=(0, (4, 2)), label="target"))
    figure.suptitle(f"stain normalisation by {target.method}", fontsize=10)
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
