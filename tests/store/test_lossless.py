"""The lossless codecs: what is read is what was written, by this package and by Zarr alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.store import PackedStoreWriter, TileStoreWriter, open_store
from wsi_specdec.store.lossless import LZ4, ZSTD, Lossless

SIDE = 16
ATTRIBUTES = {"slide_id": "s", "tile_size_level0_px": SIDE}


class FormerWriter(TileStoreWriter):
    """Writes a slide's tiles by Zstandard, as stores before Blosc hold them."""

    lossless = ZSTD


def pixels(seed: int = 0, side: int = SIDE) -> NDArray[np.uint8]:
    """Something between noise and one colour."""
    noise = np.random.default_rng(seed).integers(0, 60, (side, side, 3), dtype=np.uint8)
    noise[: side // 2] = 200
    return noise


def write(writer: type[TileStoreWriter], path: Path, tiles: NDArray[np.uint8]) -> Path:
    n, side = tiles.shape[:2]
    with writer(path, n_tiles=n, tile_size=side, codec="lossless", attributes=ATTRIBUTES) as out:
        out.append(tiles)
        out.finish(np.zeros((n, 2)), np.zeros(n), np.zeros(n), {})
    return path


@pytest.mark.parametrize(("writer", "name"), [(TileStoreWriter, "blosc"), (FormerWriter, "zstd")])
@pytest.mark.parametrize("side", [1, 5, 16, 256])
def test_tiles_come_back_here_and_by_zarr(
    tmp_path: Path, writer: type[TileStoreWriter], name: str, side: int
) -> None:
    tiles = np.stack([pixels(seed, side) for seed in range(3)])
    path = write(writer, tmp_path / "s.zarr", tiles)
    store = open_store(path)
    assert store.codec == "lossless"
    np.testing.assert_array_equal(store.read([2, 0]), tiles[[2, 0]])
    array = zarr.open_array(path / "tiles", mode="r")
    np.testing.assert_array_equal(array[...], tiles)
    assert f'"{name}"' in (path / "tiles" / "zarr.json").read_text()


def test_zarr_writes_what_is_read_here(tmp_path: Path) -> None:
    path = write(TileStoreWriter, tmp_path / "s.zarr", np.stack([pixels(0), pixels(1)]))
    expected = np.stack([pixels(2), pixels(3)])
    zarr.open_array(path / "tiles", mode="r+")[...] = expected
    np.testing.assert_array_equal(open_store(path).read([0, 1]), expected)


def test_grey_pictures_are_packed_smaller_than_tiles_are() -> None:
    grey = np.random.default_rng(0).normal(128, 6, (224, 224, 1)).astype(np.uint8).repeat(3, 2)
    packed = PackedStoreWriter.encoder("lossless", 90)(grey)
    assert len(packed) < 0.7 * len(TileStoreWriter.encoder("lossless", 90)(grey))


@pytest.mark.parametrize("writer", [TileStoreWriter, FormerWriter])
def test_a_tile_of_another_size_is_named(tmp_path: Path, writer: type[TileStoreWriter]) -> None:
    path = tmp_path / "s.zarr"
    encode = writer.encoder("lossless", 90)
    with writer(path, n_tiles=2, tile_size=SIDE, codec="lossless", attributes=ATTRIBUTES) as out:
        out.append_encoded([encode(np.ones((1, n, 3), np.uint8)) for n in (250, 260)])
        out.finish(np.zeros((2, 2)), np.zeros(2), np.zeros(2), {})
    with pytest.raises(StoreError, match=r"750 .*of pixels.* where 768 belong"):
        open_store(path).read([0])
    with pytest.raises(StoreError, match=r"tile 1 in .* is damaged"):
        open_store(path).read([1])


@pytest.mark.parametrize("codec", [LZ4, ZSTD], ids=["lz4", "zstd"])
def test_damage_is_told_of_or_shows_as_pixels(codec: Lossless) -> None:
    whole = codec.encode(pixels(0, 64))
    rng = np.random.default_rng(1)
    damages: list[Callable[[bytearray], bytearray]] = [
        lambda data: data[: rng.integers(len(data))],
        lambda data: data + b"\0",
        flipped(rng),
    ]
    failed = 0
    for number in range(600):
        data = damages[number % len(damages)](bytearray(whole))
        out = np.zeros((64, 64, 3), np.uint8)
        try:
            codec.decode(bytes(data), out)
        except ValueError:
            failed += 1
    assert failed >= 200


def flipped(rng: np.random.Generator) -> Callable[[bytearray], bytearray]:
    def flip(data: bytearray) -> bytearray:
        for position in rng.integers(0, len(data), size=rng.integers(1, 20)):
            data[position] ^= 1 << int(rng.integers(8))
        return data

    return flip
