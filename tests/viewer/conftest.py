from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from leica import write_leica
from tiff_slides import write_slide
from viewed import (
    GLASS,
    GREEN,
    GREEN_TILE,
    PLACE,
    TILE,
    Served,
    call,
    lattice,
    score,
    serving,
    tissue,
)

from wsi_specdec.annotations import polygons_to_geojson, write_geojson
from wsi_specdec.cohort import Slide, write_manifest
from wsi_specdec.files import write_text
from wsi_specdec.geometry import Box
from wsi_specdec.store.calls import write_calls


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `process` leaves: a slide with offset bounds, a plain one, a corrupt and a lost one."""
    run = tmp_path_factory.mktemp("viewer") / "study"
    slides = run / "slides"
    slides.mkdir(parents=True)
    scanned = tissue(PLACE.height, PLACE.width, 0)
    x, y = GREEN_TILE[0] - PLACE.x, GREEN_TILE[1] - PLACE.y
    scanned[y : y + TILE, x : x + TILE] = GREEN
    write_leica(slides / "offset.scn", scanned, GLASS, PLACE)
    write_slide(slides / "plain.tif", tissue(700, 900, 1), downsamples=(1, 4))
    (slides / "broken.svs").write_text("no slide")
    rows = [
        Slide("broken", slides / "broken.svs", "c", 1, "internal"),
        Slide("lost", slides / "lost.svs", "d", None, "internal"),
        Slide("offset", slides / "offset.scn", "a", 1, "internal", mpp=0.5),
        Slide("plain", slides / "plain.tif", "b", 1, "internal"),
    ]
    write_manifest(rows, run / "slides.csv")
    write_text(
        run / "ledger.csv",
        "slide_id,state,reason,tiles,seconds,peak_rss_mb,params_sha256\n"
        "broken,failed,not a slide,0,0,0,\nlost,failed,no such slide,0,0,0,\n"
        "offset,done,,80,1,1,\nplain,done,,35,1,1,\n",
    )
    coords = lattice(PLACE, TILE)
    probs = np.random.default_rng(3).uniform(0.05, 0.7, len(coords))
    probs[(coords == GREEN_TILE).all(axis=1)] = 1
    score(run / "scores", "offset", coords, probs)
    plain = lattice(Box(0, 0, 900, 700), TILE)
    score(run / "scores", "plain", plain, np.linspace(0, 0.6, len(plain)))
    write_calls(
        run / "calls.csv",
        [
            call("broken", None, 0),
            call("lost", None, 0),
            call("offset", 0.92, len(coords)),
            call("plain", 0.31, len(plain)),
        ],
    )
    square = np.array([[0, 0], [TILE, 0], [TILE, TILE], [0, TILE]]) + GREEN_TILE
    outline = polygons_to_geojson([[square]], "Tissue", bounds=PLACE)
    (run / "previews").mkdir()
    write_geojson(run / "previews" / "offset.tissue.geojson", outline["features"])
    return run


@pytest.fixture(scope="session")
def served(run_dir: Path) -> Iterator[Served]:
    """A viewer of `run_dir` that asks for a key."""
    with serving(run_dir, key="s3cret-key") as found:
        yield found
