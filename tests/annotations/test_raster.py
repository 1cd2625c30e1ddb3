"""Rasterised coverage against exact clipping and against a fine grid of points."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.annotations.raster import SAMPLES, Shapes, Window, coverage

NOTHING = Shapes([])
Ring = NDArray[np.float64]


def area(ring: Ring) -> float:
    """Shoelace formula."""
    x, y = ring.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def clipped(ring: Ring, left: float, top: float, side: float) -> Ring:
    """Sutherland and Hodgman (1974): the part of a convex ring that lies in a square."""
    for axis, limit, sign in ((0, left, 1), (0, left + side, -1), (1, top, 1), (1, top + side, -1)):
        kept: list[Ring] = []
        for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            inside = [sign * (point[axis] - limit) >= 0 for point in (start, end)]
            if inside[0]:
                kept.append(start)
            if inside[0] != inside[1]:
                share = (limit - start[axis]) / (end[axis] - start[axis])
                kept.append(start + share * (end - start))
        if not kept:
            return np.empty((0, 2))
        ring = np.array(kept)
    return ring


def convex(angles: list[float], radii: tuple[float, float], centre: tuple[float, float]) -> Ring:
    turned = np.array(sorted(angles))
    return np.stack((np.cos(turned) * radii[0], np.sin(turned) * radii[1]), axis=1) + centre


angle = st.floats(0, 2 * math.pi, allow_nan=False)
place = st.floats(-50, 450)


@settings(max_examples=60, deadline=None)
@given(
    angles=st.lists(angle, min_size=3, max_size=12, unique=True),
    radii=st.tuples(st.floats(5, 300), st.floats(5, 300)),
    centre=st.tuples(place, place),
    shift=st.integers(0, 99),
)
def test_coverage_of_a_convex_polygon_is_that_of_exact_clipping(
    angles: list[float], radii: tuple[float, float], centre: tuple[float, float], shift: int
) -> None:
    ring = convex(angles, radii, centre)
    side = 100
    # A step that is no multiple of the pitch.
    coords = np.array([(x + shift, y) for y in (0, 77, 300) for x in (0, 37, 100, 303)])
    found = coverage({1: Shapes([(ring,)])}, NOTHING, coords, side)[1]
    for (x, y), share in zip(coords.tolist(), found, strict=True):
        part = clipped(ring, x, y, side)
        exact = area(part) / side**2 if len(part) else 0.0
        boundary = float(np.linalg.norm(part - np.roll(part, -1, axis=0), axis=1).sum())
        assert abs(share - exact) <= math.sqrt(2) * (boundary / side + 0.1) / SAMPLES


@pytest.mark.parametrize("side", [64, 128, 224, 1000])
def test_edges_on_the_sample_grid_are_exact(side: int) -> None:
    ring = np.array([[0, 0], [side / 4, 0], [side / 4, 2 * side], [0, 2 * side]])
    coords = np.array([[0, 0], [0, side], [side, 0]])
    assert coverage({1: Shapes([(ring,)])}, NOTHING, coords, side)[1].tolist() == [0.25, 0.25, 0]


def test_a_tile_of_few_pixels_has_no_finer_samples_than_pixels() -> None:
    ring = np.array([[0.0, 0], [2, 0], [2, 8], [0, 8]])
    found = coverage({1: Shapes([(ring,)])}, NOTHING, np.array([[0, 0], [1, 0]]), 8)[1]
    assert found.tolist() == [0.25, 0.125]


def test_average_error_is_a_tenth_of_the_bound() -> None:
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(60):
        ring = convex(rng.uniform(0, 6.28, 9).tolist(), (80, 80), (rng.uniform(60, 140), 100))
        share = coverage({1: Shapes([(ring,)])}, NOTHING, np.array([[0, 0]]), 200)[1][0]
        errors.append(abs(share - area(clipped(ring, 0, 0, 200)) / 200**2))
    assert np.mean(errors) < 0.1 * math.sqrt(2) / SAMPLES


def points_inside(rings: tuple[Ring, ...], x: NDArray[np.float64], y: float) -> NDArray[np.bool_]:
    """Even-odd by counting crossings to the right, one edge at a time."""
    inside = np.zeros(len(x), bool)
    for ring in rings:
        for (x1, y1), (x2, y2) in zip(
            ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True
        ):
            if (y1 <= y) != (y2 <= y):
                inside ^= x < x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    return inside


quarters = st.integers(-60, 160).map(lambda n: n / 4)
# No line through two such points meets a pixel's centre, where rounding would decide.
point = st.tuples(quarters, quarters).map(
    lambda p: (p[0] + math.sqrt(2) / 20, p[1] + math.sqrt(3) / 20)
)
ring_points = st.lists(point, min_size=3, max_size=9)


@settings(max_examples=100, deadline=None)
@given(rings=st.lists(ring_points, min_size=1, max_size=3), pitch=st.sampled_from([0.5, 1.0, 1.7]))
def test_any_rings_are_filled_even_odd_at_pixel_centres(
    rings: list[list[tuple[float, float]]], pitch: float
) -> None:
    made = tuple(np.array(ring, np.float64) for ring in rings)
    window = Window(2, 3, pitch, 20, 30)
    painted = Shapes([made]).paint(window)
    x = np.asarray(2 + (np.arange(30) + 0.5) * pitch, np.float64)
    expected = np.stack([points_inside(made, x, 3 + (row + 0.5) * pitch) for row in range(20)])
    if painted is None:
        painted = np.zeros_like(expected)
    assert (painted == expected).all()


def test_neighbours_share_an_edge_without_gap_or_overlap() -> None:
    rng = np.random.default_rng(0)
    border = np.stack((rng.uniform(30, 70, 40), np.linspace(0, 100, 40)), axis=1)
    left = np.concatenate((border, [[0, 100], [0, 0]]))
    right = np.concatenate((border[::-1], [[100, 0], [100, 100]]))
    window = Window(0, 0, 0.37, 270, 270)
    parts = [Shapes([(ring,)]).paint(window) for ring in (left, right)]
    assert parts[0] is not None
    assert parts[1] is not None
    assert (parts[0] ^ parts[1]).all()
    assert not (parts[0] & parts[1]).any()


def test_a_window_of_another_place_shows_the_same_pixels() -> None:
    rng = np.random.default_rng(1)
    shapes = Shapes([(rng.uniform(0, 60, (30, 2)),)])
    whole = shapes.paint(Window(0, 0, 1, 60, 60))
    part = shapes.paint(Window(20, 10, 1, 25, 30))
    assert whole is not None
    assert part is not None
    assert (whole[10:35, 20:50] == part).all()


def test_polygons_of_a_layer_are_united_and_the_excluded_cut_out() -> None:
    def box(x: float, y: float, w: float, h: float) -> tuple[Ring, ...]:
        return (np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]),)

    layers = {1: Shapes([box(0, 0, 64, 32), box(0, 16, 64, 32)]), 2: Shapes([box(0, 0, 64, 64)])}
    found = coverage(layers, Shapes([box(0, 0, 32, 64)]), np.array([[0, 0]]), 64)
    assert found[1].tolist() == [0.375]
    assert found[2].tolist() == [0.5]


def test_level_and_distant_edges_do_no_harm() -> None:
    ring = np.array([[-1e9, 10], [1e9, 10], [1e9, 42], [-1e9, 42]])
    flat = np.array([[0.0, 5], [64, 5], [32, 5]])
    assert coverage({1: Shapes([(ring,), (flat,)])}, NOTHING, np.array([[0, 0]]), 64)[1][0] == 0.5


def test_no_tiles_have_no_coverage() -> None:
    empty = np.empty((0, 2), np.int64)
    assert coverage({1: NOTHING}, NOTHING, empty, 64)[1].shape == (0,)


def test_a_polygon_of_a_hundred_thousand_vertices_takes_seconds() -> None:
    turn = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    radius = 30_000 + 2_000 * np.sin(600 * turn)
    ring = np.stack((radius * np.cos(turn), radius * np.sin(turn)), axis=1) + 40_000
    y, x = np.mgrid[0:80_000:512, 0:80_000:512]
    coords = np.stack((x.ravel(), y.ravel()), axis=1)
    begin = time.perf_counter()
    found = coverage({1: Shapes([(ring,)])}, NOTHING, coords, 512)[1]
    assert time.perf_counter() - begin < 20
    assert found.sum() * 512**2 == pytest.approx(area(ring), rel=1e-4)
