"""A slide's attention by tile, as one Parquet file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.files import atomic_path
from wsi_specdec.keys import ATTENTION, X, Y
from wsi_specdec.store.scores import read_scores


def write_attention(path: Path, coords: NDArray[np.int64], attention: NDArray[np.float64]) -> None:
    """Write the columns `x`, `y` (int64, level-0 px) and `attention` (float64) atomically.

    Parameters
    ----------
    path
        The file, `attention/<slide_id>.parquet`.
    coords, attention
        (n, 2) and (n,), which sum to 1.

    Raises
    ------
    StoreError
        If the shapes contradict each other.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if coords.shape != (len(attention), 2):
        msg = f"attention for {path}: coords {coords.shape}, weights {attention.shape}"
        raise StoreError(msg)
    columns = {X: coords[:, 0], Y: coords[:, 1], ATTENTION: attention}
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def read_attention(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read coords (n, 2) int64, level-0 px, and attention (n,) float64.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    frame = read_scores(path)
    if not {X, Y, ATTENTION} <= set(frame.columns):
        msg = f"{path} holds no attention: write it with `wsi-specdec aggregate --attention`"
        raise StoreError(msg)
    return frame[[X, Y]].to_numpy(np.int64), frame[ATTENTION].to_numpy(np.float64)
