"""Tiles in strips, so that few of the file's own are kept for others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsi_specdec.geometry import plan_reading
from wsi_specdec.tiling.extract import split_runs, visit_order


@given(
    columns=st.integers(1, 60),
    rows=st.integers(1, 12),
    size=st.sampled_from([200, 256, 700]),
    overlap=st.sampled_from([0, 64, 130]),
    mpp=st.sampled_from([None, 0.7, 0.913]),
)
def test_strips_are_as_wide_as_a_run_and_read_from_top_to_bottom(
    columns: int, rows: int, size: int, overlap: int, mpp: float | None
) -> None:
    plan = plan_reading(
        mpp_level0=0.5,
        level_downsamples=[1.0],
        mpp=mpp,
        tile_size_px=size,
        overlap_px=overlap,
        tolerance=0.02,
    )
    side, step = plan.read_size_px, plan.step_px
    xs, ys = (np.rint(np.arange(n) * step).astype(np.int64) + 37 for n in (columns, rows))
    coords = np.array([(x, y) for y in ys for x in xs])
    order = visit_order(coords, plan)
    assert sorted(order.tolist()) == list(range(len(coords)))
    runs = list(split_runs(coords[order], plan))
    assert (np.concatenate(runs) == coords[order]).all()
    # No run is cut by a strip's border, and none reaches beyond a block, but for a tile alone.
    a_run = max(1, int((2048 - side) // step) + 1)
    assert len(runs) == rows * -(-columns // a_run)
    assert all(len(run) == 1 or run[-1, 0] + side - run[0, 0] <= 2048 for run in runs)
    if columns > a_run:
        below = [run[0, 1] for run in runs[:rows]]
        assert below == ys.tolist()
