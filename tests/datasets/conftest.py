from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from wsi_specdec.cohort import Slide
from wsi_specdec.config import RunnerConfig, TileConfig
from wsi_specdec.store import open_store
from wsi_specdec.tiling import tile_slides

Labels = Mapping[tuple[int, int], int]
TileLabels = Callable[[Sequence[Slide], TileConfig], dict[str, Labels]]


@pytest.fixture
def tile_labels(tmp_path: Path) -> TileLabels:
    """Tile slides, and return each one's labels by the tiles' corners."""

    def tile(slides: Sequence[Slide], config: TileConfig) -> dict[str, Labels]:
        out = tmp_path / "tiled"
        done = tile_slides(slides, out, config, RunnerConfig(workers=1))
        assert done.ok, done.failures
        found: dict[str, Labels] = {}
        for slide in slides:
            store = open_store(out / "tiles" / f"{slide.slide_id}.zarr")
            corners = [(int(x), int(y)) for x, y in store.coords]
            found[slide.slide_id] = dict(zip(corners, map(int, store.label), strict=True))
        return found

    return tile
