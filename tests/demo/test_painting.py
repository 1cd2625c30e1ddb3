import numpy as np
import pytest

from wsi_specdec.config import CohortConfig
from wsi_specdec.demo import Patches
from wsi_specdec.demo.cases import Case, assign_cases
from wsi_specdec.demo.layout import Layout, depth_in, make_layout
from wsi_specdec.demo.packed import PATCH_PX
from wsi_specdec.demo.painting import arrange, paint, tissue_cover


@pytest.fixture(scope="module")
def case(patches: Patches) -> Case:
    return next(c for c in assign_cases(patches, CohortConfig()) if c.label)


@pytest.fixture(scope="module")
def layout(case: Case) -> Layout:
    return make_layout(len(case.tumour), len(case.normal), np.random.default_rng(1))


def test_every_patch_lies_once_and_tumour_in_tumour_cells(
    patches: Patches, case: Case, layout: Layout
) -> None:
    placed = arrange(patches, case, layout, np.random.default_rng(0))
    assert sorted(p.patch for p in placed) == sorted((*case.tumour, *case.normal))
    assert len({(p.row, p.column) for p in placed}) == len(placed)
    for place in placed:
        assert layout.tissue[place.row, place.column]
        assert layout.tumour[place.row, place.column] == bool(patches.label[place.patch])


def test_inner_cells_are_the_patches_own_pixels(
    patches: Patches, case: Case, layout: Layout
) -> None:
    rng = np.random.default_rng(0)
    placed = arrange(patches, case, layout, rng)
    image = paint(patches, placed, layout, rng)
    rows, columns = layout.tissue.shape
    assert image.shape == (rows * PATCH_PX, columns * PATCH_PX, 3)
    depth = depth_in(layout.tissue)
    inner = [p for p in placed if depth[p.row, p.column] >= 2]
    assert inner
    for place in inner:
        y, x = place.row * PATCH_PX, place.column * PATCH_PX
        cell = image[y : y + PATCH_PX, x : x + PATCH_PX]
        np.testing.assert_array_equal(cell, patches.tiles[place.patch])


def test_glass_is_nearly_white_and_noisy(patches: Patches, case: Case, layout: Layout) -> None:
    rng = np.random.default_rng(0)
    image = paint(patches, arrange(patches, case, layout, rng), layout, rng)
    frame = image[: 2 * PATCH_PX]
    assert 232 < np.median(frame) < 250
    assert 0 < np.std(frame[:PATCH_PX, :PATCH_PX], axis=(0, 1)).mean() < 5


def test_edge_is_smooth_uneven_and_leaves_most_of_the_tissue(layout: Layout) -> None:
    cover = tissue_cover(layout.tissue, np.random.default_rng(0))
    rows, columns = layout.tissue.shape
    per_cell = cover.reshape(rows, PATCH_PX, columns, PATCH_PX).mean(axis=(1, 3))
    assert cover.min() == 0
    assert cover.max() == pytest.approx(1)
    assert (per_cell[~layout.tissue] == 0).all()
    assert (per_cell[depth_in(layout.tissue) >= 2] > 0.999).all()
    border = per_cell[layout.tissue & (depth_in(layout.tissue) == 1)]
    assert border.mean() < 0.95
    assert (border > 0.5).mean() > 0.8


def test_a_slide_without_grey_glass_gets_the_usual_one(layout: Layout) -> None:
    dark = Patches(
        tiles=np.full((1, PATCH_PX, PATCH_PX, 3), 90, dtype=np.uint8),
        label=np.zeros(1, dtype=np.int16),
        patient=np.array(["1"]),
        x=np.zeros(1, dtype=np.int64),
        y=np.zeros(1, dtype=np.int64),
    )
    rng = np.random.default_rng(0)
    one = Layout(np.zeros((5, 5), dtype=bool), np.zeros((5, 5), dtype=bool))
    one.tissue[2, 2] = True
    image = paint(dark, arrange(dark, Case(1, "train", (), (0,)), one, rng), one, rng)
    assert np.median(image[:20].reshape(-1, 3), axis=0) == pytest.approx((242, 239, 240), abs=3)
