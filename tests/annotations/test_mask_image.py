from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from wsi_specdec.annotations import label_tiles, mask_image, read_mask
from wsi_specdec.errors import ManifestError
from wsi_specdec.geometry import Size

LEVEL0 = Size(400, 200)


@pytest.fixture
def mask() -> NDArray[np.uint8]:
    mask = np.zeros((50, 100), np.uint8)
    mask[:, :30] = 7
    return mask


def test_coverage_decides_the_label_at_any_scale(mask: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "truth.png"
    cv2.imwrite(str(path), mask)
    # Tumour ends at x = 120: tiles of 40 px hold 1, 1, 0.5 and 0 of it.
    coords = np.array([[0, 0], [80, 160], [100, 40], [120, 0]])
    labels = label_tiles(path, LEVEL0, coords, 40, 0.5)
    assert labels.tolist() == [1, 1, 1, 0]
    assert labels.dtype == np.int16
    assert label_tiles(path, LEVEL0, coords, 40, 0.51).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("kind", ["grey.png", "colour.png", "alpha.png", "16bit.png", "grey.tif"])
def test_whatever_is_not_black_is_marked(
    kind: str, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / kind
    red = np.stack([mask * 0, mask * 0, mask], axis=2)
    images: dict[str, NDArray[np.integer[Any]]] = {
        "grey.png": mask,
        "colour.png": red,
        "alpha.png": np.dstack([red, np.full_like(mask, 255)]),
        "16bit.png": mask.astype(np.uint16) * 256,
        "grey.tif": mask,
    }
    cv2.imwrite(str(path), images[kind])
    found = read_mask(path, LEVEL0)
    assert (found.pixels == (mask > 0)).all()
    assert found.scale == (4.0, 4.0)


def test_of_a_pyramid_the_finest_level_within_bounds_is_read(
    mask: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(np.kron(mask, np.ones((4, 4), np.uint8)), subifds=1, tile=(64, 64))
        tif.write(mask, subfiletype=1, tile=(64, 64))
    assert read_mask(path, LEVEL0).scale == (1.0, 1.0)
    monkeypatch.setattr(mask_image, "_MAX_SIDE_READ", 200)
    assert read_mask(path, LEVEL0).scale == (4.0, 4.0)


def test_sides_rounded_to_whole_pixels_fit(tmp_path: Path) -> None:
    path = tmp_path / "tiny.png"
    cv2.imwrite(str(path), np.ones((5, 9), np.uint8))
    assert read_mask(path, Size(1000, 520)).pixels.all()


@pytest.mark.parametrize("name", ["gone.png", "gone.tif"])
def test_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=rf"not found: .*{name}"):
        read_mask(tmp_path / name, LEVEL0)


@pytest.mark.parametrize("name", ["bad.png", "bad.tif"])
def test_unreadable_file_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("not an image")
    with pytest.raises(ManifestError, match=rf"cannot read the mask .*{name}"):
        read_mask(tmp_path / name, LEVEL0)


def test_mask_of_another_shape_is_refused(mask: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    cv2.imwrite(str(path), mask.T)
    with pytest.raises(ManifestError, match=r"turned\.png is 50 by 100 px, which does not fit"):
        read_mask(path, LEVEL0)


def test_mask_too_large_for_memory_is_refused(
    mask: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.png"
    cv2.imwrite(str(path), mask)
    monkeypatch.setattr(mask_image, "MAX_MASK_PIXELS", 100)
    with pytest.raises(ManifestError, match="save it at a lower resolution"):
        read_mask(path, LEVEL0)


def test_stack_of_planes_is_no_mask(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((3, 50, 100), np.uint8), photometric="minisblack")
    with pytest.raises(ManifestError, match="one plane of pixels"):
        read_mask(path, LEVEL0)
