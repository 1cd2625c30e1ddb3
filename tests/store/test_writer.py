import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from wsi_specdec.errors import StoreError
from wsi_specdec.store import TileStore, TileStoreWriter, encode_jpeg, open_store

Tiles = NDArray[np.uint8]
Values = NDArray[Any]
MakeTiles = Callable[[int, int], Tiles]
MakeStore = Callable[..., TileStore]

ATTRIBUTES = {"slide_id": "s", "tile_size_level0_px": 16}


def writer_of(path: Path, n_tiles: int, **changes: Any) -> TileStoreWriter:  # noqa: ANN401
    settings = {"tile_size": 16, "codec": "jpeg", "attributes": ATTRIBUTES, **changes}
    return TileStoreWriter(path, n_tiles=n_tiles, **settings)


def write(path: Path, n_tiles: int, tiles: Tiles, rows: int | None = None) -> None:
    """Announce `n_tiles`, append `tiles`, and finish with `rows` rows where given."""
    with writer_of(path, n_tiles) as writer:
        writer.append(tiles)
        if rows is not None:
            finish(writer, rows)


def finish(writer: TileStoreWriter, n: int) -> None:
    writer.finish(
        coords=np.zeros((n, 2)), tissue_fraction=np.zeros(n), label=np.zeros(n), quality={}
    )


@pytest.mark.parametrize("codec", ["jpeg", "lossless"])
@pytest.mark.parametrize("chunk_size", [None, 8])
def test_zarr_reads_the_same_pixels(
    make_store: MakeStore, make_tiles: MakeTiles, codec: str, chunk_size: int | None
) -> None:
    tiles = make_tiles(11, 16)
    store = make_store(tiles, codec=codec, chunk_size=chunk_size)
    by_zarr = np.asarray(zarr.open_array(store.path / "tiles", mode="r")[...])
    ours = store.read(np.arange(11))
    assert np.array_equal(ours, by_zarr)
    if codec == "lossless":
        assert np.array_equal(ours, tiles)
    else:
        assert np.abs(ours.astype(int) - tiles).mean() < 2


def test_small_arrays_and_attributes_are_kept(make_store: MakeStore, make_tiles: MakeTiles) -> None:
    store = make_store(make_tiles(6, 8), attributes={"slide_vendor": "aperio", "nested": {"a": 1}})
    group = zarr.open_group(store.path, mode="r")
    expected: dict[str, tuple[type, Values]] = {
        "coords": (np.int64, np.column_stack([np.arange(6) * 8, np.zeros(6)])),
        "tissue_fraction": (np.float32, (np.arange(6) / 6).astype(np.float32)),
        "label": (np.int16, np.arange(6) % 2),
        "quality/blur": (np.float32, np.arange(6)),
    }
    for name, (dtype, values) in expected.items():
        array = group[name]
        assert isinstance(array, zarr.Array)
        assert array.dtype == dtype
        assert np.array_equal(array[...], values)
    assert dict(group.attrs) == {
        "schema_version": 1,
        "slide_id": "slide",
        "tile_size_px": 8,
        "tile_size_level0_px": 16,
        "mpp": 0.5,
        "slide_vendor": "aperio",
        "nested": {"a": 1},
        "complete": True,
    }


def test_tiles_run_on_over_several_shards(make_store: MakeStore) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (5000, 8, 8, 3), dtype=np.uint8)
    store = make_store(tiles, batch=1700)
    assert len(list((store.path / "tiles" / "c").iterdir())) == store.layout.n_shards == 2
    assert np.array_equal(store.read(np.arange(5000)), tiles)
    array = zarr.open_array(store.path / "tiles", mode="r")
    assert np.array_equal(array[4000:4200], tiles[4000:4200])


def test_shards_are_bounded_by_their_pixels(tmp_path: Path) -> None:
    layout = writer_of(tmp_path / "s.zarr", 10_000, tile_size=512)._layout
    assert layout.tiles_per_shard * 512 * 512 * 3 <= 2**27 < (layout.tiles_per_shard + 1) * 786_432


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sizes=st.lists(st.integers(0, 7), max_size=6))
def test_batches_of_any_size_give_the_same_store(tmp_path: Path, sizes: list[int]) -> None:
    n = sum(sizes)
    tiles = np.random.default_rng(n).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
    with writer_of(tmp_path / "s.zarr", n, codec="lossless") as writer:
        for part in np.split(tiles, np.cumsum(sizes)[:-1]) if sizes else []:
            writer.append(part)
        finish(writer, n)
    assert np.array_equal(open_store(tmp_path / "s.zarr").read(np.arange(n)), tiles)


