import multiprocessing
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.errors import StoreError
from wsi_specdec.store import BatchReader, TileStore
from wsi_specdec.store.shards import Located, Shard

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


def test_it_decodes_into_what_the_caller_gives(stores: list[TileStore]) -> None:
    out = np.zeros((3, 16, 16, 3), np.uint8)
    with BatchReader(stores, 2) as reader:
        assert reader.read([0, 1, 2], [3, 2, 1], out=out) is out
        assert np.array_equal(out, reader.read([0, 1, 2], [3, 2, 1]))


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((3, 16, 16, 3), np.uint8),
        np.zeros((2, 16, 16, 3), np.int8),
        np.zeros((2, 16, 32, 3), np.uint8)[:, :, ::2],
    ],
)
def test_what_does_not_fit_is_refused(stores: list[TileStore], out: NDArray[np.uint8]) -> None:
    with (
        BatchReader(stores, 1) as reader,
        pytest.raises(StoreError, match=r"C-contiguous uint8 of shape \(2, 16, 16, 3\)"),
    ):
        reader.read([0, 1], [0, 0], out=out)


def test_a_batch_that_is_kept_is_never_written_again(stores: list[TileStore]) -> None:
    with BatchReader(stores, 2) as reader:
        rows = np.arange(9)
        view = reader.read(rows * 0, rows)[2:5, ::2, :, 1]
        kept = view.copy()
        for start in range(20):
            reader.read(rows * 0, (rows + start) % 9)
        assert np.array_equal(view, kept)


def test_memory_that_nobody_uses_is_used_again(stores: list[TileStore]) -> None:
    with BatchReader(stores, 2) as reader:
        first = reader.read([0] * 8, range(8))
        place, view = first.ctypes.data, first[3:]
        del first
        held = [reader.read([0] * n, range(n)) for n in (8, 4, 8)]
        assert place not in {tiles.ctypes.data for tiles in held}
        del view
        # Had it been freed, this would take its place.
        blocking = np.zeros(8 * 16 * 16 * 3, np.uint8)
        assert reader.read([0] * 8, range(8)).ctypes.data == place
        del held, blocking
        assert np.array_equal(reader.read([0] * 9, range(9)), stores[0].read(range(9)))


