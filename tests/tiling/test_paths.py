"""Three ways to the same pixels: copied, decoded from the file's tiles, read by the library."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from PIL import Image as Pillow

from wsi_specdec.cohort import Slide
from wsi_specdec.config import TileConfig, make_config
from wsi_specdec.errors import ConfigError, SlideReadError
from wsi_specdec.geometry import ReadPlan, Size, level_box, plan_reading
from wsi_specdec.slides import EncodedLevel, SlideReader, encoded_level, open_slide
from wsi_specdec.store import TileStore, open_store
from wsi_specdec.tiling import choose_path, decode, extract, grid_coords, passthrough, read_tiles
from wsi_specdec.tiling.decode import DecodedTiles
from wsi_specdec.tiling.extract import split_runs
from wsi_specdec.tiling.grid import level_corners
from wsi_specdec.tiling.tile import TileJob, params_of, tile_slide

Image = NDArray[np.uint8]
MakeSlide = Callable[..., Path]
CMU = Path(__file__).parents[1] / "data" / "CMU-1-Small-Region.svs"


def tiled(path: Path, out: Path, threads: int = 2, **settings: Any) -> TileStore:  # noqa: ANN401
    config = make_config(TileConfig, {"tile_size": 64, **settings}, "test")
    slide = Slide(path.stem, path, path.stem)
    job = TileJob(slide, out, config, params_of(slide, config), {}, threads=threads)
    tile_slide(job)
    return open_store(job.store_path)


def pixels_of(store: TileStore) -> Image:
    return store.read(np.arange(store.n_tiles))


def plan_for(slide: SlideReader, size: int, overlap: int = 0, mpp: float | None = None) -> ReadPlan:
    return plan_reading(
        mpp_level0=slide.info.mpp,
        level_downsamples=slide.info.level_downsamples,
        mpp=mpp,
        tile_size_px=size,
        overlap_px=overlap,
        tolerance=0.02,
    )


def grid_for(slide: SlideReader, plan: ReadPlan, share: float = 0.7) -> NDArray[np.int64]:
    """Every tile that fits, but for gaps as a tissue mask leaves them."""
    sizes = slide.info.level_sizes
    area = level_box(slide.info.bounds, sizes[0], sizes[plan.level], plan.downsample)
    coords = grid_coords(area, plan.read_size_px, plan.step_px, plan.downsample)
    return coords[np.random.default_rng(0).random(len(coords)) < share]


def level_of(slide: SlideReader, level: int = 0) -> EncodedLevel:
    found = encoded_level(slide, level)
    assert found is not None
    return found


def whole_level(level: EncodedLevel) -> Image:
    rows = [
        np.concatenate([level.decode(c, r) for c in range(level.columns)], axis=1)
        for r in range(level.rows)
    ]
    return np.concatenate(rows)[: level.size.height, : level.size.width]


def read_all(
    slide: SlideReader,
    coords: NDArray[np.int64],
    plan: ReadPlan,
    path: Any = "decode",  # noqa: ANN401
    threads: int = 2,
) -> Image:
    parts = list(read_tiles(slide, coords, plan, pixel_path=path, threads=threads))
    return np.concatenate(parts)


def chunks_of(store: TileStore) -> list[bytes]:
    """The stored bytes of each chunk, by the shard index as the Zarr specification has it."""
    found = []
    for shard in sorted((store.path / "tiles" / "c").glob("*/0/0/0")):
        data = shard.read_bytes()
        layout = zarr.open_group(store.path, mode="r")["tiles"]
        assert isinstance(layout, zarr.Array)
        assert layout.shards is not None
        n = int(np.prod(layout.shards) // np.prod(layout.chunks))
        index = np.frombuffer(data[-16 * n - 4 : -4], "<u8").reshape(n, 2)
        found += [data[a : a + b] for a, b in index.tolist() if a != 2**64 - 1]
    return found


def scan_of(jpeg: bytes) -> bytes:
    """From the scan's header to the end, EOI included."""
    return jpeg[jpeg.rindex(b"\xff\xda\x00\x0c\x03") :]