@pytest.mark.parametrize("codec", ["jpeg", "lossless"])
def test_a_store_may_be_empty(make_store: MakeStore, codec: str) -> None:
    store = make_store(np.empty((0, 16, 16, 3), np.uint8), codec=codec)
    assert store.n_tiles == 0
    assert store.coords.shape == (0, 2)
    assert store.label.shape == store.tissue_fraction.shape == store.quality["blur"].shape == (0,)
    assert store.read([]).shape == (0, 16, 16, 3)
    array = zarr.open_array(store.path / "tiles", mode="r")
    assert np.asarray(array[...]).shape == (0, 16, 16, 3)


def test_encoded_chunks_are_stored_untouched(tmp_path: Path, make_tiles: MakeTiles) -> None:
    tiles = make_tiles(3, 16)
    foreign = []
    for tile in tiles:
        stream = io.BytesIO()
        Image.fromarray(tile).save(stream, "JPEG", quality=60, subsampling="4:2:0")
        foreign.append(stream.getvalue())
    path = tmp_path / "s.zarr"
    with writer_of(path, 4) as writer:
        writer.append_encoded(foreign)
        writer.append(tiles[:1])
        finish(writer, 4)
    shard = (path / "tiles" / "c" / "0" / "0" / "0" / "0").read_bytes()
    assert shard.startswith(b"".join(foreign))
    decoded = [np.asarray(Image.open(io.BytesIO(data))) for data in foreign]
    # Chroma upsampling may differ between decoders by rounding.
    assert np.abs(open_store(path).read([0, 1, 2]).astype(int) - decoded).max() <= 2


def test_encoded_chunks_may_be_parts_of_a_tile(tmp_path: Path, make_tiles: MakeTiles) -> None:
    tile = make_tiles(1, 16)[0]
    quarters = [tile[y : y + 8, x : x + 8] for y in (0, 8) for x in (0, 8)]
    path = tmp_path / "s.zarr"
    with writer_of(path, 1, chunk_size=8) as writer:
        writer.append_encoded([encode_jpeg(part, 95) for part in quarters])
        finish(writer, 1)
    read = open_store(path).read([0])[0]
    assert np.abs(read.astype(int) - tile).mean() < 2


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.permutations(range(11)), a_call=st.integers(1, 11), chunk_size=st.sampled_from([8, 16])
)
def test_tiles_in_any_order_are_read_as_those_in_turn(
    tmp_path: Path, order: list[int], a_call: int, chunk_size: int
) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        # Three shards, the last of them part empty.
        patch.setattr("wsi_specdec.store.schema._SHARD_TILES", 4)
        writer = writer_of(tmp_path / "s.zarr", 11, codec="lossless", chunk_size=chunk_size)
    encoded = [writer.encode(tile) for tile in tiles]
    with writer:
        for start in range(0, 11, a_call):
            part = order[start : start + a_call]
            writer.put_encoded(part, [chunk for tile in part for chunk in encoded[tile]])
        finish(writer, 11)
    store = open_store(tmp_path / "s.zarr")
    assert store.layout.n_shards == 3
    assert np.array_equal(store.read(np.arange(11)), tiles)
    by_zarr = zarr.open_array(store.path / "tiles", mode="r")
    assert np.array_equal(np.asarray(by_zarr[...]), tiles)
    # In the file, chunks lie in the order in which they came.
    shards = [np.array(order)[np.array(order) // 4 == number] for number in range(3)]
    for number, came in enumerate(shards):
        data = (store.path / "tiles" / "c" / str(number) / "0" / "0" / "0").read_bytes()
        assert data.startswith(b"".join(chunk for tile in came for chunk in encoded[tile]))


def test_a_shard_is_closed_once_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi_specdec.store.schema._SHARD_TILES", 4)
    with writer_of(tmp_path / "s.zarr", 10, codec="lossless") as writer:
        chunk = writer.encode(np.zeros((16, 16, 3), np.uint8))
        open_ones = []
        for tile in (9, 0, 5, 1, 2, 3, 8, 4, 6, 7):
            writer.put_encoded([tile], chunk)
            open_ones.append(sorted(writer._open))
            if tile == 3:
                shard = writer._folder / "tiles" / "c" / "0" / "0" / "0" / "0"
                assert shard.stat().st_size == 4 * (len(chunk[0]) + 16) + 4
        finish(writer, 10)
    assert open_ones == [[2], [0, 2], *[[0, 1, 2]] * 3, [1, 2], [1], [1], [1], []]


@pytest.mark.parametrize("tiles", [[-1], [10], [3], [5, 5], [7, 3], [7, 5, 7]])
def test_tiles_that_are_not_expected_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiles: list[int]
) -> None:
    monkeypatch.setattr("wsi_specdec.store.schema._SHARD_TILES", 4)
    writer = writer_of(tmp_path / "s.zarr", 10, codec="lossless")
    chunk = writer.encode(np.zeros((16, 16, 3), np.uint8))

    def put() -> None:
        with writer:
            # Of a shard that is full by then, and of one that is not.
            writer.put_encoded([0, 3, 2, 1, 6], chunk * 5)
            writer.put_encoded(tiles, chunk * len(tiles))

    with pytest.raises(StoreError, match="takes each of its 10 tiles once, got"):
        put()
    assert list(tmp_path.iterdir()) == []


def test_tiles_come_with_all_their_chunks(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="got 3 chunks for 1 tiles of 4"),
        writer_of(tmp_path / "s.zarr", 1, chunk_size=8) as writer,
    ):
        writer.put_encoded([0], writer.encode(np.zeros((16, 16, 3), np.uint8))[:3])


