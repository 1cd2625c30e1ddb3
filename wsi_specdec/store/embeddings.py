"""A slide's tile embeddings as one Zarr group, beside its scores."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.files import atomic_path
from wsi_specdec.keys import EMBEDDINGS, EMBEDDINGS_DIR, STORE_SUFFIX
from wsi_specdec.store.unfinished import UnfinishedGroup

Dtype = Literal["float16", "float32"]

# Rows of a chunk: a file of a few MB.
_CHUNK_ROWS = 1024


def embeddings_folder(scores: Path) -> Path:
    """Folder of the embeddings that belong to a folder of scores: `embeddings/` beside it."""
    return scores.parent / EMBEDDINGS_DIR


def embeddings_path(folder: Path, slide_id: str) -> Path:
    """Path of a slide's embeddings in a folder of embeddings."""
    return folder / f"{slide_id}{STORE_SUFFIX}"


class EmbeddingsWriter(UnfinishedGroup):
    """Writes one slide's embeddings under a temporary name; a clean exit moves them into place.

    Parameters
    ----------
    path
        The group, `<slide_id>.zarr`.
    n_tiles, n_features
        Shape of the array `embeddings`; either may be 0.
    dtype
        How they are stored.

    Raises
    ------
    StoreError
        If rows do not fit the shape or the type, or it is left before `finish` was called.
    """

    def __init__(
        self,
        path: Path,
        *,
        n_tiles: int,
        n_features: int,
        dtype: Dtype = "float16",
    ) -> None:
        super().__init__(path)
        self._shape = (n_tiles, n_features)
        self._dtype = np.dtype(dtype)
        self._waiting: list[NDArray[np.floating[Any]]] = []
        self._taken = self._written = 0

    def _begin(self, stack: ExitStack) -> None:
        self._group = zarr.create_group(stack.enter_context(atomic_path(self.path)))
        self._array = self._group.create_array(
            EMBEDDINGS,
            shape=self._shape,
            dtype=self._dtype,
            chunks=(max(1, min(_CHUNK_ROWS, self._shape[0])), max(1, self._shape[1])),
            compressors=None,
        )

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add the next tiles' embeddings, (n, n_features), in the order of the scores.

        Raises
        ------
        StoreError
            If they are of another width, too many, or beyond what the type can hold.
        """
        if rows.shape[1:] != self._shape[1:] or self._taken + len(rows) > self._shape[0]:
            msg = f"{self.path} takes {self._shape} embeddings, got {rows.shape} more"
            raise StoreError(msg)
        with np.errstate(over="ignore"):
            narrow = rows.astype(self._dtype)
        if not np.isfinite(narrow).all():
            msg = (
                f"embeddings for {self.path} are not numbers that {self._dtype} can hold; "
                "where they are too large, set embeddings_dtype of score to float32"
            )
            raise StoreError(msg)
        self._waiting.append(narrow)
        self._taken += len(rows)
        # Whole chunks, so that none is read back to be completed.
        if self._taken - self._written >= _CHUNK_ROWS or self._taken == self._shape[0]:
            self._write()

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Write the group's attributes: the metadata that the file of scores has, plain JSON.

        Raises
        ------
        StoreError
            If rows are missing.
        """
        if self._taken != self._shape[0]:
            msg = f"{self.path} got {self._taken} rows of the {self._shape[0]} announced"
            raise StoreError(msg)
        self._group.update_attributes(dict(metadata))
        self._finished = True

    def _write(self) -> None:
        rows = np.concatenate(self._waiting)
        last = self._taken == self._shape[0]
        whole = len(rows) if last else len(rows) // _CHUNK_ROWS * _CHUNK_ROWS
        if whole:
            self._array[self._written : self._written + whole] = rows[:whole]
        self._written += whole
        self._waiting = [rows[whole:]]


def read_embeddings(path: Path, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Read a slide's embeddings: float32, (N, D), a row for each row of its scores.

    Parameters
    ----------
    path
        The group, `<slide_id>.zarr`.
    rows
        Numbers of the rows to read, in the order wanted; all of them if None.

    Raises
    ------
    StoreError
        If they are missing or damaged, or there is no such row.
    """
    try:
        array = zarr.open_array(path / EMBEDDINGS, mode="r")
        values = np.asarray(array[...] if rows is None else array.oindex[rows, :])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise StoreError(_unreadable(path, error)) from error
    if values.ndim != 2 or not np.isfinite(values).all():
        raise StoreError(_unreadable(path, f"shape {values.shape}, or not all are numbers"))
    return values.astype(np.float32)


def read_embeddings_metadata(path: Path) -> dict[str, Any]:
    """Read the attributes of a slide's embeddings: those that its scores' file has.

    Raises
    ------
    StoreError
        If they are missing or damaged.
    """
    try:
        return dict(zarr.open_group(path, mode="r").attrs)
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: object) -> str:
    return (
        f"no readable tile embeddings at {path} ({error}); "
        "run `wsi-specdec score` with embeddings: true"
    )
