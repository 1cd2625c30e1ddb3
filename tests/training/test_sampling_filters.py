from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TrainConfig
from wsi_specdec.errors import NotEnoughDataError, StoreError
from wsi_specdec.store import TileStore, TileStoreWriter, open_store
from wsi_specdec.store.filters import good_tiles
from wsi_specdec.training import choose_tiles

SHARPNESS = np.array([5.0, 20.0, 50.0, np.nan, 30.0], np.float32)
PEN = np.array([0.0, 0.0, 0.0, 0.0, 0.4], np.float32)
TISSUE = np.array([0.9, 0.5, 1.0, 1.0, 0.7], np.float32)


@pytest.fixture
def store(tmp_path: Path) -> TileStore:
    path = tmp_path / "tiles" / "a.zarr"
    attributes = {"slide_id": "a", "tile_size_level0_px": 8}
    with TileStoreWriter(
        path, n_tiles=5, tile_size=8, codec="lossless", attributes=attributes
    ) as writer:
        writer.append(np.zeros((5, 8, 8, 3), np.uint8))
        writer.finish(
            np.zeros((5, 2), np.int64),
            TISSUE,
            np.array([0, 1, 0, 1, 1]),
            {"sharpness": SHARPNESS, "pen": PEN},
        )
    return open_store(path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"min_tissue": 0.7}, [0, 2, 3, 4]),
        ({"quality": {"sharpness": [20, None]}}, [1, 2, 4]),
        ({"quality": {"sharpness": [None, 20]}}, [0, 1]),
        ({"quality": {"sharpness": [20, 30], "pen": [None, 0.1]}}, [1]),
        ({"min_tissue": 0.6, "quality": {"sharpness": [10, None]}}, [2, 4]),
    ],
)
def test_tiles_within_all_bounds_are_good(
    store: TileStore, settings: dict[str, object], expected: list[int]
) -> None:
    good = good_tiles(store, TrainConfig.model_validate(settings))
    assert np.flatnonzero(good).tolist() == expected


def test_a_measure_that_a_store_lacks_is_named(store: TileStore) -> None:
    config = TrainConfig(quality={"blurriness": (0.0, 1.0)})
    with pytest.raises(StoreError, match=r"'blurriness', which .* a lack .*pen, sharpness"):
        good_tiles(store, config)


def test_the_others_neither_train_nor_validate(
    store: TileStore, make_store: Callable[..., TileStore]
) -> None:
    stores = {"a": store, "v": make_store("v", [0, 1, 0])}
    slides = [
        Slide("a", Path("a.svs"), "p", 1, "train"),
        Slide("v", Path("v.svs"), "q", 1, "validation"),
    ]

    def some(one: TileStore) -> np.ndarray:
        return np.arange(one.n_tiles) > 0

    data = choose_tiles(stores, slides, "tile", good=some)
    assert data.train.tile_index.tolist() == [1, 2, 3, 4]
    assert data.validation.tile_index.tolist() == [1, 2]
    config = TrainConfig(quality={"sharpness": (25.0, 40.0)})
    with pytest.raises(NotEnoughDataError, match=r"0 normal, 1 tumour tiles; .*quality left out 4"):
        choose_tiles(stores, slides[:1], "tile", good=partial(good_tiles, config=config))
