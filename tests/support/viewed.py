"""A run directory for the viewer, slides made for it, and a viewer on a port."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from numpy.typing import NDArray

from wsi_specdec.config import ViewConfig
from wsi_specdec.geometry import Box, Size
from wsi_specdec.keys import STRIDE_LEVEL0, TILE_SIZE_LEVEL0
from wsi_specdec.store import scores_path, write_scores
from wsi_specdec.store.calls import Call
from wsi_specdec.viewer import guarded_app
from wsi_specdec.viewer.serving import listen

Image = NDArray[np.uint8]

TILE = 64
# The slide with a scanned area that does not begin at the corner.
GLASS = Size(1600, 1200)
PLACE = Box(456, 232, 640, 512)
GREEN = (0, 170, 60)
# Corner of the tile that is painted green, and scored 1, in level-0 pixels.
GREEN_TILE = (PLACE.x + 3 * TILE, PLACE.y + 2 * TILE)


@dataclass(frozen=True)
class Answer:
    """What came back of one request."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Served:
    """A viewer on a port of this machine."""

    port: int
    key: str | None
    cookie: str

    def get(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """Ask for a path, with the viewer's own cookie unless other headers are given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, headers=headers or {"cookie": self.cookie})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, answer.read(), found)
        finally:
            connection.close()

    @property
    def address(self) -> str:
        """The address to open in a browser."""
        return f"http://127.0.0.1:{self.port}/" + (f"?key={self.key}" if self.key else "")


@contextmanager
def serving(folder: Path, key: str | None = None, **settings: Any) -> Iterator[Served]:  # noqa: ANN401
    """Serve a folder from a thread."""
    config = ViewConfig(**settings)
    listener = listen("127.0.0.1", 0)
    app = guarded_app(folder, config, key)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", ws="none", http="h11", loop="asyncio")
    )
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    served = Served(listener.getsockname()[1], key, "")
    if key is not None:
        given = served.get(f"/?key={key}", headers={"accept": "*/*"}).headers["set-cookie"]
        served = Served(served.port, key, given.partition(";")[0])
    try:
        yield served
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive()


def tissue(height: int, width: int, seed: int) -> Image:
    """Paint something that has structure at every scale."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 225, np.int64)
    for side in (64, 16, 4):
        noise = rng.integers(-18, 18, (-(-height // side), -(-width // side), 3))
        image += noise.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
    return np.clip(image, 0, 255).astype(np.uint8)


def lattice(place: Box, tile: int) -> NDArray[np.int64]:
    """Corners of tiles side by side, in level-0 pixels."""
    x = np.arange(place.x, place.x + place.width - tile + 1, tile)
    y = np.arange(place.y, place.y + place.height - tile + 1, tile)
    return np.stack([grid.ravel() for grid in np.meshgrid(x, y)], axis=1).astype(np.int64)


def score(folder: Path, slide_id: str, coords: NDArray[np.int64], probs: NDArray[Any]) -> None:
    """Write a slide's tile scores."""
    write_scores(
        scores_path(folder, slide_id),
        coords,
        np.zeros((len(coords), 1), np.float32),
        probs[:, None].astype(np.float32),
        ["tumour"],
        {TILE_SIZE_LEVEL0: TILE, STRIDE_LEVEL0: TILE},
    )


def call(slide_id: str, value: float | None, n_tiles: int) -> Call:
    """Make a call by the threshold 0.5."""
    if value is None:
        return Call(slide_id, slide_id, "internal", None, None, None, None, 0, "failed")
    return Call(slide_id, slide_id, "internal", value, int(value >= 0.5), 0.5, 0.5, n_tiles, "done")
