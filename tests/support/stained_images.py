"""Pictures of two stains, mixed by the law of Beer and Lambert as slides are."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain import StainProfile
from wsi_specdec.stain.target import StainTarget
from wsi_specdec.store import TileStore, TileStoreWriter, open_store

Image = NDArray[np.uint8]
Vector = tuple[float, float, float]

HAEMATOXYLIN: Vector = (0.65, 0.70, 0.29)
EOSIN: Vector = (0.07, 0.99, 0.11)
OTHER_EOSIN: Vector = (0.25, 0.90, 0.30)


def stained(shape: tuple[int, ...], seed: int = 0, eosin: Vector = EOSIN, block: int = 1) -> Image:
    """Pixels (*shape, 3) of two stains in random amounts, alike in squares of `block` pixels."""
    *outer, height, width = shape
    rng = np.random.default_rng(seed)
    vectors = np.array([HAEMATOXYLIN, eosin])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cells = (*outer, -(-height // block), -(-width // block), 2)
    amounts = rng.beta(0.5, 0.5, cells) * (1.3, 1.0) + 0.05
    amounts = amounts.repeat(block, -3).repeat(block, -2)[..., :height, :width, :]
    found: Image = np.clip(240 * np.exp(-(amounts @ vectors)) - 1, 0, 255).astype(np.uint8)
    return found


def target_by(settings: StainConfig) -> StainTarget:
    """Make a target that every method can reach, far from what `stained` gives."""
    if settings.method == "reinhard":
        means, deviations = (60.0, 25.0, -20.0), (15.0, 8.0, 6.0)
        profile = StainProfile(
            "reinhard",
            ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11)),
            (1.0, 1.0),
            0.15,
            "ok",
            1000,
            means,
            deviations,
        )
        return StainTarget(profile, settings)
    first, second = np.array((0.55, 0.75, 0.36)), np.array((0.15, 0.92, 0.36))
    pair = [tuple(map(float, v / np.linalg.norm(v))) for v in (first, second)]
    values = {
        "method": settings.method,
        "stain_matrix": pair,
        "max_concentrations": (1.9, 1.1),
        "min_od": 0.15,
        "status": "ok",
        "n_pixels": 1000,
    }
    return StainTarget(StainProfile.from_json(values), settings)


def write_tiles(path: Path, tiles: Image, label: int = -1, codec: str = "lossless") -> TileStore:
    """Write a store, named after its file, whose tiles lie beside one another."""
    n, size = tiles.shape[:2]
    attributes = {
        "slide_id": path.stem,
        "tile_size_level0_px": size,
        "mpp": 0.5,
        "params_sha256": f"params-{path.stem}",
        "slide_fingerprint": f"slide-{path.stem}",
        "warnings": [],
        "stain_applied": "none",
    }
    with TileStoreWriter(
        path,
        n_tiles=n,
        tile_size=size,
        codec="jpeg" if codec == "jpeg" else "lossless",
        attributes=attributes,
    ) as writer:
        if n:
            writer.append(tiles)
        coords = np.stack([np.arange(n) * size, np.zeros(n, np.int64)], axis=1)
        writer.finish(coords, np.ones(n), np.full(n, label), {"sharpness": np.arange(n)})
    return open_store(path)
