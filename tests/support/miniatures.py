"""Public data sets in miniature: the published layout, with slides of a few hundred pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsi_specdec.config import PipelineConfig, load_config, override
from wsi_specdec.demo.pyramid import write_pyramid

PIPELINES = Path(__file__).parents[2] / "pipelines"
SIDE = 512
TILE = 64
# Tissue, and cancer in it: left, top, right, bottom in level-0 pixels.
TISSUE = (64, 64, 448, 448)
CANCER = (128, 128, 320, 256)


def settings(name: str, *changes: str) -> PipelineConfig:
    """Return a shipped pipeline, fitted to the miniatures."""
    config = load_config(PIPELINES / f"{name}.yaml")
    assert isinstance(config, PipelineConfig)
    return override(config, ["tile.mpp=1.0", f"tile.tile_size={TILE}", *changes])


def write_slide(path: Path, *, cancer: bool = False, seed: int = 0) -> Path:
    """Write a slide of 1 µm/px: purple tissue on glass, and a darker box in it where asked for."""
    noise = np.random.default_rng(seed).integers(-20, 20, (SIDE, SIDE, 3))
    image = np.full((SIDE, SIDE, 3), 244)
    _paint(image, TISSUE, (190, 120, 180), noise)
    if cancer:
        _paint(image, CANCER, (110, 60, 150), noise)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pyramid(path, image.astype(np.uint8), mpp=1.0, jpeg_quality=90, description="miniature")
    return path


def _paint(
    image: NDArray[np.int64],
    box: tuple[int, int, int, int],
    colour: tuple[int, int, int],
    noise: NDArray[np.int64],
) -> None:
    area = np.s_[box[1] : box[3], box[0] : box[2]]
    image[area] = np.array(colour) + noise[area]


def write_mask(path: Path, values: Mapping[tuple[int, int, int, int], int], scale: int = 1) -> Path:
    """Write a mask of boxes, `scale` mask pixels to a level-0 pixel; later boxes lie on top."""
    mask = np.zeros((SIDE * scale, SIDE * scale), np.uint8)
    for (left, top, right, bottom), value in values.items():
        mask[top * scale : bottom * scale, left * scale : right * scale] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, mask, tile=(128, 128), compression="zlib", photometric="minisblack")
    return path


def write_asap(path: Path, groups: Sequence[tuple[str, tuple[int, int, int, int]]]) -> Path:
    """Write boxes as ASAP does, each with its group."""
    entries = []
    for number, (group, (left, top, right, bottom)) in enumerate(groups):
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        points = "".join(
            f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(corners)
        )
        entries.append(
            f'<Annotation Name="{number}" Type="Polygon" PartOfGroup="{group}">'
            f"<Coordinates>{points}</Coordinates></Annotation>"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "".join(entries)
    path.write_text(f"<ASAP_Annotations><Annotations>{body}</Annotations></ASAP_Annotations>")
    return path


def tiles_within(box: tuple[int, int, int, int]) -> set[tuple[int, int]]:
    """Corners of the tiles that lie wholly in a box."""
    return {
        (x, y)
        for x in range(0, SIDE, TILE)
        for y in range(0, SIDE, TILE)
        if box[0] <= x and box[1] <= y and x + TILE <= box[2] and y + TILE <= box[3]
    }
