"""Measure tissue masks against truth drawn by hand, beside those of HistoPrep and TIAToolbox.

Usage: python -m benchmarks.tissue [--slides FOLDER ...] [--peers FOLDER] [--out FILE]
       [--overlays FOLDER]

`tissue_truth/<slide>.geojson` holds the outlines, in level-0 pixels: fatty tissue and what lies
within follicles and vessels' walls belong to tissue, gaps wider than about 0.1 mm and crumbs do
not. All of the methods get the very image that our own mask is found on. PEERS holds a virtual
environment for each peer, made by `install_peers.py`; slides or peers that are not there are
skipped, with a line that says so.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import TissueConfig
from wsi_specdec.files import write_json
from wsi_specdec.slides import open_slide, read_overview
from wsi_specdec.tissue import contours, find_tissue

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

TRUTH = Path(__file__).with_name("tissue_truth")
SLIDES = (
    Path(__file__).parents[1] / "tests" / "data",
    Path(__file__).parents[1] / "shared" / "data" / "wsi",
    Path(__file__).parents[2] / "shared" / "data" / "wsi",
)
# Slides that constants were chosen on, besides composed overviews: how faint fatty tissue may be on
# the first, the largest holes and the smoothing on the others.
TUNED = {"camelyon_jpeg_overview", "CMU-1-Small-Region", "TCGA-CR-7395-TS1"}
# A slide without mpp in its metadata: scanned at 20x, by its own statement.
MPP = {"TCGA-CR-7395-TS1": 0.5}
# Points of the truth's raster in a pixel, each way.
_FINE = 4

OURS = "wsi_specdec"
# Each reads an image named first and writes a mask, 0 or 255, named second.
_HISTOPREP = """
import sys
import numpy as np
from PIL import Image
from histoprep.functional import get_tissue_mask
image = np.asarray(Image.open(sys.argv[1]).convert("RGB"))
Image.fromarray(get_tissue_mask(image)[1] * np.uint8(255)).save(sys.argv[2])
"""
_TIATOOLBOX = """
import sys
import numpy as np
from PIL import Image
from tiatoolbox.tools.tissuemask import OtsuTissueMasker
image = np.asarray(Image.open(sys.argv[1]).convert("RGB"))
mask = OtsuTissueMasker().fit_transform([image])[0]
Image.fromarray(mask.astype(np.uint8) * 255).save(sys.argv[2])
"""
PEERS = {
    "histoprep": ("HistoPrep Otsu", _HISTOPREP),
    "tiatoolbox": ("TIAToolbox Otsu", _TIATOOLBOX),
}


@dataclass(frozen=True)
class Overview:
    """What the methods get: an image, (h, w, 3), its µm and its level-0 pixels per pixel."""

    image: Image
    mpp: float
    downsample: float


@dataclass(frozen=True)
class Score:
    """How well one method's mask of one slide agrees with the truth."""

    slide: str
    held_out: bool
    method: str
    mpp: float
    iou: float
    precision: float
    recall: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=Path, nargs="*", default=list(SLIDES))
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--overlays", type=Path)
    options = parser.parse_args(arguments)
    scores: list[Score] = []
    for truth in sorted(TRUTH.glob("*.geojson")):
        path = find_slide(truth.stem, options.slides)
        if path is None:
            print(f"{truth.stem}: skipped, no such slide in the folders given")
            continue
        overview = read(path)
        tissue = rasterised(truth, overview)
        for method, mask in masks(overview, options.peers).items():
            scores.append(score(truth.stem, method, mask, tissue, overview.mpp))
            if options.overlays is not None:
                draw(options.overlays / f"{truth.stem}.{method}.png", overview, mask, tissue)
    print_table(scores)
    if options.out is not None:
        write_json(options.out, {"scores": [asdict(one) for one in scores]})


