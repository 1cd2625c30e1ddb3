"""The measurements that the external scanner rests on, against known blur and JPEG quality."""

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "measure_centres.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_centres", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_known_blur_is_found(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    sharp = 128 + 20 * rng.standard_normal((1024, 1024, 3))
    images = [sharp, cv2.GaussianBlur(sharp, (0, 0), 0.8), cv2.GaussianBlur(sharp, (0, 0), 1.2)]
    spectra = [script.log_spectrum(np.clip(i, 0, 255).astype(np.uint8)) for i in images]
    spread = script.relative_spread(np.stack(spectra))
    assert spread.sum() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(spread - spread[0], [0, 0.8**2, 1.2**2], atol=0.1)


@pytest.mark.parametrize("quality", [30, 75, 90])
def test_jpeg_quality_is_read_off_the_tables(
    script: ModuleType, tmp_path: Path, quality: int
) -> None:
    path = tmp_path / "tile.jpeg"
    image = np.full((64, 64, 3), 200, dtype=np.uint8)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert script.jpeg_quality(path) == quality
