"""What tells slides apart without reading them whole."""

from pathlib import Path

import numpy as np
import tifffile

from wsi_specdec.slides import slide_fingerprint


def test_a_fingerprint_tells_files_apart_by_where_their_tiles_lie(tmp_path: Path) -> None:
    """Two files of one size, equal in their first and last MiB, but for the tables between."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (1024, 1024, 3), np.uint8)
    path = tmp_path / "a.tif"
    noise = rng.integers(0, 255, 1 << 20, np.uint8)
    with tifffile.TiffWriter(path) as writer:
        for pixels in (image, image, image):
            writer.write(pixels, tile=(64, 64), photometric="rgb", metadata=None,
                         extratags=[(65000, 1, len(noise), noise.tobytes(), True)])  # fmt: skip
    before = slide_fingerprint(path)
    assert slide_fingerprint(path) == before
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        assert isinstance(page, tifffile.TiffPage)
        where = page.tags["TileOffsets"].valueoffset
    data = bytearray(path.read_bytes())
    assert 1 << 20 < where < len(data) - (1 << 20)
    data[where] ^= 0xFF
    path.write_bytes(data)
    assert slide_fingerprint(path) != before
    assert slide_fingerprint(path).split("-")[0] == str(len(data))


def test_the_fingerprint_of_all_bytes_and_of_no_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no tiff" + bytes(3 << 20))
    before = slide_fingerprint(path), slide_fingerprint(path, full=True)
    data = bytearray(path.read_bytes())
    data[3 << 19] = 1
    path.write_bytes(data)
    assert slide_fingerprint(path) == before[0]
    assert slide_fingerprint(path, full=True) != before[1]
