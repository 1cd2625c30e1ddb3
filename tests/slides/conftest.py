import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

Image = NDArray[np.uint8]

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def aperio() -> Path:
    """H&E, one level of 2220 x 2967 px, 0.499 µm/px."""
    return DATA / "CMU-1-Small-Region.svs"


@pytest.fixture(scope="session")
def fluorescence_ndpi() -> Path:
    """DAPI, 7 levels, 0.228 µm/px."""
    return DATA / "stritt_DAPI.ndpi"


@pytest.fixture(scope="session")
def dicom() -> Path:
    """One level of 1152 x 700 px, 28.97 µm/px."""
    return DATA / "camelyon_jpeg_overview.dcm"


@pytest.fixture(scope="session")
def image() -> Image:
    """Blocks of 4 x 4 px of one colour, so that levels of half and quarter size are exact."""
    blocks = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    return blocks.repeat(4, axis=0).repeat(4, axis=1)


@pytest.fixture
def write_instance(tmp_path: Path, dicom: Path) -> Callable[..., Path]:
    """Write a copy of the DICOM slide as another instance, of another kind, series or encoding."""
    data = dicom.read_bytes()

    def replaced(data: bytes, tag: bytes, value: str) -> bytes:
        start = data.index(tag) + len(tag)
        (length,) = struct.unpack("<H", data[start : start + 2])
        text = value.encode() + b"\0" * (len(value) % 2)
        rest = data[start + 2 + length :]
        return data[:start] + struct.pack("<H", len(text)) + text + rest

    def write(
        name: str, *, kind: str = "VOLUME", series: str | None = None, padding: int = 0
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        own = zlib.crc32(str(path).encode())
        new = replaced(data, b"\x08\0\x08\0CS", f"DERIVED\\PRIMARY\\{kind}\\RESAMPLED")
        new = replaced(new, b"\x08\0\x18\0UI", f"1.2.3.{own}")
        if series is not None:
            new = replaced(new, b"\x20\0\x0e\0UI", series)
        path.write_bytes(new + bytes(padding))
        return path

    return write


@pytest.fixture
def write_pyramid(tmp_path: Path, image: Image) -> Callable[..., Path]:
    """Write a lossless generic tiled pyramid with levels of 1, 1/2 and 1/4, 0.5 µm/px at level 0.

    Keywords are `tifffile.TiffWriter.write`'s; `resolution` is that of level 0.
    """

    def write(
        name: str = "pyramid.tif",
        *,
        pixels: Image = image,
        downsamples: tuple[int, ...] = (1, 2, 4),
        resolution: tuple[float, float] = (20_000, 20_000),
        **changes: Any,  # noqa: ANN401
    ) -> Path:
        options = {
            "photometric": "rgb",
            "tile": (64, 64),
            "compression": "adobe_deflate",
            "resolutionunit": "CENTIMETER",
            "metadata": None,
            **changes,
        }
        path = tmp_path / name
        with tifffile.TiffWriter(path) as writer:
            for downsample in downsamples:
                writer.write(
                    pixels[::downsample, ::downsample],
                    subfiletype=int(downsample > 1),
                    resolution=(resolution[0] / downsample, resolution[1] / downsample),
                    **options,
                )
        return path

    return write
