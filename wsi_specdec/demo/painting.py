"""From a case and a layout to the pixels of a slide, as they are before any scanner."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.demo.cases import Case
from wsi_specdec.demo.layout import Layout, depth_in
from wsi_specdec.demo.packed import PATCH_PX, Patches

# A pixel of a patch counts as glass from this brightness, in the darkest channel, if it is grey.
_GLASS_FROM: Final = 230
_GLASS_MAX_SPREAD: Final = 6
_GLASS_IF_NONE: Final = (242.0, 239.0, 240.0)
_GLASS_NOISE: Final = 1.2
_VIGNETTE: Final = 2.0
_MAX_SPECKS: Final = 3
_SPECK_BOX_PX: Final = 21
# The tissue's outline: cells blurred over some pixels, with noise, cut at a level at which a
# straight side loses about a fifth of a cell and a corner more.
_EDGE_BLUR_PX: Final = 11.0
_EDGE_NOISE_PX: Final = 9.0
_EDGE_NOISE: Final = 0.16
_EDGE_LEVEL: Final = 0.7
_EDGE_SOFT_PX: Final = 1.0
_EDGE_STEP_PX: Final = 5


@dataclass(frozen=True, slots=True)
class Placement:
    """One packed patch in one cell."""

    row: int
    column: int
    patch: int


def arrange(
    patches: Patches, case: Case, layout: Layout, rng: np.random.Generator
) -> list[Placement]:
    """Give every patch of the case a cell: IDC in tumour cells, other tissue in the rest.

    Patches of one patient lie together, in bands across the slide; in a band, the patches with
    more glass lie nearer to the edge of the tissue.
    """
    angle = float(rng.uniform(0, 2 * np.pi))
    direction = np.array([np.sin(angle), np.cos(angle)])
    depth = depth_in(layout.tissue)
    members = (*case.tumour, *case.normal)
    names = sorted({str(patches.patient[i]) for i in members})
    band = {
        name: int(place) for name, place in zip(names, rng.permutation(len(names)), strict=True)
    }
    placed: list[Placement] = []
    for cells, chosen in (
        (layout.tumour, case.tumour),
        (layout.tissue & ~layout.tumour, case.normal),
    ):
        placed += _arrange_bands(
            np.argwhere(cells) @ direction, np.argwhere(cells), depth, patches, chosen, band
        )
    return sorted(placed, key=lambda p: (p.row, p.column))


def paint(
    patches: Patches, placements: list[Placement], layout: Layout, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Paint the slide, RGB (rows · 50, columns · 50, 3): patches, tissue edge and glass.

    Pixels of a patch are the source's own wherever the tissue is not cut to an edge.
    """
    rows, columns = layout.tissue.shape
    colour = _glass_colour(patches.tiles[[place.patch for place in placements]])
    glass = _glass(colour, rows * PATCH_PX, columns * PATCH_PX, rng)
    grid = np.zeros((rows, PATCH_PX, columns, PATCH_PX, 3), dtype=np.uint8)
    for place in placements:
        grid[place.row, :, place.column] = patches.tiles[place.patch]
    tissue = grid.reshape(rows * PATCH_PX, columns * PATCH_PX, 3)
    cover = tissue_cover(layout.tissue, rng)[..., None]
    # In place, since a slide in float32 is the largest thing held.
    glass += cover * (tissue - glass)
    return np.clip(np.rint(glass, out=glass), 0, 255, out=glass).astype(np.uint8)


def tissue_cover(cells: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Share of each pixel that tissue covers, (rows · 50, columns · 50): a smooth, uneven edge."""
    inside = _enlarged(cells, PATCH_PX)
    # What is smooth is made on a coarse grid.
    coarse = _enlarged(cells, PATCH_PX // _EDGE_STEP_PX)
    blurred = _blur(coarse, _EDGE_BLUR_PX / _EDGE_STEP_PX)
    noise = rng.standard_normal(coarse.shape, dtype=np.float32)
    noise = _blur(noise, _EDGE_NOISE_PX / _EDGE_STEP_PX)
    noise *= _EDGE_NOISE / noise.std()
    # Where the blur does not reach, noise must not tear holes into the tissue.
    level = blurred + noise * np.clip(4 * (1 - blurred), 0, 1)
    fine = cv2.resize(level, inside.shape[::-1], interpolation=cv2.INTER_CUBIC)
    cut = ((fine > _EDGE_LEVEL) & (inside > 0)).astype(np.float32)
    return np.clip(_blur(cut, _EDGE_SOFT_PX), 0, 1) * inside


def _arrange_bands(
    position: NDArray[np.float64],
    cells: NDArray[np.int64],
    depth: NDArray[np.float64],
    patches: Patches,
    chosen: tuple[int, ...],
    band: dict[str, int],
) -> list[Placement]:
    """Match cells along the direction with patients, and in each band depth with density."""
    cells = cells[np.argsort(position, kind="stable")]
    placed: list[Placement] = []
    start = 0
    for name in sorted(band, key=lambda name: band[name]):
        own = [i for i in chosen if patches.patient[i] == name]
        density = [255.0 - float(patches.tiles[i].mean()) for i in own]
        of_patient = cells[start : start + len(own)]
        start += len(own)
        deep_last = of_patient[np.argsort(depth[tuple(of_patient.T)], kind="stable")]
        dense_last = np.argsort(density, kind="stable")
        placed += [
            Placement(int(row), int(column), own[i])
            for (row, column), i in zip(deep_last, dense_last, strict=True)
        ]
    return placed


def _glass_colour(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Median of the glass within the slide's own patches."""
    pixels = tiles[:, ::3, ::3].reshape(-1, 3)
    darkest = pixels.min(axis=1)
    glass = pixels[(darkest >= _GLASS_FROM) & (pixels.max(axis=1) - darkest <= _GLASS_MAX_SPREAD)]
    colour = np.median(glass, axis=0) if len(glass) else np.array(_GLASS_IF_NONE)
    return colour.astype(np.float32)


def _glass(
    colour: NDArray[np.float32], height: int, width: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Empty glass: nearly white, a little darker to the corners, noisy, with a speck of dust."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    shade = np.asarray(-_VIGNETTE * (x**2 + y**2) / 2, dtype=np.float32)
    for _ in range(int(rng.integers(0, _MAX_SPECKS + 1))):
        _add_speck(shade, rng)
    glass = rng.standard_normal((height, width, 3), dtype=np.float32)
    glass *= _GLASS_NOISE
    glass += shade[..., None]
    glass += colour
    return glass


def _add_speck(shade: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Darken `shade` by one grain of dust, a few pixels wide."""
    speck = np.zeros((_SPECK_BOX_PX, _SPECK_BOX_PX), dtype=np.float32)
    middle = (_SPECK_BOX_PX // 2,) * 2
    cv2.circle(speck, middle, int(rng.integers(1, 4)), float(rng.uniform(40, 90)), thickness=-1)
    y, x = (int(rng.integers(side - _SPECK_BOX_PX)) for side in shade.shape)
    shade[y : y + _SPECK_BOX_PX, x : x + _SPECK_BOX_PX] -= _blur(speck, 1.5)


def _enlarged(cells: NDArray[np.bool_], px_per_cell: int) -> NDArray[np.float32]:
    """Cells as 0 and 1, `px_per_cell` pixels a side."""
    return cells.repeat(px_per_cell, axis=0).repeat(px_per_cell, axis=1).astype(np.float32)


def _blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float32)
