from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tile_cohorts import Cohort, write_store

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TrainConfig
from wsi_specdec.store import TileStore


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slowed by threads, and on a busy machine by much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., TileStore]:
    return partial(write_store, tmp_path)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Six training and four validation slides of sixteen tiles, every second with tumour."""
    folder = tmp_path_factory.mktemp("cohort")
    slides, stores = [], {}
    for number in range(10):
        name = f"s{number}"
        label = np.zeros(16, np.int64)
        if number % 2:
            label[:6] = 1
        stores[name] = write_store(folder, name, label)
        split = "train" if number < 6 else "validation"
        slides.append(Slide(name, Path(f"{name}.svs"), f"p{number}", number % 2, split))
    return Cohort(folder, slides, stores)


@pytest.fixture
def cohort(written: Cohort) -> Cohort:
    return replace(written, slides=list(written.slides), stores=dict(written.stores))


@pytest.fixture
def config() -> TrainConfig:
    return TrainConfig(
        model="test_resnet", epochs=3, batch_size=16, lr=3e-3, sd_coef=0.01, pictures=False
    )