@pytest.mark.parametrize("size", [240, 480])
def test_copied_tiles_are_the_files_own_scans(size: int, tmp_path: Path) -> None:
    store = tiled(CMU, tmp_path / "copied", tile_size=size)
    assert store.attributes["pixel_path"] == "passthrough"
    assert store.attributes["pixel_path_reason"] == ""
    # What the file's description says it was compressed with.
    assert store.attributes["jpeg_quality"] == 30
    assert store.n_tiles >= 5
    with open_slide(CMU) as slide:
        level = level_of(slide)
    data = CMU.read_bytes()
    chunks = iter(chunks_of(store))
    for x, y in store.coords.tolist():
        for dy in range(0, size, 240):
            for dx in range(0, size, 240):
                row, column = (y + dy) // 240, (x + dx) // 240
                start = int(level.offsets[row, column])
                raw = data[start : start + int(level.counts[row, column])]
                chunk = next(chunks)
                assert scan_of(chunk) == scan_of(raw)
                # Any decoder sees the right colours in a chunk alone.
                alone = np.asarray(Pillow.open(io.BytesIO(chunk)))
                assert (alone == level.decode(column, row)).all()
    assert next(chunks, None) is None
    decoded = tiled(
        CMU, tmp_path / "decoded", tile_size=size, pixel_path="decode", codec="lossless"
    )
    assert decoded.attributes["pixel_path"] == "decode"
    assert (pixels_of(store) == pixels_of(decoded)).all()


def test_all_ways_give_the_same_pixels(tmp_path: Path) -> None:
    ways = {
        way: tiled(CMU, tmp_path / way, tile_size=250, overlap=30, codec="lossless", pixel_path=way)
        for way in ("decode", "read_region")
    }
    assert ways["read_region"].attributes["pixel_path"] == "read_region"
    assert "asked for" in ways["read_region"].attributes["pixel_path_reason"]
    assert (ways["decode"].coords == ways["read_region"].coords).all()
    # No rounding either: OpenSlide brings libjpeg-turbo, and so does imagecodecs.
    assert (pixels_of(ways["decode"]) == pixels_of(ways["read_region"])).all()


@pytest.mark.parametrize(
    ("size", "overlap", "mpp"),
    [(64, 0, None), (128, 0, None), (50, 0, None), (96, 40, None), (300, 60, None), (40, 8, 1.0)],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_decoded_tiles_are_cut_from_the_whole_level(
    size: int, overlap: int, mpp: float | None, threads: int, make_aperio: MakeSlide, image: Image
) -> None:
    half = np.asarray(cv2.resize(image, (512, 384), interpolation=cv2.INTER_AREA), np.uint8)
    with open_slide(make_aperio(images=[image, half])) as slide:
        plan = plan_for(slide, size, overlap, mpp)
        assert plan.level == (0 if mpp is None else 1)
        coords = grid_for(slide, plan)
        pixels = whole_level(level_of(slide, plan.level))
        found = read_all(slide, coords, plan, threads=threads)
    corners = level_corners(coords, plan.downsample)
    assert (found == np.stack([pixels[y : y + size, x : x + size] for x, y in corners])).all()


@pytest.mark.parametrize(("mpp", "side"), [(1.0, 128), (0.7, 90), (3.3, 422)])
def test_averaged_tiles_are_regions_of_the_level_averaged_by_area(
    mpp: float, side: int, make_aperio: MakeSlide
) -> None:
    with open_slide(make_aperio()) as slide:
        plan = plan_for(slide, 64, 16, mpp)
        assert plan.read_size_px == side
        coords = grid_for(slide, plan, 1.0)
        pixels = whole_level(level_of(slide))
        found = read_all(slide, coords, plan)
        by_library = read_all(slide, coords, plan, "read_region")
    assert len(coords)
    for tile, (x, y) in zip(found, coords, strict=True):
        region = pixels[y : y + side, x : x + side].astype(np.float64)
        # The mean over each pixel's area, from the integral image.
        sums = np.pad(region.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
        edges = np.linspace(0, side, 65)
        low = edges.astype(int).clip(0, side - 1)
        part = (edges - low)[:, np.newaxis, np.newaxis]
        along = sums[low] * (1 - part) + sums[low + 1] * part
        both = along[:, low] * (1 - part[:, 0]) + along[:, low + 1] * part[:, 0]
        means = np.diff(np.diff(both, axis=0), axis=1) / (side / 64) ** 2
        assert np.abs(tile - means).max() <= 0.51
    assert (found == by_library).all()


def test_a_downsample_that_is_not_whole_gives_the_same_pixels_by_all_ways(
    tmp_path: Path, make_aperio: MakeSlide
) -> None:
    """Real tissue, 1024 x 768 px, with a level of 341 x 256: 3.0029 and 3 to 1."""
    with open_slide(CMU) as slide:
        tissue = slide.read_region(600, 900, 0, Size(1024, 768))
    small = np.asarray(cv2.resize(tissue, (341, 256), interpolation=cv2.INTER_AREA), np.uint8)
    path = make_aperio(images=[tissue, small], side=32)
    settings: dict[str, Any] = {"tile_size": 32, "mpp": 1.5, "min_tissue": 0.0}
    copied = tiled(path, tmp_path / "copied", **settings)
    assert (copied.attributes["pixel_path"], copied.attributes["read_level"]) == ("passthrough", 1)
    assert copied.n_tiles == 10 * 8
    with open_slide(path) as slide:
        downsample = slide.info.level_downsamples[1]
        pixels = whole_level(level_of(slide, 1))
    assert downsample != 3
    expected = [(column * 32, row * 32) for row in range(8) for column in range(10)]
    assert (copied.coords == np.rint(np.array(expected) * downsample)).all()
    assert (pixels_of(copied) == [pixels[y : y + 32, x : x + 32] for x, y in expected]).all()
    assert copied.attributes["mpp_effective"] == pytest.approx(0.5 * downsample)
    # Rounding, the library's and ours, is left of the interpolation that was undone.
    for way, most in (("decode", 0), ("read_region", 3)):
        store = tiled(path, tmp_path / way, codec="lossless", pixel_path=way, **settings)
        assert np.abs(pixels_of(store).astype(int) - pixels_of(copied)).max() <= most


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"codec": "lossless"}, "codec is lossless"),
        ({"tile_size": 96}, "not made up of the file's, 64 x 64 px"),
        ({"tile_size": 128, "overlap": 32}, "do not begin where the file's, of 64 px"),
        ({"mpp": 1.0}, "averaged from 128 to 64 px"),
    ],
)
def test_what_cannot_be_copied_is_decoded_and_says_why(
    settings: dict[str, Any], reason: str, make_aperio: MakeSlide, tmp_path: Path
) -> None:
    path = make_aperio()
    store = tiled(path, tmp_path / "auto", **settings)
    assert store.attributes["pixel_path"] == "decode"
    assert reason in store.attributes["pixel_path_reason"]
    lossless = settings.get("codec") == "lossless"
    assert store.attributes["jpeg_quality"] == (None if lossless else 90)
    with pytest.raises(ConfigError, match=r"passthrough cannot be taken for .*a\.svs: .*auto"):
        tiled(path, tmp_path / "asked", pixel_path="passthrough", **settings)
    assert not list((tmp_path / "asked").rglob("*.zarr"))


