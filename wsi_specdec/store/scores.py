"""A slide's tile scores as one Parquet file.

pandas and pyarrow are imported where used: tiling's processes, which start often, need neither.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.files import atomic_path
from wsi_specdec.keys import LOGIT_PREFIX, PROB_PREFIX, SCORES_SUFFIX, X, Y

if TYPE_CHECKING:
    import pandas as pd

_METADATA: Final = b"wsi_specdec"


def scores_path(folder: Path, slide_id: str) -> Path:
    """Path of a slide's scores in a folder of scores."""
    return folder / f"{slide_id}{SCORES_SUFFIX}"


def write_scores(
    path: Path,
    coords: NDArray[np.int64],
    logits: NDArray[np.float32],
    probs: NDArray[np.float32],
    names: Sequence[str],
    metadata: Mapping[str, Any],
    others: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
) -> None:
    """Write a slide's tile scores atomically.

    Parameters
    ----------
    path
        The file, `<slide_id>.parquet`.
    coords
        int64, (N, 2): x, y in level-0 pixels.
    logits, probs
        float32, (N, k).
    names
        The k score names, for the columns `logit_<name>` and `prob_<name>`.
    metadata
        Plain JSON that travels with the file: what made it.
    others
        More columns by name, float32, (N,) each: what each of several models says.

    Raises
    ------
    StoreError
        If the shapes contradict each other.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    shape = (len(coords), len(names))
    if coords.shape[1:] != (2,) or logits.shape != shape or probs.shape != shape:
        msg = (
            f"scores for {path} contradict each other: coords {coords.shape}, "
            f"logits {logits.shape}, probs {probs.shape}, names {list(names)}"
        )
        raise StoreError(msg)
    columns = {X: pa.array(coords[:, 0], pa.int64()), Y: pa.array(coords[:, 1], pa.int64())}
    for prefix, values in ((LOGIT_PREFIX, logits), (PROB_PREFIX, probs)):
        for column, name in enumerate(names):
            data = np.asarray(values[:, column], np.float32)
            columns[prefix + name] = pa.array(data, pa.float32())
    for name, one in others.items():
        columns[name] = pa.array(np.asarray(one, np.float32), pa.float32())
    text = json.dumps(dict(metadata), allow_nan=False)
    table = pa.table(columns).replace_schema_metadata({_METADATA: text.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def read_scores(path: Path) -> "pd.DataFrame":
    """Read tile scores: columns `x`, `y` (int64), `logit_<name>`, `prob_<name>` (float32).

    Where several models scored, their own columns follow: `model_<k>_logit_<name>`, ….

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Its own handle: given a path, pyarrow would take `a=b` folders for partitions.
        with path.open("rb") as handle:
            table = pq.read_table(handle)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(_unreadable(path, error)) from error
    frame: pd.DataFrame = table.to_pandas()
    return frame


def read_scores_metadata(path: Path) -> dict[str, Any]:
    """Read what `write_scores` was given as `metadata`.

    Raises
    ------
    StoreError
        If the file is missing or damaged, or is not ours.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as handle:
            metadata = pq.read_schema(handle).metadata or {}
        values = json.loads(metadata[_METADATA])
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise StoreError(_unreadable(path, error)) from error
    return dict(values)


def _unreadable(path: Path, error: Exception) -> str:
    return f"no readable tile scores at {path} ({error}); run `wsi-specdec score` again"
