import multiprocessing
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.store import BatchReader, TileStore

MakeTiles = Callable[[int, int], NDArray[np.uint8]]
MakeStore = Callable[..., TileStore]


@pytest.fixture
def stores(make_store: MakeStore, make_tiles: MakeTiles) -> list[TileStore]:
    return [
        make_store(make_tiles(9, 16), name="a"),
        make_store(make_tiles(4, 16), name="b", codec="jpeg"),
        make_store(make_tiles(7, 16), name="c", chunk_size=8),
    ]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_is_what_each_store_gives(stores: list[TileStore], threads: int) -> None:
    rng = np.random.default_rng(0)
    owners = rng.integers(0, 3, 50)
    numbers = np.array([rng.integers(stores[i].n_tiles) for i in owners])
    expected = [stores[i].read([n])[0] for i, n in zip(owners, numbers, strict=True)]
    with BatchReader(stores, threads) as reader:
        assert np.array_equal(reader.read(owners, numbers), expected)


def test_an_empty_batch(stores: list[TileStore]) -> None:
    with BatchReader(stores, 2) as reader:
        assert reader.read([], []).shape == (0, 16, 16, 3)


def test_it_reads_again_after_closing(stores: list[TileStore]) -> None:
    reader = BatchReader(stores, 2)
    first = reader.read([0, 0], [1, 2])
    reader.close()
    assert np.array_equal(reader.read([0, 0], [1, 2]), first)
    reader.close()


# Python warns where other threads run; reading takes no lock that they could hold.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_children_start_their_own_threads(stores: list[TileStore]) -> None:
    with BatchReader(stores, 2) as reader:
        expected = reader.read([0, 2, 1], [3, 4, 2])
        with multiprocessing.get_context("fork").Pool(1) as pool:
            read = pool.apply_async(reader.read, ([0, 2, 1], [3, 4, 2])).get(timeout=30)
    assert np.array_equal(read, expected)


def test_it_pickles_without_its_threads(stores: list[TileStore]) -> None:
    with BatchReader(stores, 2) as reader:
        expected = reader.read([0, 1], [3, 2])
        with pickle.loads(pickle.dumps(reader)) as copy:  # noqa: S301 - our own bytes
            assert np.array_equal(copy.read([0, 1], [3, 2]), expected)


def test_errors_come_out_of_threads(stores: list[TileStore]) -> None:
    with BatchReader(stores, 2) as reader:
        with pytest.raises(IndexError, match="tile 4 does not exist"):
            reader.read([0, 1, 2], [0, 4, 0])
        with pytest.raises(IndexError, match="store numbers must be 0 to 2"):
            reader.read([3], [0])
        with pytest.raises(StoreError, match="2 store numbers do not go with 1 tile numbers"):
            reader.read([0, 1], [0])


def test_stores_must_fit_together(stores: list[TileStore], make_store: MakeStore) -> None:
    other = make_store(np.zeros((1, 32, 32, 3), np.uint8), name="large")
    with pytest.raises(StoreError, match="differ in tile size") as caught:
        BatchReader([*stores, other], 1)
    assert str(other.path) in str(caught.value)
    with pytest.raises(StoreError, match="at least one"):
        BatchReader([], 1)
