"""Slides made as a test needs them: tiled, pyramidal, lossless."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from tiff_slides import write_slide

Image = NDArray[np.uint8]
MakeSlide = Callable[..., Path]

GLASS = (242, 241, 243)


def draw_tissue(width: int = 1024, height: int = 768) -> Image:
    """Glass with one textured rectangle of tissue: x from 256 to 768, y from 128 to 640."""
    rng = np.random.default_rng(3)
    image = np.full((height, width, 3), GLASS, np.uint8)
    shade = rng.integers(-25, 25, (64, 64, 1)).repeat(8, axis=0).repeat(8, axis=1)
    tissue = np.array((170, 90, 160)) + shade
    image[128:640, 256:768] = tissue.clip(0, 255)
    return image


@pytest.fixture(scope="session")
def image() -> Image:
    return draw_tissue()


@pytest.fixture
def make_slide(tmp_path: Path, image: Image) -> MakeSlide:
    """Return a function that writes a slide of the given name, pixels, mpp and levels."""

    def make(
        name: str = "a", pixels: Image | None = None, mpp: float | None = 0.5, levels: int = 2
    ) -> Path:
        shown = image if pixels is None else pixels
        halved = tuple(2**level for level in range(levels))
        return write_slide(tmp_path / f"{name}.tif", shown, mpp=mpp, tile=128, downsamples=halved)

    return make


def jpeg_segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of each segment after SOI; the last one holds the scan and all behind it."""
    position = 2
    while position < len(jpeg):
        marker, end = jpeg[position + 1], position + 2 + int.from_bytes(jpeg[position + 2 :][:2])
        end = len(jpeg) if marker == 0xDA else end
        yield marker, jpeg[position:end]
        position = end


def write_aperio(
    path: Path,
    images: Sequence[Image],
    *,
    side: int = 64,
    missing: Sequence[int] = (),
    mpp: float = 0.5,
) -> Path:
    """Write levels as Aperio does: abbreviated RGB JPEG tiles without a colour marker.

    `missing` names tiles of level 0 that hold no bytes.
    """
    with tifffile.TiffWriter(path) as writer:
        for number, image in enumerate(images):
            encoded = []
            for y in range(0, image.shape[0], side):
                for x in range(0, image.shape[1], side):
                    tile = image[y : y + side, x : x + side]
                    rest = ((0, side - tile.shape[0]), (0, side - tile.shape[1]), (0, 0))
                    jpeg = imagecodecs.jpeg8_encode(
                        np.pad(tile, rest), level=85, colorspace="RGB", outcolorspace="RGB"
                    )
                    encoded.append(list(jpeg_segments(bytes(jpeg))))
            tables = b"".join(data for marker, data in encoded[0] if marker in {0xDB, 0xC4})
            scans = [
                b"\xff\xd8" + b"".join(data for marker, data in tile if marker in {0xC0, 0xDA})
                for tile in encoded
            ]
            writer.write(
                iter(b"" if not number and i in missing else s for i, s in enumerate(scans)),
                shape=image.shape,
                dtype=np.uint8,
                photometric="rgb",
                compression="jpeg",
                jpegtables=b"\xff\xd8" + tables + b"\xff\xd9",
                compressionargs={"outcolorspace": "rgb"},
                subsampling=(1, 1),
                tile=(side, side),
                description=f"Aperio Image Library v1.0\r\n|AppMag = 20|MPP = {mpp}",
                metadata=None,
            )
    return path


@pytest.fixture
def make_aperio(tmp_path: Path, image: Image) -> MakeSlide:
    """Return a function that writes `write_aperio`'s slide, of 1024 x 768 px by default."""

    def make(name: str = "a", images: Sequence[Image] | None = None, **options: Any) -> Path:  # noqa: ANN401
        return write_aperio(tmp_path / f"{name}.svs", images or [image], **options)

    return make