@pytest.mark.parametrize(
    "tiles",
    [
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((1, 16, 16, 3), np.float32),
        np.zeros((16, 16, 3), np.uint8),
    ],
)
def test_other_tiles_are_refused(tmp_path: Path, tiles: Tiles) -> None:
    with (
        pytest.raises(StoreError, match="takes uint8 tiles"),
        writer_of(tmp_path / "s.zarr", 1) as writer,
    ):
        writer.append(tiles)


@pytest.mark.parametrize("given_tiles", [1, 3])
def test_another_number_of_tiles_is_refused(tmp_path: Path, given_tiles: int) -> None:
    tiles = np.zeros((given_tiles, 16, 16, 3), np.uint8)
    with pytest.raises(StoreError, match=r"announced"):
        write(tmp_path / "s.zarr", 2, tiles, 2)
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_another_length_are_refused(tmp_path: Path) -> None:
    tiles = np.zeros((1, 16, 16, 3), np.uint8)
    with pytest.raises(StoreError, match=r"coords .* shape \(1, 2\), got \(2, 2\)"):
        write(tmp_path / "s.zarr", 1, tiles, 2)


def test_an_unfinished_store_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"before finish\(\)"):
        write(tmp_path / "s.zarr", 1, np.zeros((1, 16, 16, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_failing_leaves_the_old_store(make_store: MakeStore, make_tiles: MakeTiles) -> None:
    tiles = make_tiles(3, 16)
    path = make_store(tiles).path
    with pytest.raises(StoreError, match="takes uint8 tiles"):
        write(path, 9, np.zeros((2, 16, 16, 4), np.uint8))
    assert np.array_equal(open_store(path).read([0, 1, 2]), tiles)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"tile_size_level0_px": 16}, r"missing: \['slide_id'\]"),
        ({**ATTRIBUTES, "complete": True}, r"found: \['complete'\]"),
        ({**ATTRIBUTES, "tile_size_px": 99}, "must be 16"),
        ({**ATTRIBUTES, "mpp": float("nan")}, "not plain JSON"),
        ({**ATTRIBUTES, "path": Path()}, "not plain JSON"),
    ],
)
def test_attributes_are_checked(tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        writer_of(tmp_path / "s.zarr", 1, attributes=attributes)


@pytest.mark.parametrize("changes", [{"tile_size": 0}, {"chunk_size": 5}, {"n_tiles": -1}])
def test_impossible_layouts_are_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    settings = {"n_tiles": 1, **changes}
    with pytest.raises(StoreError, match="cannot be"):
        writer_of(tmp_path / "s.zarr", settings.pop("n_tiles"), **settings)
