import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.demo import Patches
from wsi_specdec.demo.packed import (
    DATA,
    INDEX_COLUMNS,
    INDEX_FILE,
    PATCH_PX,
    pack_mosaic,
    read_packed,
)
from wsi_specdec.errors import StoreError


def write_index(folder: Path, rows: Sequence[Sequence[object]]) -> None:
    with (folder / INDEX_FILE).open("w", newline="") as handle:
        csv.writer(handle).writerows([INDEX_COLUMNS, *rows])


def write_mosaic(folder: Path, tiles: NDArray[np.uint8], columns: int) -> None:
    mosaic = cv2.cvtColor(pack_mosaic(tiles, columns), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "mosaic-0.png"), mosaic)


def test_every_patient_and_whole_patch_of_the_source_is_packed(patches: Patches) -> None:
    assert len(patches) == 8011
    assert int(patches.label.sum()) == 2089
    assert len(np.unique(patches.patient)) == 224
    assert patches.tiles.shape == (8011, PATCH_PX, PATCH_PX, 3)
    places = set(zip(patches.patient, patches.x, patches.y, strict=True))
    assert len(places) == len(patches)


def test_packed_patches_are_small_and_say_where_they_come_from() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) <= 12e6
    readme = (DATA / "README.md").read_text()
    assert all(word in readme for word in ("Cruz-Roa", "Janowczyk", "CC0", "76 fragments"))


def test_patches_look_like_stained_tissue(patches: Patches) -> None:
    tumour = patches.tiles[patches.label == 1].mean(axis=(0, 1, 2))
    other = patches.tiles[patches.label == 0].mean(axis=(0, 1, 2))
    # Green is what both stains absorb most; tumour is denser than the rest.
    assert tumour.argmin() == other.argmin() == 1
    assert (tumour < other).all()


def test_tiles_cannot_be_changed_by_a_caller(patches: Patches) -> None:
    with pytest.raises(ValueError, match="read-only"):
        patches.tiles[0] = 0


def test_what_is_packed_without_loss_is_read_back_exactly(tmp_path: Path) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (7, PATCH_PX, PATCH_PX, 3), dtype=np.uint8)
    write_mosaic(tmp_path, tiles, columns=3)
    rows = [(10 + i, 50 * i, 100, i % 2, "mosaic-0.png", *divmod(i, 3)) for i in reversed(range(7))]
    write_index(tmp_path, rows)
    read = read_packed(tmp_path)
    np.testing.assert_array_equal(read.tiles, tiles[::-1])
    assert read.patient.tolist() == [str(10 + i) for i in reversed(range(7))]
    assert read.label.tolist() == [i % 2 for i in reversed(range(7))]


def test_broken_packages_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read the index .*index\.csv"):
        read_packed(tmp_path)
    (tmp_path / INDEX_FILE).write_text("patient,x\n1,2\n")
    with pytest.raises(StoreError, match="does not hold the columns"):
        read_packed(tmp_path)
    write_index(tmp_path, [(1, 0, 0, 0, "mosaic-0.png", 5, 0)])
    with pytest.raises(StoreError, match=r"mosaic-0\.png: the file is missing"):
        read_packed(tmp_path)
    write_mosaic(tmp_path, np.zeros((2, PATCH_PX, PATCH_PX, 3), dtype=np.uint8), columns=2)
    with pytest.raises(StoreError, match="names cells outside its 1 by 2"):
        read_packed(tmp_path)
