from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray
from tiff_slides import write_slide
from torch import nn

from wsi_specdec.models import ModelSpec, build_classifier, save_model
from wsi_specdec.store import TileStore, TileStoreWriter, open_store

SIZE = 32


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slowed by threads, and on a busy machine by much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stained_tiles(n: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Tiles (n, size, size, 3) of two stains in random amounts, by Beer and Lambert's law."""
    rng = np.random.default_rng(seed)
    vectors = np.array([[0.65, 0.70, 0.29], [0.07 + 0.1 * seed, 0.99, 0.11]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    density = rng.gamma(1.5, 0.5, (n, size, size, 2)) @ vectors
    tiles: NDArray[np.uint8] = np.clip(240 * np.exp(-density), 0, 255).astype(np.uint8)
    return tiles


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., TileStore]:
    def make(
        name: str,
        n: int,
        *,
        size: int = SIZE,
        mpp: float | None = 0.5,
        params: str = "p",
        tissue: ArrayLike | None = None,
        quality: Mapping[str, ArrayLike] = MappingProxyType({}),
        more: Mapping[str, object] = MappingProxyType({}),
    ) -> TileStore:
        path = tmp_path / "tiles" / f"{name}.zarr"
        attributes = {
            "slide_id": name,
            "tile_size_level0_px": size,
            "mpp": mpp,
            "params_sha256": params,
            **more,
        }
        with TileStoreWriter(
            path, n_tiles=n, tile_size=size, codec="lossless", attributes=attributes
        ) as writer:
            writer.append(stained_tiles(n, size, sum(map(ord, name)) % 5))
            coords = np.arange(2 * n).reshape(n, 2) * 100
            fractions = np.ones(n) if tissue is None else tissue
            writer.finish(coords, fractions, np.full(n, -1), quality)
        return open_store(path)

    return make


def attentive(module: nn.Module) -> nn.Module:
    """Set the running statistics to those of tiles, so that logits differ from tile to tile."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    tiles = torch.from_numpy(stained_tiles(16, SIZE, 1).transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        module.train()(tiles / 255)
    return module


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    def make(seed: int = 0, name: str = "model", **changes: object) -> Path:
        values: dict[str, object] = {
            "arch": "test_resnet",
            "tile_size": SIZE,
            "mpp": 0.5,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
            "temperature": 1.5,
        }
        spec = ModelSpec.model_validate(values | changes)
        torch.manual_seed(seed)
        save_model(tmp_path / name, attentive(build_classifier(spec)), spec)
        return tmp_path / name

    return make


@pytest.fixture
def make_slide(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a slide with one square of tissue, x and y from 128 to 512."""

    def make(name: str, *, seed: int = 0, tissue: bool = True, mpp: float = 0.5) -> Path:
        image = np.full((640, 640, 3), 243, np.uint8)
        if tissue:
            rng = np.random.default_rng(seed)
            shade = rng.integers(-40, 40, (48, 48, 1)).astype(np.int16)
            shade = np.asarray(cv2.resize(shade, (384, 384), interpolation=cv2.INTER_LINEAR))
            noise = rng.integers(-15, 15, (384, 384, 3))
            image[128:512, 128:512] = np.clip(
                np.array([165, 85, 160]) + shade[..., np.newaxis] + noise, 0, 255
            )
        path = tmp_path / "slides" / f"{name}.tif"
        path.parent.mkdir(exist_ok=True)
        return write_slide(path, image, mpp=mpp, tile=128)

    return make
