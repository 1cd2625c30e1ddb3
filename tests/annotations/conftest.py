from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.files import write_json

Ring = Sequence[Sequence[float]]
Save = Callable[[Sequence[tuple[str | None, Sequence[Ring]]]], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write polygons, each a class and its rings, as QuPath does."""

    def write(polygons: Sequence[tuple[str | None, Sequence[Ring]]]) -> Path:
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": rings},
                "properties": {"objectType": "annotation"}
                | ({} if name is None else {"classification": {"name": name}}),
            }
            for name, rings in polygons
        ]
        path = tmp_path / "a.geojson"
        write_json(path, {"type": "FeatureCollection", "features": features})
        return path

    return write


@pytest.fixture
def grid() -> NDArray[np.int64]:
    """4 by 4 tiles of 100 px, sorted by y, then x."""
    y, x = np.mgrid[0:400:100, 0:400:100]
    return np.stack((x.ravel(), y.ravel()), axis=1).astype(np.int64)
