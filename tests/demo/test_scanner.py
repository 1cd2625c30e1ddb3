import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.demo.scanner import (
    CENTRES_FILE,
    Restaining,
    Scanner,
    centre_scanners,
    external_scanner,
    internal_scanner,
    restain,
)
from wsi_specdec.files import read_json

SOURCE = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))
TARGET = ((0.55, 0.79, 0.24), (0.28, 0.93, 0.25))


def unit(
    rows: tuple[tuple[float, float, float], ...],
) -> NDArray[np.float64]:
    matrix = np.asarray(rows)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def restaining(ratio: tuple[float, float]) -> Restaining:
    (source, target) = (tuple(map(tuple, unit(m).tolist())) for m in (SOURCE, TARGET))
    return Restaining(source, target, ratio)  # type: ignore[arg-type]


def test_pure_stains_become_the_targets_scaled() -> None:
    ratio = (0.9, 1.2)
    for stain in (0, 1):
        density = 0.8 * unit(SOURCE)[stain]
        pixel = np.rint(240 * np.exp(-density) - 1).astype(np.uint8)
        expected = 240 * np.exp(-0.8 * ratio[stain] * unit(TARGET)[stain]) - 1
        found = restain(np.full((2, 3, 3), pixel), restaining(ratio))
        np.testing.assert_allclose(found[0, 0], expected, atol=2)


def test_glass_stays_glass_and_ink_stays_dark() -> None:
    glass = np.full((1, 1, 3), 239, dtype=np.uint8)
    np.testing.assert_array_equal(restain(glass, restaining((0.9, 1.1))), glass)
    ink = np.full((1, 1, 3), 10, dtype=np.uint8)
    assert restain(ink, restaining((1.0, 1.0))).max() < 60


def test_same_stains_change_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    source = restaining((1.0, 1.0)).source
    same = restain(image, Restaining(source, source, (1.0, 1.0)))
    assert np.abs(same.astype(int) - image).max() <= 1


def test_blur_is_a_gaussian_of_the_stated_width() -> None:
    edge = np.zeros((8, 40, 3), dtype=np.uint8)
    edge[:, 20:] = 255
    seen = Scanner("s", "s", 90, blur_sigma_px=2.0).scan(edge)[4, :, 0].astype(np.float64)
    # The derivative of a blurred edge is the point spread.
    spread, x = np.diff(seen), np.arange(39) - 19
    assert (spread * x).sum() == pytest.approx(0, abs=1e-9)
    assert (spread * x**2).sum() / spread.sum() == pytest.approx(4.0, rel=0.05)


def test_internal_scanner_leaves_the_sources_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(internal_scanner().scan(image), image)


def test_external_scanner_is_what_the_rules_take_from_the_measurements() -> None:
    measured = read_json(CENTRES_FILE)
    scanner, centres = external_scanner(), measured["centres"]
    assert len(centres) == 5
    chosen = max(centres, key=lambda c: sum(c["angles_to_reference_degrees"]))
    assert measured["external"]["centre"] == chosen["centre"]
    assert scanner.restaining is not None
    np.testing.assert_allclose(scanner.restaining.target, chosen["profile"]["stain_matrix"])
    np.testing.assert_allclose(scanner.restaining.source, measured["reference"]["stain_matrix"])
    strengths = np.array([c["profile"]["max_concentrations"] for c in centres])
    ratio = np.array(chosen["profile"]["max_concentrations"]) / strengths.mean(axis=0)
    np.testing.assert_allclose(scanner.restaining.ratio, ratio, atol=1e-3)
    spread = [c["point_spread_variance_px2_over_mean"] for c in centres]
    assert scanner.blur_sigma_px == pytest.approx(np.sqrt(max(spread) - min(spread)), abs=1e-3)
    assert scanner.jpeg_quality == chosen["jpeg_quality"] != internal_scanner().jpeg_quality
    assert (scanner.name, scanner.site) != (internal_scanner().name, internal_scanner().site)


def test_centre_scanners_follow_from_the_measurements_by_the_same_rules() -> None:
    measured = read_json(CENTRES_FILE)
    scanners = centre_scanners()
    assert len({(s.name, s.site) for s in scanners}) == len(measured["centres"]) == 5
    spread = [c["point_spread_variance_px2_over_mean"] for c in measured["centres"]]
    for scanner, centre, variance in zip(scanners, measured["centres"], spread, strict=True):
        assert scanner.restaining is not None
        np.testing.assert_allclose(scanner.restaining.target, centre["profile"]["stain_matrix"])
        assert scanner.blur_sigma_px**2 == pytest.approx(variance - min(spread), abs=1e-3)
        assert scanner.jpeg_quality == centre["jpeg_quality"]
    ratios = np.array([s.restaining.ratio for s in scanners if s.restaining])
    # Over the mean of the centres, within one organ.
    np.testing.assert_allclose(ratios.mean(axis=0), 1, atol=1e-3)
    scanner_b, same = external_scanner(), scanners[measured["external"]["centre"]]
    assert same.restaining == scanner_b.restaining
    assert 0 < same.blur_sigma_px < scanner_b.blur_sigma_px
