"""The real breast-tissue patches that ship with the package, packed as mosaics."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.files import sha256_of, sha256_of_file

PATCH_PX: Final = 50
# Each patch stands in a cell one pixel wider on every side, filled by repeating its edge: the
# cell is even, so no chroma sample is shared by two patches.
MARGIN_PX: Final = 1
CELL_PX: Final = PATCH_PX + 2 * MARGIN_PX
# Cruz-Roa et al. 2014: 40x slides (0.25 µm per pixel) downsampled 16 to 1.
PATCH_MPP: Final = 4.0
DATA: Final = Path(__file__).parent / "data" / "idc"
INDEX_FILE: Final = "index.csv"
INDEX_COLUMNS: Final = ("patient", "x", "y", "class", "mosaic", "row", "col")


@dataclass(frozen=True, slots=True)
class Patches:
    """Patches of invasive ductal carcinoma (IDC) and of other breast tissue, with their patients.

    Attributes
    ----------
    tiles
        RGB, shape (N, 50, 50, 3), uint8, 4 µm per pixel; read-only.
    label
        Shape (N,), int16: 1 where the patch is IDC, 0 where it is not.
    patient
        Shape (N,), str: the number of the patient in the source.
    x, y
        Shape (N,), int64: corner of the patch in the patient's slide, in pixels of 4 µm.
    """

    tiles: NDArray[np.uint8]
    label: NDArray[np.int16]
    patient: NDArray[np.str_]
    x: NDArray[np.int64]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.label)


@cache
def load_patches() -> Patches:
    """Load every packed patch, in the order of the index.

    Raises
    ------
    StoreError
        If the index or a mosaic is missing or does not fit the other.
    """
    return read_packed(DATA)


def patches_sha256() -> str:
    """Hash of the index and the mosaics, so that other patches are other settings."""
    files = [DATA / INDEX_FILE, *sorted(DATA.glob("*.webp"))]
    return sha256_of({path.name: sha256_of_file(path) for path in files})


def read_packed(folder: Path) -> Patches:
    """Read the mosaics and the index of a folder that `benchmarks/pack_idc.py` wrote.

    Raises
    ------
    StoreError
        If the index or a mosaic is missing or does not fit the other.
    """
    rows = _read_index(folder / INDEX_FILE)
    tiles = np.empty((len(rows), PATCH_PX, PATCH_PX, 3), dtype=np.uint8)
    in_mosaic: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        in_mosaic[row["mosaic"]].append(number)
    for name, numbers in in_mosaic.items():
        cells = [(int(rows[i]["row"]), int(rows[i]["col"])) for i in numbers]
        tiles[numbers] = _cut(_read_mosaic(folder / name), cells, folder / name)
    tiles.flags.writeable = False
    return Patches(
        tiles=tiles,
        label=np.array([row["class"] for row in rows], dtype=np.int16),
        patient=np.array([row["patient"] for row in rows], dtype=np.str_),
        x=np.array([row["x"] for row in rows], dtype=np.int64),
        y=np.array([row["y"] for row in rows], dtype=np.int64),
    )


def pack_mosaic(tiles: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Lay tiles (N, 50, 50, 3) row by row in one image (rows · 52, columns · 52, 3)."""
    rows = -(-len(tiles) // columns)
    padded = np.pad(tiles, ((0, 0), *[(MARGIN_PX, MARGIN_PX)] * 2, (0, 0)), mode="edge")
    cells = np.full((rows * columns, CELL_PX, CELL_PX, 3), 255, dtype=np.uint8)
    cells[: len(tiles)] = padded
    return (
        cells.reshape(rows, columns, CELL_PX, CELL_PX, 3)
        .swapaxes(1, 2)
        .reshape(rows * CELL_PX, columns * CELL_PX, 3)
    )


def _cut(mosaic: NDArray[np.uint8], cells: list[tuple[int, int]], path: Path) -> NDArray[np.uint8]:
    """Cut the patches of the cells (row, column) out of a mosaic."""
    height, width = mosaic.shape[:2]
    rows, columns = height // CELL_PX, width // CELL_PX
    if any(not (0 <= r < rows and 0 <= c < columns) for r, c in cells):
        msg = f"the index beside {path} names cells outside its {rows} by {columns}; reinstall"
        raise StoreError(msg)
    grid = mosaic.reshape(rows, CELL_PX, columns, CELL_PX, 3)
    row, column = np.array(cells).T
    inside = slice(MARGIN_PX, MARGIN_PX + PATCH_PX)
    return grid[row, :, column][:, inside, inside]


def _read_mosaic(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        msg = f"cannot read the packed patches in {path}: the file is missing or broken; reinstall"
        raise StoreError(msg)
    return np.asarray(image, dtype=np.uint8)


def _read_index(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            rows = list(reader)
    except OSError as error:
        msg = f"cannot read the index of the packed patches {path}: {error}; reinstall"
        raise StoreError(msg) from error
    if tuple(reader.fieldnames or ()) != INDEX_COLUMNS or not rows:
        msg = f"{path} does not hold the columns {', '.join(INDEX_COLUMNS)}; reinstall"
        raise StoreError(msg)
    return rows
