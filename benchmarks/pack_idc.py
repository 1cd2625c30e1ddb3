"""Pack the IDC patches into the mosaics that ship in `wsi_specdec/demo/data/idc`.

Usage: python benchmarks/pack_idc.py FOLDER [--out FOLDER] [--max-mb 12]

FOLDER holds one folder per patient with files `<patient>_idx5_x<X>_y<Y>_class<c>.png`.
"""

import argparse
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.demo.packed import (
    DATA,
    INDEX_COLUMNS,
    INDEX_FILE,
    PATCH_PX,
    pack_mosaic,
    read_packed,
)

_NAME = re.compile(r"(?P<patient>\d+)_idx5_x(?P<x>\d+)_y(?P<y>\d+)_class(?P<label>[01])\.png")
_COLUMNS = 45
_PER_MOSAIC = _COLUMNS**2
_QUALITIES = range(95, 70, -1)


@dataclass(frozen=True)
class Source:
    """One whole patch of the source."""

    patient: str
    x: int
    y: int
    label: int
    pixels: NDArray[np.uint8]


def main() -> None:
    """Pack, read back, measure and write the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="one folder per patient")
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--max-mb", type=float, default=12.0, help="10^6 bytes, all files together")
    arguments = parser.parse_args()
    patches, fragments = read_source(arguments.folder)
    pixels = np.stack([patch.pixels for patch in patches])
    index = render_index(patches)
    limit = arguments.max_mb * 1e6 - len(index.encode()) - 10_000
    quality, mosaics = encode(pixels, limit)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for old in arguments.out.glob("mosaic-*.webp"):
        old.unlink()
    for number, data in enumerate(mosaics):
        (arguments.out / mosaic_name(number)).write_bytes(data)
    (arguments.out / INDEX_FILE).write_text(index, encoding="utf-8")
    text = describe(patches, fragments, quality, np.asarray(read_packed(arguments.out).tiles))
    (arguments.out / "README.md").write_text(text, encoding="utf-8")
    print(text)


def read_source(folder: Path) -> tuple[list[Source], int]:
    """Return the whole patches by patient, y and x, and the number of fragments left out."""
    patches: list[Source] = []
    fragments = 0
    for path in folder.glob("*/*.png"):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if image is None or image.shape != (PATCH_PX, PATCH_PX, 3):
            fragments += 1
            continue
        pixels = np.asarray(image, dtype=np.uint8)
        x, y, label = (int(match[key]) for key in ("x", "y", "label"))
        patches.append(Source(match["patient"], x, y, label, pixels))
    return sorted(patches, key=lambda p: (int(p.patient), p.y, p.x)), fragments


def encode(pixels: NDArray[np.uint8], limit: float) -> tuple[int, list[bytes]]:
    """Encode at the highest WebP quality whose files together stay under `limit` bytes."""
    images = [
        pack_mosaic(pixels[start : start + _PER_MOSAIC], _COLUMNS)
        for start in range(0, len(pixels), _PER_MOSAIC)
    ]
    for quality in _QUALITIES:
        files = [
            bytes(imagecodecs.webp_encode(image, level=quality, lossless=False, method=6))
            for image in images
        ]
        if sum(map(len, files)) <= limit:
            return quality, files
    msg = f"even quality {_QUALITIES[-1]} takes more than {limit / 1e6:.1f} MB"
    raise SystemExit(msg)


def render_index(patches: list[Source]) -> str:
    """One CSV row a patch: where it was, what it is, and which cell it lies in."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(INDEX_COLUMNS)
    for number, patch in enumerate(patches):
        mosaic, cell = divmod(number, _PER_MOSAIC)
        place = (mosaic_name(mosaic), *divmod(cell, _COLUMNS))
        writer.writerow((patch.patient, patch.x, patch.y, patch.label, *place))
    return out.getvalue()


def mosaic_name(number: int) -> str:
    """File name of a mosaic."""
    return f"mosaic-{number}.webp"


def describe(patches: list[Source], fragments: int, quality: int, packed: NDArray[np.uint8]) -> str:
    """README of the packed patches, with the error that packing makes."""
    original = np.stack([patch.pixels for patch in patches]).astype(np.float64)
    error = np.abs(packed - original)
    weights = np.array([0.299, 0.587, 0.114])
    luma = np.abs(packed @ weights - original @ weights)
    patients = len({patch.patient for patch in patches})
    idc = sum(patch.label for patch in patches)
    return f"""# Breast-tissue patches of the built-in cohort

{len(patches):,} patches of 50x50 pixels (H&E, 4 µm per pixel) of {patients} patients, {idc:,} of
them invasive ductal carcinoma (IDC) by the source's annotation.

- **Source**: A. Cruz-Roa et al., "Automatic detection of invasive ductal carcinoma in whole slide
  images with convolutional neural networks", Proc. SPIE 9041 (2014); A. Janowczyk and
  A. Madabhushi, "Deep learning for digital pathology image analysis", J. Pathol. Inform. 7:29
  (2016). The patches here are a sample of the 277,524 that they published.
- **Licence**: CC0 on the data set's public page; the copy used here states none.
- **Resolution**: 40x slides (0.25 µm per pixel) downsampled 16 to 1 (Cruz-Roa et al.), so a patch
  is 200 µm wide.
- **Left out**: {fragments} fragments smaller than 50x50 pixels, from the borders of the source
  slides. Every patient of the copy remains.
- **Packing**: `benchmarks/pack_idc.py`; WebP of quality {quality}, each patch in a cell of 52x52
  pixels with its edge repeated, so that no patch bleeds into the next. Mean absolute error against
  the originals, in grey levels of 255: {error.mean():.2f} over the three channels (mostly colour at
  half resolution, as WebP stores it), {luma.mean():.2f} in luma; mean signed difference
  {(packed - original).mean():+.2f}.
- **Index**: `index.csv`: `patient`, `x` and `y` (corner in the patient's slide, pixels of 4 µm),
  `class` (1 is IDC), `mosaic`, `row`, `col`.
"""


if __name__ == "__main__":
    main()
