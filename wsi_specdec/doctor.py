"""Describe a slide, and examine whether this installation works."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import ReaderName, RunnerConfig, TileConfig
from wsi_specdec.errors import ConfigError, ResolutionError
from wsi_specdec.geometry import Size
from wsi_specdec.provenance import git_revision, package_versions
from wsi_specdec.slides import SlideInfo, SlideReader, open_slide
from wsi_specdec.store import open_store, store_path


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, whether it is in order, and what was found."""

    check: str
    ok: bool
    found: str


def describe_slide(
    path: Path,
    reader: ReaderName = "auto",
    mpp: float | None = None,
    config: TileConfig | None = None,
) -> dict[str, Any]:
    """Describe one slide in JSON types, in the order they are best read.

    Parameters
    ----------
    path
        The slide.
    reader
        What reads it.
    mpp
        µm per level-0 pixel that overrides the metadata.
    config
        Settings for which the pixel path is told; the defaults if None.

    Raises
    ------
    SlideError
        If it cannot be opened.
    """
    with open_slide(path, reader, mpp) as slide:
        about = slide.info
        way, reason = _pixel_path(slide, config or TileConfig())
        return {
            "path": str(path),
            "vendor": about.vendor,
            "reader": about.reader,
            "scanner": about.scanner,
            "objective_power": about.objective_power,
            "mpp": about.mpp,
            "mpp_source": about.mpp_source,
            "levels": _levels(about),
            "bounds": asdict(about.bounds),
            "fluorescence": about.fluorescence,
            "pixel_path": way,
            "pixel_path_reason": reason,
            "warnings": list(about.warnings),
        }


def _levels(about: SlideInfo) -> list[dict[str, float | None]]:
    return [
        {
            "level": level,
            "width": size.width,
            "height": size.height,
            "downsample": downsample,
            "mpp": None if about.mpp is None else about.mpp * downsample,
        }
        for level, (size, downsample) in enumerate(
            zip(about.level_sizes, about.level_downsamples, strict=True)
        )
    ]


def _pixel_path(slide: SlideReader, config: TileConfig) -> tuple[str | None, str]:
    """Tell how the tiles of the whole slide would be read, and why not faster, or not at all."""
    from wsi_specdec.tiling import choose_path, plan_grid

    try:
        plan, coords = plan_grid(slide.info, config)
        way = choose_path(slide, plan, coords, config)
    except (ResolutionError, ConfigError) as error:
        return None, str(error)
    return way.name, way.reason


def examine() -> list[Finding]:
    """Look at everything a run needs; never raises."""
    found = [Finding("revision", ok=True, found=git_revision() or "not a checkout")]
    found += [Finding(name, v != "not installed", v) for name, v in package_versions().items()]
    checks: dict[str, Callable[[], str]] = {
        "openslide library": _openslide,
        "readers": _readers,
        "jpeg codec": _jpeg_codec,
        "torch and timm": _torch,
        "device": _device,
        "self-test": _self_test,
    }
    return found + [_checked(name, check) for name, check in checks.items()]


def _checked(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, ok=True, found=check())
    except Exception as error:  # noqa: BLE001 - whatever is wrong here is the finding
        return Finding(name, ok=False, found=f"{type(error).__name__}: {error}")


def _openslide() -> str:
    import openslide

    return str(openslide.__library_version__)


def _readers() -> str:
    """Read one picture back through each reader."""
    import tifffile
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        tiled, striped, plain = (Path(folder) / name for name in ("t.tif", "s.tif", "p.png"))
        tifffile.imwrite(tiled, pixels, tile=(32, 32), photometric="rgb", compression="zlib")
        tifffile.imwrite(striped, pixels, rowsperstrip=8, photometric="rgb", compression="zlib")
        Image.fromarray(pixels).save(plain)
        used = [_read_back(path, pixels) for path in (tiled, striped, plain)]
    return ", ".join(used)


def _read_back(path: Path, expected: NDArray[np.uint8]) -> str:
    with open_slide(path) as slide:
        read = slide.read_region(0, 0, 0, Size(expected.shape[1], expected.shape[0]))
        if not np.array_equal(read, expected):
            msg = f"{slide.info.reader} reads other pixels than were written"
            raise RuntimeError(msg)
        return slide.info.reader


def _jpeg_codec() -> str:
    from zarr.registry import get_codec_class

    return f"{get_codec_class('wsi_specdec.jpeg').__name__}, imagecodecs {version('imagecodecs')}"


def _torch() -> str:
    import timm
    import torch
    import torchvision

    return f"{torch.__version__}, {torchvision.__version__}, {timm.__version__}"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return ", ".join(
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        )
    return f"no GPU; CPU with {torch.get_num_threads()} threads"


def _self_test() -> str:
    """Write a tiny pyramid, tile it, and read the tiles back."""
    import tifffile

    from wsi_specdec.cohort import Slide
    from wsi_specdec.tiling import tile_slides

    rng = np.random.default_rng(0)
    image = np.full((512, 512, 3), 245, dtype=np.uint8)
    image[128:384, 128:384] = rng.integers(90, 200, (256, 256, 3), dtype=np.uint8)
    image[128:384, 128:384, 1] //= 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "self-test.tif"
        tifffile.imwrite(
            path,
            image,
            tile=(256, 256),
            photometric="rgb",
            compression="zlib",
            resolution=(10_000.0, 10_000.0),
            resolutionunit="CENTIMETER",
        )
        out = Path(folder) / "run"
        config = TileConfig(mpp=1.0, tile_size=64, codec="lossless")
        summary = tile_slides(
            [Slide("self-test", path, "self-test")], out, config, RunnerConfig(workers=1)
        )
        if not summary.ok:
            raise RuntimeError(dict(summary.failures)["self-test"])
        store = open_store(store_path(out, "self-test"))
        x, y = (int(v) for v in store.coords[0])
        if not np.array_equal(store.read([0])[0], image[y : y + 64, x : x + 64]):
            msg = "tiles read back differ from the slide's pixels"
            raise RuntimeError(msg)
        return f"{store.n_tiles} tiles written and read back"
