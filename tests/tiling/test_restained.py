"""Stores to stores whose stains are normalised."""

from pathlib import Path

import numpy as np
import pytest
from stained_images import stained, target_by, write_tiles

from wsi_specdec.config import StainConfig
from wsi_specdec.errors import ConfigError, SettingsMismatchError
from wsi_specdec.stain import fit_store, normalise, profile_path
from wsi_specdec.stain.target import StainTarget
from wsi_specdec.store import TileStore, open_store
from wsi_specdec.tiling.restained import Encoding, Restained, restain_stores

MACENKO = StainConfig(method="macenko", max_pixels=5000)
KEPT = Encoding(None, 90)
SIZE = 32


def restain(
    stores: list[TileStore],
    out: Path,
    target: StainTarget | None = None,
    encoding: Encoding = KEPT,
    *,
    overwrite: bool = False,
) -> Restained:
    return restain_stores(
        stores,
        out,
        target or target_by(MACENKO),
        encoding,
        stain_dir=out.parent / "stain",
        threads=2,
        overwrite=overwrite,
    )


@pytest.fixture
def stores(tmp_path: Path) -> list[TileStore]:
    glass = np.full((3, SIZE, SIZE, 3), 238, np.uint8)
    return [
        write_tiles(tmp_path / "tiles" / "a.zarr", stained((21, SIZE, SIZE)), label=1),
        write_tiles(tmp_path / "tiles" / "glass.zarr", glass),
        write_tiles(tmp_path / "tiles" / "none.zarr", glass[:0]),
    ]


def test_copies_hold_normalised_tiles_and_all_else_as_it_was(
    stores: list[TileStore], tmp_path: Path
) -> None:
    target = target_by(MACENKO)
    done = restain(stores, tmp_path / "out", target)
    assert done.statuses == {
        "a": "normalised",
        "glass": "too_little_tissue",
        "none": "too_little_tissue",
    }
    assert not done.failures
    for store in stores:
        copy = open_store(tmp_path / "out" / "tiles" / f"{store.slide_id}.zarr")
        every = np.arange(store.n_tiles)
        expected = normalise(store.read(every), fit_store(store, MACENKO), target.profile)
        assert np.array_equal(copy.read(every), expected)
        for name in ("coords", "tissue_fraction", "label"):
            assert np.array_equal(getattr(copy, name), getattr(store, name))
        assert np.array_equal(copy.quality["sharpness"], store.quality["sharpness"])
        assert copy.attributes["slide_fingerprint"] == store.attributes["slide_fingerprint"]
        assert copy.attributes["params_sha256"] != store.attributes["params_sha256"]
        assert copy.attributes["pixel_path"] == "store"
        assert profile_path(tmp_path / "out" / "stain", store.slide_id, MACENKO).is_file()
    glass = open_store(tmp_path / "out" / "tiles" / "glass.zarr")
    assert "too little tissue" in glass.attributes["warnings"][0]
    assert glass.quality["stain_status"].tolist() == [1.0] * 3


def test_the_same_again_keeps_copies_and_others_are_refused(
    stores: list[TileStore], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    restain(stores[:1], out)
    path = out / "tiles" / "a.zarr" / "zarr.json"
    made = path.stat().st_mtime_ns
    assert restain(stores, out).statuses["a"] == "normalised"
    assert path.stat().st_mtime_ns == made
    with pytest.raises(SettingsMismatchError, match="--overwrite"):
        restain(stores, out, encoding=Encoding("jpeg", 90))
    assert path.stat().st_mtime_ns == made
    with pytest.raises(SettingsMismatchError, match="to another target"):
        restain(stores, out, StainTarget(fit_store(stores[0], MACENKO), MACENKO))
    restain(stores, out, encoding=Encoding("jpeg", 70), overwrite=True)
    copy = open_store(out / "tiles" / "a.zarr")
    assert (copy.codec, copy.attributes["jpeg_quality"]) == ("jpeg", 70)


def test_what_is_normalised_already_is_refused(stores: list[TileStore], tmp_path: Path) -> None:
    restain(stores[:1], tmp_path / "out")
    once = open_store(tmp_path / "out" / "tiles" / "a.zarr")
    with pytest.raises(ConfigError, match="stain-normalised already"):
        restain([once], tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


def test_stores_are_not_overwritten_by_their_copies(
    stores: list[TileStore], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="choose another --out"):
        restain(stores, tmp_path, overwrite=True)


def test_a_damaged_store_costs_itself_alone(stores: list[TileStore], tmp_path: Path) -> None:
    bad = write_tiles(tmp_path / "tiles" / "bad.zarr", stained((4, SIZE, SIZE), seed=2))
    (shard,) = (bad.path / "tiles" / "c").glob("*/0/0/0")
    shard.write_bytes(shard.read_bytes()[:200])
    done = restain([bad, stores[0]], tmp_path / "out")
    assert list(done.failures) == ["bad"]
    assert "tile the slide again" in done.failures["bad"]
    assert done.statuses == {"a": "normalised"}
    assert not (tmp_path / "out" / "tiles" / "bad.zarr").exists()
    assert not list((tmp_path / "out" / "tiles").glob(".*"))
