import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.store import TileStore, find_stores, open_store, store_path
from wsi_specdec.store.shards import Shard

MakeTiles = Callable[[int, int], NDArray[np.uint8]]
MakeStore = Callable[..., TileStore]

N = 12


@pytest.fixture
def tiles(make_tiles: MakeTiles) -> NDArray[np.uint8]:
    return make_tiles(N, 16)


@pytest.fixture
def store(make_store: MakeStore, tiles: NDArray[np.uint8]) -> TileStore:
    return make_store(tiles)


def shard_of(store: TileStore) -> Path:
    return store.path / "tiles" / "c" / "0" / "0" / "0" / "0"


def edit(path: Path, **changes: object) -> None:
    """Change attributes of a store behind its back; None removes."""
    metadata = json.loads((path / "zarr.json").read_text())
    for name, value in changes.items():
        metadata["attributes"][name] = value
        if value is None:
            del metadata["attributes"][name]
    (path / "zarr.json").write_text(json.dumps(metadata))


def test_properties(store: TileStore) -> None:
    assert (store.slide_id, store.n_tiles, len(store)) == ("slide", N, N)
    assert (store.tile_size, store.tile_size_level0, store.mpp) == (16, 32, 0.5)
    assert store.coords.dtype == np.dtype(np.int64)
    assert store.label.dtype == np.dtype(np.int16)
    assert store.tissue_fraction.dtype == store.quality["blur"].dtype == np.dtype(np.float32)
    with pytest.raises(ValueError, match="read-only"):
        store.coords[0, 0] = 1


@pytest.mark.parametrize(
    ("attributes", "mpp"),
    [
        ({"mpp": None}, None),
        ({"mpp": None, "mpp_effective": 0.25}, 0.25),
        ({"mpp": 1.0, "mpp_effective": 1.01}, 1.0),
    ],
)
def test_mpp_is_that_asked_for_else_that_of_level_0(
    make_store: MakeStore,
    tiles: NDArray[np.uint8],
    attributes: dict[str, float | None],
    mpp: float | None,
) -> None:
    assert make_store(tiles, attributes=attributes).mpp == mpp


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(indices=st.lists(st.integers(0, N - 1), max_size=20))
def test_any_order_and_repeats(
    store: TileStore, tiles: NDArray[np.uint8], indices: list[int]
) -> None:
    assert np.array_equal(store.read(indices), tiles[np.asarray(indices, int)])


@pytest.mark.parametrize("index", [-1, N])
def test_tiles_that_do_not_exist(store: TileStore, index: int) -> None:
    with pytest.raises(IndexError, match=f"tile {index} does not exist"):
        store.read([0, index])


def test_threads_share_a_store(store: TileStore, tiles: NDArray[np.uint8]) -> None:
    orders = [np.random.default_rng(seed).permutation(N) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for order, read in zip(orders, pool.map(store.read, orders), strict=True):
            assert np.array_equal(read, tiles[order])


def test_a_new_interpreter_reopens_a_pickled_store(
    store: TileStore, tiles: NDArray[np.uint8], tmp_path: Path
) -> None:
    store.read([0])
    (tmp_path / "store.pickle").write_bytes(pickle.dumps(store))
    code = (
        "import pickle, sys, pathlib\n"
        "store = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(store.read([7]).sum(), store.coords.sum())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store.pickle")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tiles[7].sum()), str(store.coords.sum())]


# Python warns where other threads run; reading takes no lock that they could hold.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_children_read_at_once(store: TileStore, tiles: NDArray[np.uint8]) -> None:
    store.read([0])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for number, read in enumerate(pool.imap(store.read, [[i] for i in range(N)])):
            assert np.array_equal(read[0], tiles[number])


def test_a_store_written_anew_is_read_anew(
    make_store: MakeStore, store: TileStore, tiles: NDArray[np.uint8]
) -> None:
    assert np.array_equal(store.read([0]), tiles[:1])
    again = make_store(255 - tiles)
    assert np.array_equal(again.read([0]), 255 - tiles[:1])
    # The old handles still show what they were opened on.
    assert np.array_equal(store.read([0]), tiles[:1])


def test_shards_close_with_their_last_user(store: TileStore) -> None:
    shard = Shard(shard_of(store), store.layout.chunks_per_shard)
    descriptor = Path(f"/proc/self/fd/{shard._fd}")
    assert descriptor.resolve() == shard_of(store).resolve()
    del shard
    assert descriptor.resolve() != shard_of(store).resolve()


@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_a_truncated_shard_is_named(store: TileStore, keep: float) -> None:
    path = shard_of(store)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if keep == 0.5 else int(keep)])
    with pytest.raises(StoreError, match="truncated or damaged") as caught:
        open_store(store.path).read([0])
    assert str(path) in str(caught.value)


def test_a_shard_cut_off_while_it_is_open_is_named(store: TileStore) -> None:
    store.read([0])
    path = shard_of(store)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(StoreError, match="chunk 0 is missing") as caught:
        store.read([0])
    assert str(path) in str(caught.value)