def find_slide(name: str, folders: Sequence[Path]) -> Path | None:
    """Find a slide by the stem of its file."""
    found = (path for folder in folders for path in sorted(folder.glob(f"{name}.*")))
    return next(found, None)


def read(path: Path) -> Overview:
    """Read a slide as tiling does."""
    config = TissueConfig()
    with open_slide(path, mpp=MPP.get(path.stem)) as slide:
        image, downsample = read_overview(slide, config.max_mask_px, config.mask_mpp)
        return Overview(image, (slide.info.mpp or config.mask_mpp) * downsample, downsample)


def rasterised(path: Path, overview: Overview) -> Mask:
    """Draw outlines at the overview's resolution: pixels of which at least half lies within."""
    height, width = overview.image.shape[:2]
    drawn = np.zeros((height * _FINE, width * _FINE), np.uint8)
    for feature in json.loads(path.read_text(encoding="utf-8"))["features"]:
        rings = feature["geometry"]["coordinates"]
        points = [np.asarray(ring) * (_FINE / overview.downsample) - 0.5 for ring in rings]
        piece = np.zeros_like(drawn)
        cv2.fillPoly(piece, [np.rint(ring * 256).astype(np.int32) for ring in points], 1, shift=8)
        drawn |= piece
    inside = drawn.reshape(height, _FINE, width, _FINE).mean(axis=(1, 3))
    return np.asarray(inside >= 0.5)


def masks(overview: Overview, peers: Path | None) -> dict[str, Mask]:
    """Find the tissue by each method that is there."""
    found = {OURS: find_tissue(overview.image, overview.mpp, TissueConfig())}
    for folder, (name, code) in PEERS.items():
        python = None if peers is None else peers / folder / "bin" / "python"
        if python is None or not python.exists():
            print(f"{name}: skipped, no {folder}/bin/python in the folder --peers")
            continue
        found[name] = mask_of_peer(python, code, overview.image)
    return found


def mask_of_peer(python: Path, code: str, image: Image) -> Mask:
    """Run a peer in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = (str(Path(folder) / name) for name in ("image.png", "mask.png"))
        cv2.imwrite(source, image[..., ::-1])
        subprocess.run([str(python), "-c", code, source, result], check=True, capture_output=True)
        return np.asarray(cv2.imread(result, cv2.IMREAD_GRAYSCALE)) > 0


def score(slide: str, method: str, mask: Mask, truth: Mask, mpp: float) -> Score:
    """Compare a mask with the truth, pixel by pixel."""
    both, either = int((mask & truth).sum()), int((mask | truth).sum())
    return Score(
        slide=slide,
        held_out=slide not in TUNED,
        method=method,
        mpp=round(mpp, 2),
        iou=round(both / max(either, 1), 4),
        precision=round(both / max(int(mask.sum()), 1), 4),
        recall=round(both / max(int(truth.sum()), 1), 4),
    )


def draw(path: Path, overview: Overview, mask: Mask, truth: Mask) -> None:
    """Draw the outlines of the mask in green and of the truth in blue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = np.ascontiguousarray(overview.image[..., ::-1])
    for which, colour in ((truth, (200, 80, 0)), (mask, (0, 160, 0))):
        rings = [ring.astype(np.int32) for rings in contours(which, 1.0) for ring in rings]
        cv2.polylines(shown, rings, isClosed=True, color=colour)
    cv2.imwrite(str(path), shown)


def print_table(scores: Sequence[Score]) -> None:
    """Print a line for each slide and method."""
    print(f"{'slide':<24}{'':<10}{'method':<17}{'mpp':>6}{'IoU':>8}{'precision':>11}{'recall':>8}")
    for one in scores:
        chosen_on = "held out" if one.held_out else "tuned on"
        print(
            f"{one.slide:<24}{chosen_on:<10}{one.method:<17}{one.mpp:>6.2f}{one.iou:>8.3f}"
            f"{one.precision:>11.3f}{one.recall:>8.3f}"
        )


if __name__ == "__main__":
    main()
