"""How figures look: colours for light and for dark pages, one style, and SVG out."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

MARKERS: Final = ("o", "D", "s", "^", "v", "P")
WIDTH_IN: Final = 4.6
TITLE_SIZE: Final = 10.5


@dataclass(frozen=True)
class Palette:
    """Colours of a figure on a light or a dark page; `series` are told apart by any vision."""

    ink: str
    faint: str
    grid: str
    series: tuple[str, ...]

    def colours(self) -> tuple[str, ...]:
        """All of them, in an order that palettes share."""
        return (self.ink, self.faint, self.grid, *self.series)

    def colour(self, rank: int) -> str:
        """Colour of the series of a rank; they repeat when there are more than colours."""
        return self.series[rank % len(self.series)]


# After Okabe and Ito; on dark pages their lighter ones, and the others lightened.
LIGHT: Final = Palette(
    "#1b2430",
    "#5c6773",
    "#dde2e8",
    ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B07A00"),
)
DARK: Final = Palette(
    "#e6eaf0",
    "#9aa6b4",
    "#333d4a",
    ("#56B4E9", "#F08A4B", "#35C79B", "#E3A3C6", "#9AC7F0", "#E6B95C"),
)


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG, for light and for dark pages."""

    light: bytes
    dark: bytes


def marker(rank: int) -> str:
    """Marker of the series of a rank."""
    return MARKERS[rank % len(MARKERS)]


def draw(figure: Figure) -> Drawing:
    """Write a figure, made in the light palette, as SVG in both."""
    FigureCanvasAgg(figure)
    out = io.BytesIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    light = out.getvalue().decode("utf-8")
    return Drawing(light.encode(), _recoloured(light).encode())


@contextmanager
def style() -> Iterator[None]:
    """Set fonts and colours for the figures made within."""
    settings: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.size": 10.5,
        "text.color": LIGHT.ink,
        "axes.labelcolor": LIGHT.ink,
        "axes.edgecolor": LIGHT.faint,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": LIGHT.faint,
        "ytick.color": LIGHT.faint,
        "xtick.labelcolor": LIGHT.ink,
        "ytick.labelcolor": LIGHT.ink,
        "grid.color": LIGHT.grid,
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "svg.fonttype": "path",
        # The same figure gives the same bytes.
        "svg.hashsalt": "wsi_specdec",
    }
    with mpl.rc_context(settings):
        yield


def _recoloured(svg: str) -> str:
    """Exchange each colour of the light palette for its counterpart; twice as fast as redrawing."""
    pairs = zip(LIGHT.colours(), DARK.colours(), strict=True)
    dark_of = {light.lower(): dark.lower() for light, dark in pairs}
    return re.sub("|".join(dark_of), lambda match: dark_of[match.group()], svg)
