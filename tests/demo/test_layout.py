import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from wsi_specdec.demo.layout import _trimmed, depth_in, make_layout


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    n_tumour=st.one_of(st.just(0), st.integers(1, 80)),
    n_normal=st.integers(20, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_layout_holds_every_patch_in_compact_pieces(
    n_tumour: int, n_normal: int, seed: int
) -> None:
    layout = make_layout(n_tumour, n_normal, np.random.default_rng(seed))
    assert layout.tissue.sum() == n_tumour + n_normal
    assert layout.tumour.sum() == n_tumour
    assert not (layout.tumour & ~layout.tissue).any()
    assert ndimage.label(layout.tissue)[1] <= 2
    assert ndimage.label(layout.tumour)[1] <= 5
    inner = layout.tissue[2:-2, 2:-2]
    assert inner.sum() == layout.tissue.sum()
    assert all(side % 2 == 0 for side in layout.tissue.shape)


def test_tumour_is_not_salt_and_pepper() -> None:
    shares = []
    for seed in range(20):
        layout = make_layout(45, 60, np.random.default_rng(seed))
        neighbours = ndimage.convolve(layout.tumour.astype(int), np.ones((3, 3), int)) - 1
        shares.append(float((neighbours[layout.tumour] >= 3).mean()))
    assert min(shares) > 0.85


def test_both_one_and_two_fragments_occur() -> None:
    pieces = {
        ndimage.label(make_layout(40, 60, np.random.default_rng(seed)).tissue)[1]
        for seed in range(20)
    }
    assert pieces == {1, 2}


def test_depth_counts_cells_from_the_outside() -> None:
    depth = depth_in(np.ones((5, 5), dtype=bool))
    assert depth[0].tolist() == [1, 1, 1, 1, 1]
    assert depth[2].tolist() == [1, 2, 3, 2, 1]


def test_trimming_keeps_one_piece_and_takes_the_costliest_border_first() -> None:
    # Two squares joined by a bridge: the bridge is the costliest, but carries the second square.
    mask = np.zeros((5, 9), dtype=bool)
    mask[1:4, :3] = mask[1:4, 6:] = mask[2, 3:6] = True
    cost = np.zeros(mask.shape)
    cost[2, 3:6] = 9
    cost[1, 8] = 5
    trimmed = _trimmed(mask, int(mask.sum()) - 1, cost)
    assert not trimmed[1, 8]
    assert trimmed.sum() == mask.sum() - 1
    assert ndimage.label(trimmed)[1] == 1
