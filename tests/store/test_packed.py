import pickle
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.store import (
    BatchReader,
    PackedIndex,
    PackedStoreWriter,
    TileStore,
    TileStoreWriter,
    encoded_tile,
    is_packed,
    open_store,
    open_stores,
    packed_images,
    read_index,
)

SIZE = 16
NAMES = ("größe", "b", "c.1", "d", "e")


def tiles_of(n: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), np.uint8)


def index_of(names: tuple[str, ...]) -> PackedIndex:
    return PackedIndex(
        image_id=names,
        patient_id=[f"p{row // 2}" for row in range(len(names))],
        fingerprint=[f"{row}-abc" for row in range(len(names))],
        image_size=np.arange(2 * len(names)).reshape(-1, 2) + 100,
        group={"view": ["AP", "", "PA", "", "AP"][: len(names)], "site": [""] * len(names)},
    )


def write_packed(folder: Path, names: tuple[str, ...] = NAMES, name: str = "images") -> Path:
    path = folder / "tiles" / f"{name}.zarr"
    attributes = {"slide_id": name, "packed": True, "tile_size_level0_px": SIZE, "mpp": None}
    with PackedStoreWriter(
        path, n_tiles=len(names), tile_size=SIZE, codec="lossless", attributes=attributes
    ) as writer:
        writer.append(tiles_of(len(names)))
        writer.finish_packed(index_of(names), [1, 0, -1, 0, 1][: len(names)])
    return path


def write_slide(folder: Path, name: str) -> Path:
    path = folder / "tiles" / f"{name}.zarr"
    attributes = {"slide_id": name, "tile_size_level0_px": SIZE}
    with TileStoreWriter(
        path, n_tiles=2, tile_size=SIZE, codec="lossless", attributes=attributes
    ) as writer:
        writer.append(tiles_of(2, 1))
        writer.finish([[0, 0], [16, 0]], [1.0, 0.5], [0, 1], {})
    return path


@pytest.fixture
def store(tmp_path: Path) -> TileStore:
    return open_store(write_packed(tmp_path))


def test_what_is_written_is_read_back(store: TileStore) -> None:
    assert is_packed(store)
    found, written = read_index(store), index_of(NAMES)
    assert found.image_id == list(written.image_id)
    assert found.patient_id == list(written.patient_id)
    assert found.fingerprint == list(written.fingerprint)
    assert found.image_size.tolist() == written.image_size.tolist()
    assert found.group == written.group
    assert np.array_equal(store.read(range(5)), tiles_of(5))
    assert store.label.tolist() == [1, 0, -1, 0, 1]


def test_the_store_itself_is_a_tile_store(store: TileStore) -> None:
    assert store.coords.tolist() == [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0]]
    assert store.tissue_fraction.tolist() == [1] * 5
    assert not store.quality
    assert store.mpp is None


def test_texts_are_bytes_that_all_of_zarr_reads(store: TileStore) -> None:
    cells = np.asarray(zarr.open_array(store.path / "image_id", mode="r")[...])
    assert cells.dtype == np.uint8
    assert cells.shape == (5, len("größe".encode()))
    assert not (store.path / "coords").exists()


def test_an_image_is_a_slide_of_one_tile(store: TileStore) -> None:
    images = packed_images(store)
    assert list(images) == list(NAMES)
    image = images["c.1"]
    assert (image.slide_id, image.n_tiles, len(image)) == ("c.1", 1, 1)
    assert (image.tile_size, image.tile_size_level0) == (SIZE, SIZE)
    assert image.coords.tolist() == [[0, 0]]
    assert image.label.tolist() == [-1]
    assert image.tissue_fraction.tolist() == [1]
    assert image.attributes["slide_fingerprint"] == "2-abc"
    assert image.attributes["packed"] is True
    assert np.array_equal(image.read([0, 0]), tiles_of(5)[[2, 2]])


@pytest.mark.parametrize("number", [1, -1])
def test_an_image_has_no_other_tile(store: TileStore, number: int) -> None:
    with pytest.raises(IndexError, match=r"c\.1 .* has one tile"):
        packed_images(store)["c.1"].read([number])


def test_batches_are_drawn_from_images_and_slides_alike(tmp_path: Path) -> None:
    write_packed(tmp_path)
    write_slide(tmp_path, "slide")
    stores = open_stores(tmp_path)
    assert list(stores) == [*NAMES, "slide"]
    with BatchReader(list(stores.values()), threads=2) as reader:
        batch = reader.read([4, 5, 0, 5, 0], [0, 1, 0, 0, 0])
    packed, slide = tiles_of(5), tiles_of(2, 1)
    assert np.array_equal(batch, [packed[4], slide[1], packed[0], slide[0], packed[0]])


def test_images_cross_process_boundaries(store: TileStore) -> None:
    images = list(packed_images(store).values())
    back = pickle.loads(pickle.dumps(images))  # noqa: S301 - our own bytes
    assert [image.slide_id for image in back] == list(NAMES)
    assert back[3].attributes == images[3].attributes
    assert np.array_equal(back[3].read([0])[0], tiles_of(5)[3])
    # One opened store, not one for each image.
    assert len({id(image.base) for image in back}) == 1


def test_two_of_one_id_are_refused(tmp_path: Path) -> None:
    write_packed(tmp_path, name="first")
    write_packed(tmp_path, NAMES[:2], name="second")
    with pytest.raises(StoreError, match=r"hold '\S+': .*first\.zarr and .*second\.zarr"):
        open_stores(tmp_path)
    with pytest.raises(StoreError, match=r"two images of .* have one id"):
        write_packed(tmp_path, ("a", "a"), name="third")


def test_lengths_must_agree(tmp_path: Path) -> None:
    attributes = {"slide_id": "s", "packed": True, "tile_size_level0_px": SIZE}
    path = tmp_path / "s.zarr"
    writer = PackedStoreWriter(
        path, n_tiles=1, tile_size=SIZE, codec="lossless", attributes=attributes
    )

    def write() -> None:
        with writer:
            writer.append(tiles_of(1))
            writer.finish_packed(index_of(NAMES[:2]), [0, 0])

    with pytest.raises(StoreError, match="image_id of"):
        write()
    assert not path.exists()


def test_a_slide_has_no_index(tmp_path: Path) -> None:
    store = open_store(write_slide(tmp_path, "slide"))
    with pytest.raises(StoreError, match="not packed images"):
        read_index(store)


def test_an_empty_store_can_be(tmp_path: Path) -> None:
    store = open_store(write_packed(tmp_path, ()))
    assert read_index(store).image_id == []
    assert packed_images(store) == {}


@pytest.mark.parametrize("codec", ["jpeg", "lossless"])
def test_stored_bytes_are_those_of_the_encoder(tmp_path: Path, codec: str) -> None:
    assert codec in {"jpeg", "lossless"}
    tiles = tiles_of(3)
    encode = PackedStoreWriter.encoder(codec, 90)  # type: ignore[arg-type]
    attributes = {"slide_id": "s", "packed": True, "tile_size_level0_px": SIZE}
    with PackedStoreWriter(
        tmp_path / "s.zarr",
        n_tiles=3,
        tile_size=SIZE,
        codec=codec,  # type: ignore[arg-type]
        jpeg_quality=90,
        attributes=attributes,
    ) as writer:
        writer.append_encoded([encode(tile) for tile in tiles])
        writer.finish_packed(index_of(("a", "b", "c")), [0, 0, 0])
    store = open_store(tmp_path / "s.zarr")
    assert encoded_tile(store, 1) == [encode(tiles[1])]