def test_an_overlap_of_whole_tiles_is_copied(make_aperio: MakeSlide, tmp_path: Path) -> None:
    path = make_aperio()
    store = tiled(path, tmp_path / "copied", tile_size=128, overlap=64)
    assert store.attributes["pixel_path"] == "passthrough"
    decoded = tiled(path, tmp_path / "decoded", tile_size=128, overlap=64, pixel_path="decode",
                    codec="lossless")  # fmt: skip
    assert (pixels_of(store) == pixels_of(decoded)).all()


def test_a_missing_tile_is_left_to_the_library(make_aperio: MakeSlide, tmp_path: Path) -> None:
    # Row 4, column 6 of 16 columns: within the tissue.
    path = make_aperio(missing=[4 * 16 + 6])
    store = tiled(path, tmp_path / "auto")
    assert store.attributes["pixel_path"] == "read_region"
    assert store.attributes["pixel_path_reason"] == "1 of the file's tiles are missing"
    with pytest.raises(ConfigError, match="1 of the file's tiles are missing"):
        tiled(path, tmp_path / "asked", pixel_path="decode")
    # One that no tile needs is of no matter.
    elsewhere = tiled(make_aperio("b", missing=[0]), tmp_path / "elsewhere")
    assert elsewhere.attributes["pixel_path"] == "passthrough"


