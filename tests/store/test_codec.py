import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from zarr.registry import get_codec_class

from wsi_specdec.store import (
    JpegCodec,
    TileStore,
    TileStoreWriter,
    decode_jpeg,
    encode_jpeg,
    open_store,
)

MakeTiles = Callable[[int, int], NDArray[np.uint8]]
MakeStore = Callable[..., TileStore]


def test_any_decoder_reads_what_we_encode(make_tiles: MakeTiles) -> None:
    tile = make_tiles(1, 64)[0]
    image = Image.open(io.BytesIO(encode_jpeg(tile, 90)))
    assert isinstance(image, JpegImageFile)
    assert (image.format, image.size, image.mode) == ("JPEG", (64, 64), "RGB")
    assert np.abs(np.asarray(image).astype(int) - tile).mean() < 2
    # Component sampling factors of 4:4:4 in the frame header.
    assert [component[1:3] for component in image.layer] == [(1, 1)] * 3


def test_colour_is_kept_at_full_resolution() -> None:
    tile = np.zeros((16, 16, 3), np.uint8)
    tile[:, ::2] = (255, 0, 0)
    tile[:, 1::2] = (0, 0, 255)
    out = np.empty_like(tile)
    decode_jpeg(encode_jpeg(tile, 100), out)
    assert np.abs(out.astype(int) - tile).max() < 8


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_foreign_jpegs_decode_to_rgb(make_tiles: MakeTiles, subsampling: str) -> None:
    tile = make_tiles(1, 32)[0]
    stream = io.BytesIO()
    Image.fromarray(tile).save(stream, "JPEG", quality=95, subsampling=subsampling)
    out = np.empty_like(tile)
    decode_jpeg(stream.getvalue(), out)
    assert np.abs(out.astype(int) - tile).mean() < 2


@pytest.mark.parametrize("data", [b"", b"no JPEG", b"\xff\xd8\xff"])
def test_what_is_no_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a readable JPEG"):
        decode_jpeg(data, np.empty((8, 8, 3), np.uint8))


def test_a_jpeg_of_another_size_is_refused(make_tiles: MakeTiles) -> None:
    data = encode_jpeg(make_tiles(1, 16)[0], 90)
    with pytest.raises(ValueError, match="shape"):
        decode_jpeg(data, np.empty((8, 8, 3), np.uint8))


def test_codec_is_found_by_its_name() -> None:
    assert get_codec_class("wsi_specdec.jpeg") is JpegCodec
    codec = JpegCodec(quality=77)
    assert JpegCodec.from_dict(codec.to_dict()) == codec


def test_codec_works_in_an_array_that_zarr_writes(tmp_path: Path, make_tiles: MakeTiles) -> None:
    tiles = make_tiles(3, 32)
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=tiles.shape,
        dtype=np.uint8,
        chunks=(1, 32, 32, 3),
        serializer=JpegCodec(quality=95),
        compressors=None,
    )
    array[...] = tiles
    assert np.abs(np.asarray(array[...]).astype(int) - tiles).mean() < 2


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 8, 8, 1), "uint8"), ((2, 8, 8, 3), "uint16"), ((8, 8, 3), "uint8")]
)
def test_codec_refuses_what_is_no_image(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(ValueError, match="uint8 images"):
        zarr.create_array(
            tmp_path / "a.zarr",
            shape=shape,
            dtype=dtype,
            chunks=(1, *shape[1:]),
            serializer=JpegCodec(quality=90),
            compressors=None,
        )


@pytest.mark.parametrize("quality", [0, 101])
def test_codec_refuses_a_quality_out_of_range(quality: int) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        JpegCodec(quality=quality)


def test_plain_zarr_reads_a_store_without_importing_us(
    make_store: MakeStore, make_tiles: MakeTiles
) -> None:
    store = make_store(make_tiles(5, 16), codec="jpeg")
    code = (
        "import sys, json, zarr\n"
        "group = zarr.open(sys.argv[1], mode='r')\n"
        "print(json.dumps([group['tiles'][3].tolist(), dict(group.attrs), "
        "group['coords'][:].tolist()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.path)], capture_output=True, text=True, check=True
    )
    tile, attributes, coords = json.loads(done.stdout)
    assert np.array_equal(tile, store.read([3])[0])
    assert attributes == store.attributes
    assert np.array_equal(coords, store.coords)


def test_plain_zarr_reads_tiles_of_several_foreign_jpegs(
    tmp_path: Path, make_tiles: MakeTiles
) -> None:
    """Tiles of 2 × 2 source tiles, RGB marked by APP14 as Aperio's, and subsampled YCbCr."""
    n, tile, chunk = 3, 32, 16
    chunks = make_tiles(4 * n, chunk)
    streams = [
        bytes(imagecodecs.jpeg8_encode(pixels, 95, colorspace="RGB", outcolorspace="RGB"))
        if number % 2
        else bytes(imagecodecs.jpeg8_encode(pixels, 95, colorspace="RGB", subsampling="420"))
        for number, pixels in enumerate(chunks)
    ]
    # The marker's last byte says that there is no colour transform.
    assert [b"Adobe" in data[:64] for data in streams[:2]] == [False, True]
    path = tmp_path / "s.zarr"
    with TileStoreWriter(
        path,
        n_tiles=n,
        tile_size=tile,
        codec="jpeg",
        attributes={"slide_id": "s", "tile_size_level0_px": tile},
        chunk_size=chunk,
    ) as writer:
        writer.append_encoded(streams)
        writer.finish(np.zeros((n, 2)), np.zeros(n), np.zeros(n), {})
    code = (
        "import sys, zarr\n"
        "tiles = zarr.open(sys.argv[1], mode='r')['tiles']\n"
        "sys.stdout.buffer.write(tiles[:].tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
    tiles = np.frombuffer(done.stdout, np.uint8).reshape(n, tile, tile, 3)
    images = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in streams]
    expected = [
        np.vstack([np.hstack(images[i : i + 2]), np.hstack(images[i + 2 : i + 4])])
        for i in range(0, 4 * n, 4)
    ]
    assert np.array_equal(open_store(path).read(range(n)), tiles)
    assert np.abs(tiles.astype(int) - expected).max() <= 3
    assert np.abs(tiles[0, :chunk, chunk:].astype(int) - chunks[1]).mean() < 2


def test_importing_the_store_loads_nothing_heavy() -> None:
    code = "import sys, wsi_specdec.store; print('|'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "timm", "matplotlib", "sklearn", "pandas", "pyarrow", "h5py"}
    assert heavy.isdisjoint(done.stdout.split("|"))