def test_it_raises_only_when_no_thread_works_any_more(
    stores: list[TileStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def decode(self: TileStore, located: Located, out: NDArray[np.uint8], chunks: object) -> None:
        if threading.current_thread() is threading.main_thread():
            begun.wait(10)
            raise StoreError
        begun.set()
        time.sleep(0.2)
        out[...] = 1

    monkeypatch.setattr(TileStore, "decode", decode)
    out = np.zeros((2, 16, 16, 3), np.uint8)
    with BatchReader(stores, 2) as reader:
        with pytest.raises(StoreError):
            reader.read([0, 0], [0, 1], out=out)
        assert out.any()


@pytest.mark.parametrize("threads", [1, 3])
def test_what_waits_to_be_decoded_is_bounded(
    threads: int, stores: list[TileStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, most = 0, 0
    lock = threading.Lock()
    read, decode = Shard.read, TileStore.decode

    def counted_read(self: Shard, located: Located) -> list[bytes]:
        nonlocal waiting, most
        with lock:
            waiting += 1
            most = max(most, waiting)
        return read(self, located)

    def counted_decode(self: TileStore, *args: Any) -> None:  # noqa: ANN401
        nonlocal waiting
        with lock:
            waiting -= 1
        decode(self, *args)

    monkeypatch.setattr(Shard, "read", counted_read)
    monkeypatch.setattr(TileStore, "decode", counted_decode)
    monkeypatch.setattr("wsi_specdec.store.batch._AHEAD_BYTES", 1)
    order = np.random.default_rng(0).integers(0, 9, 200)
    with BatchReader(stores, threads) as reader:
        tiles = reader.read(np.zeros(200), order)
    assert most <= 2 * threads + 1
    monkeypatch.undo()
    assert np.array_equal(tiles, stores[0].read(order))


def test_what_is_not_in_the_systems_cache_is_asked_for_at_once(
    stores: list[TileStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = Shard.will_need

    def counted(self: Shard, located: Located) -> None:
        asked.append(located.first)
        real(self, located)

    monkeypatch.setattr(Shard, "will_need", counted)
    monkeypatch.setattr("wsi_specdec.store.batch._COLD_SECONDS", 0.0)
    with BatchReader(stores, 2) as reader:
        tiles = reader.read([0, 0, 0], [5, 1, 8])
        # In the order of the file, but for the first, which is read.
        assert asked == [5, 8]
        monkeypatch.setattr("wsi_specdec.store.batch._COLD_SECONDS", 60.0)
        assert np.array_equal(reader.read([0, 0, 0], [5, 1, 8]), tiles)
        assert len(asked) == 2


def test_once_it_raises_no_thread_writes_any_more(
    stores: list[TileStore], make_store: MakeStore, make_tiles: MakeTiles
) -> None:
    good = make_store(make_tiles(300, 64), name="good", codec="jpeg", batch=300)
    bad = make_store(make_tiles(1, 64), name="bad", codec="jpeg")
    shard = bad.path / "tiles" / "c" / "0" / "0" / "0" / "0"
    shard.write_bytes(b"\0\0" + shard.read_bytes()[2:])
    out = np.zeros((301, 64, 64, 3), np.uint8)
    with BatchReader([bad, good], 3) as reader:
        with pytest.raises(StoreError, match=r"tile 0 in .*bad\.zarr.* is damaged"):
            reader.read([0] + [1] * 300, [0, *range(300)], out=out)
        # The others gave up, and what they had begun was finished before the error came.
        before = out.copy()
        assert not before[-1].any()
        time.sleep(0.05)
        assert np.array_equal(out, before)


@pytest.fixture
def sharded(
    make_store: MakeStore, make_tiles: MakeTiles, monkeypatch: pytest.MonkeyPatch
) -> list[TileStore]:
    """Stores of 23 and 40 tiles in shards of five."""
    monkeypatch.setattr("wsi_specdec.store.schema._SHARD_TILES", 5)
    return [
        make_store(make_tiles(23, 16), name="a", codec="jpeg", chunk_size=8),
        make_store(make_tiles(40, 16), name="b"),
    ]


def test_a_batch_crosses_shards_in_any_order(
    sharded: list[TileStore], make_tiles: MakeTiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fewer shards at once than the batch touches.
    monkeypatch.setattr("wsi_specdec.store.batch.MAX_OPEN", 3)
    monkeypatch.setattr("wsi_specdec.store.reader.MAX_OPEN", 3)
    tiles = make_tiles(40, 16)
    order = np.random.default_rng(0).permutation(40)
    with BatchReader(sharded, 2) as reader:
        assert np.array_equal(reader.read(np.ones(40), order), tiles[order])
        owners = np.tile([0, 1], 20)
        numbers = np.minimum(order, 22)
        both = reader.read(owners, numbers)
    assert np.array_equal(both[1::2], tiles[numbers[1::2]])
    assert np.array_equal(both[::2], sharded[0].read(numbers[::2]))
    assert np.array_equal(sharded[1].read(order), tiles[order])


def test_a_damaged_tile_is_named_by_its_number_in_the_store(sharded: list[TileStore]) -> None:
    shard = sharded[0].path / "tiles" / "c" / "2" / "0" / "0" / "0"
    with shard.open("r+b") as file:
        (located,) = Shard(shard, 20).locate(np.array([12]), 4)
        file.seek(located.ranges[1][0])
        file.write(b"\0\0")
    with BatchReader(sharded, 2) as reader:
        with pytest.raises(StoreError, match=r"tile 13 in .*a\.zarr"):
            reader.read([0, 0, 1], [12, 13, 5])
        assert reader.read([0, 0], [12, 14]).shape == (2, 16, 16, 3)


def test_a_batch_over_many_shards_leaves_file_descriptors_to_others(
    sharded: list[TileStore], make_store: MakeStore, make_tiles: MakeTiles
) -> None:
    many = make_store(make_tiles(500, 8), name="many", batch=500)
    assert many.layout.n_shards == 100
    code = (
        "import resource, sys, pathlib\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "from wsi_specdec.store import BatchReader, open_store\n"
        "with BatchReader([open_store(pathlib.Path(sys.argv[1]))], 3) as reader:\n"
        "    total = reader.read([0] * 500, range(500)).sum(dtype='int64')\n"
        "print(total, len(list(pathlib.Path('/proc/self/fd').iterdir())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(many.path)], capture_output=True, text=True, check=True
    )
    total, descriptors = map(int, done.stdout.split())
    assert total == make_tiles(500, 8).sum(dtype=np.int64)
    assert descriptors < 32