def test_large_averaged_regions_are_left_to_the_librarys_strips(
    make_aperio: MakeSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsi_specdec.tiling import paths

    monkeypatch.setattr(paths, "_DECODED_PX", 256)
    with open_slide(make_aperio()) as slide:
        plan = plan_for(slide, 64, mpp=3.0)
        way = choose_path(slide, plan, grid_for(slide, plan), TileConfig())
        assert (way.name, way.level) == ("read_region", None)
        assert "averaged strip by strip" in way.reason
        # A large tile that is not averaged is decoded all the same.
        plan = plan_for(slide, 300)
        assert choose_path(slide, plan, grid_for(slide, plan), TileConfig()).name == "decode"


@pytest.mark.parametrize("way", ["decode", "passthrough"])
@pytest.mark.parametrize("damage", ["end", "table"])
def test_a_damaged_tile_fails_the_slide_and_leaves_no_store(
    way: str, damage: str, make_aperio: MakeSlide, tmp_path: Path
) -> None:
    path = make_aperio()
    with open_slide(path) as slide:
        level = level_of(slide)
    data = bytearray(path.read_bytes())
    if damage == "end":
        end = int(level.offsets[5, 7] + level.counts[5, 7])
        data[end - 40 : end] = bytes(40)
    else:
        # The table of counts, wherever it is: this one shall claim to be huge.
        table = level.counts.astype("<u2").tobytes()
        where = data.find(table)
        size = 2 if where >= 0 else 4
        where = data.index(level.counts.astype(f"<u{size}").tobytes())
        at = where + size * (5 * level.columns + 7)
        data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.raises(SlideReadError, match=r"column 7, row 5 of level 0 of .*a\.svs"):
        tiled(path, tmp_path / "out", pixel_path=way)
    assert not list((tmp_path / "out").rglob("*.zarr"))


def test_each_of_the_files_tiles_is_decoded_once_and_let_go(
    make_aperio: MakeSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    real = EncodedLevel.decode_bytes

    def counted(self: EncodedLevel, data: bytes, index: int) -> Image:
        decoded.append(index)
        return real(self, data, index)

    monkeypatch.setattr(EncodedLevel, "decode_bytes", counted)
    with open_slide(make_aperio()) as slide:
        plan = plan_for(slide, 96, 60)
        coords = grid_for(slide, plan, 1.0)
        source = DecodedTiles(level_of(slide), plan, coords)
        expected = [tile for run in split_runs(coords, plan) for tile in source.tiles(run)]
        assert len(decoded) == len(set(decoded)) > 100
        assert source.kept == 0

        # Without room to keep any, the pixels are the same.
        monkeypatch.setattr(decode, "_KEPT_BYTES", 3 * 64 * 64 * 5)
        decoded.clear()
        source = DecodedTiles(level_of(slide), plan, coords)
        kept = []
        for run in split_runs(coords, plan):
            tiles = source.tiles(run)
            assert all((a == b).all() for a, b in zip(tiles, expected, strict=False))
            expected = expected[len(tiles) :]
            kept.append(source.kept)
    assert len(decoded) > len(set(decoded))
    assert 0 < max(kept) <= 5
    assert kept[-1] == 0


def test_tiles_past_the_slide_are_white_there(make_aperio: MakeSlide) -> None:
    with open_slide(make_aperio()) as slide:
        plan = plan_for(slide, 64)
        coords = np.array([[0, -40], [-10, 0], [992, 0], [500, 740], [1000, 750]])
        pixels = whole_level(level_of(slide))
        found = read_all(slide, coords, plan)
        by_library = read_all(slide, coords, plan, "read_region")
        assert choose_path(slide, plan, coords, TileConfig(pixel_path="decode")).name == "decode"
        # On the file's grid, but not wholly on the slide.
        edge = np.array([[1024 - 64, 0], [1024, 0]])
        way = choose_path(slide, plan, edge, TileConfig())
        assert (way.name, way.reason) == ("decode", "tiles reach past the slide")
    padded = np.pad(pixels, ((64, 64), (64, 64), (0, 0)), constant_values=255)
    expected = [padded[y + 64 : y + 128, x + 64 : x + 128] for x, y in coords]
    assert (found == np.stack(expected)).all()
    assert (by_library == found).all()


def test_stores_do_not_depend_on_the_number_of_threads(
    make_aperio: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "_BLOCK_PX", 300)
    for way, settings in (("passthrough", {}), ("decode", {"tile_size": 80, "overlap": 20})):
        whole = tiled(path := make_aperio(), tmp_path / f"{way}-whole", quality=True, **settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("wsi_specdec.store.schema._SHARD_TILES", 7)
            stores = [
                tiled(path, tmp_path / f"{way}-{n}", threads=n, quality=True, **settings)
                for n in (1, 2, 3)
            ]
        assert {store.attributes["pixel_path"] for store in stores} == {way}
        assert stores[0].layout.n_shards > 4
        folders = [sorted((s.path / "tiles").rglob("c/*/0/0/0")) for s in stores]
        one, two, three = ([shard.read_bytes() for shard in folder] for folder in folders)
        assert one == two == three
        assert (pixels_of(stores[0]) == pixels_of(whole)).all()
        for name, values in whole.quality.items():
            assert all((store.quality[name] == values).all() for store in stores)


def test_tiles_are_copied_in_batches_of_bounded_size(
    make_aperio: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_aperio()
    at_once = tiled(path, tmp_path / "at_once")
    sizes: list[int] = []
    real = EncodedLevel.read_streams

    def watched(self: EncodedLevel, indices: NDArray[np.int64]) -> list[memoryview]:
        streams = real(self, indices)
        sizes.append(sum(map(len, streams)))
        return streams

    monkeypatch.setattr(EncodedLevel, "read_streams", watched)
    monkeypatch.setattr(passthrough, "_BATCH_BYTES", 10_000)
    in_parts = tiled(path, tmp_path / "in_parts")
    assert len(sizes) > 4
    assert max(sizes) < 10_000 + max(map(len, chunks_of(at_once)))
    assert chunks_of(in_parts) == chunks_of(at_once)