def test_a_flipped_bit_in_the_index_is_noticed(store: TileStore) -> None:
    path = shard_of(store)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="its index is invalid"):
        open_store(store.path).read([0])


def test_a_missing_shard_is_named(store: TileStore) -> None:
    shard_of(store).unlink()
    with pytest.raises(StoreError, match="cannot open the shard"):
        open_store(store.path).read([0])


@pytest.mark.parametrize("codec", ["jpeg", "lossless"])
def test_a_damaged_tile_is_named(
    make_store: MakeStore, tiles: NDArray[np.uint8], codec: str
) -> None:
    store = make_store(tiles, codec=codec)
    path = shard_of(store)
    data = bytearray(path.read_bytes())
    data[:4] = b"\0\0\0\0"
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"tile 0 in .* is damaged"):
        open_store(store.path).read([1, 0])


def test_a_store_cut_off_is_refused(store: TileStore) -> None:
    edit(store.path, complete=None)
    with pytest.raises(StoreError, match="incomplete: its writing was cut off"):
        open_store(store.path)


def test_a_missing_attribute_is_named(store: TileStore) -> None:
    edit(store.path, slide_id=None)
    with pytest.raises(StoreError, match="it lacks slide_id"):
        open_store(store.path)


def test_another_schema_is_refused(store: TileStore) -> None:
    edit(store.path, schema_version=2)
    with pytest.raises(StoreError, match="schema version 2, and this version reads 1"):
        open_store(store.path)


def test_another_codec_is_refused(store: TileStore) -> None:
    path = store.path / "tiles" / "zarr.json"
    path.write_text(path.read_text().replace('"blosc"', '"gzip"'))
    with pytest.raises(StoreError, match="encoded by"):
        open_store(store.path)


def test_unsharded_tiles_are_refused(store: TileStore) -> None:
    path = store.path / "tiles" / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["codecs"] = [{"name": "bytes"}]
    path.write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match="not laid out as"):
        open_store(store.path)


@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_what_is_no_store_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "s.zarr"
    if content is not None:
        path.mkdir()
        (path / "zarr.json").write_text(content)
    with pytest.raises(StoreError, match="no readable tile store") as caught:
        open_store(path)
    assert str(path) in str(caught.value)


def test_a_missing_array_is_named(store: TileStore) -> None:
    shutil.rmtree(store.path / "label")
    with pytest.raises(StoreError, match="label of the store"):
        _ = open_store(store.path).label


def test_stores_are_found_sorted(make_store: MakeStore, tiles: NDArray[np.uint8]) -> None:
    stores = [make_store(tiles[:1], name=name) for name in ("b", "a.1", "c")]
    folder = stores[0].path.parent
    (folder / ".123.partial.d.zarr").mkdir()
    (folder / "notes.txt").touch()
    found = find_stores(folder)
    assert list(found) == ["a.1", "b", "c"]
    assert find_stores(folder.parent) == found
    assert open_store(found["c"]).slide_id == "c"
    assert found == {name: store_path(folder.parent, name) for name in ("a.1", "b", "c")}


def test_a_folder_without_stores_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no tile stores") as caught:
        find_stores(tmp_path / "run")
    assert str(tmp_path / "run") in str(caught.value)


@pytest.mark.parametrize("codec", ["jpeg", "lossless"])
def test_chunks_may_lie_in_any_order(
    make_store: MakeStore, tiles: NDArray[np.uint8], codec: str
) -> None:
    store = make_store(tiles, codec=codec, chunk_size=4)
    expected = store.read(range(N))
    # zarr-python writes a shard's chunks along a Morton curve, so a tile's are no neighbours.
    array = zarr.open_array(store.path / "tiles", mode="r+")
    array[...] = expected[::-1]
    written = np.asarray(array[...])
    shard = Shard(shard_of(store), store.layout.chunks_per_shard)
    assert (np.diff(shard.index[:, 0].astype(np.int64)) < 0).any()
    assert np.array_equal(open_store(store.path).read(range(N)), written)


def test_a_missing_chunk_among_those_of_a_tile_is_named(
    make_store: MakeStore, tiles: NDArray[np.uint8]
) -> None:
    store = make_store(tiles, chunk_size=8)
    path = shard_of(store)
    data = bytearray(path.read_bytes())
    n_chunks = store.layout.chunks_per_shard
    at = len(data) - 4 - 16 * n_chunks
    data[at + 16 * 6 : at + 16 * 7] = b"\xff" * 16
    data[-4:] = int(google_crc32c.value(bytes(data[at:-4]))).to_bytes(4, "little")
    path.write_bytes(data)
    again = open_store(store.path)
    assert np.array_equal(again.read([0]), tiles[:1])
    with pytest.raises(StoreError, match="chunk 6 is missing") as caught:
        again.read([1])
    assert str(path) in str(caught.value)
