"""The page in a real browser: what is seen lies where it should, and controls do what they say."""

import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from chromium import Chromium, Page
from numpy.typing import NDArray
from viewed import GLASS, GREEN, GREEN_TILE, PLACE, TILE, Served

from wsi_specdec.viewer.layers import score_colours

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    PROGRAM is None and "CI" not in os.environ,
    reason="no Chromium on this machine: install the package `chromium`",
)
# The middle of the green tile is where the screen's is, and one screen pixel is one of the slide.
CENTRE = (GREEN_TILE[0] + TILE // 2, GREEN_TILE[1] + TILE // 2)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    assert PROGRAM is not None, "Chromium must be installed where CI runs"
    with Chromium(PROGRAM, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(browser: Chromium) -> Iterator[Page]:
    with Page(browser, 1280, 800) as opened:
        yield opened
        assert opened.complaints() == []


def show(page: Page, served: Served, slide: str = "offset", **settings: Any) -> None:  # noqa: ANN401
    """Open the page at a slide and wait until all of it is there."""
    page.go(f"{served.address}#{urlencode({'slide': slide, **settings})}")
    page.wait(f"document.body?.dataset.shown === '{slide}'")


def at_green(served: Served, page: Page, **settings: Any) -> NDArray[np.uint8]:  # noqa: ANN401
    show(page, served, x=CENTRE[0], y=CENTRE[1], zoom=0, **settings)
    return seen(page)


def seen(page: Page) -> NDArray[np.uint8]:
    """What is seen of the map; all around it is black."""
    x, y, width, height = box_of(page)
    screen = page.screenshot()
    inside = np.zeros_like(screen)
    inside[y : y + height, x : x + width] = screen[y : y + height, x : x + width]
    return inside


def box_of(page: Page) -> tuple[int, int, int, int]:
    """Left, top, width and height of the map on the page."""
    box = page.value("(({x,y,width,height}) => [x,y,width,height])(map.getBoundingClientRect())")
    x, y, width, height = (round(side) for side in box)
    return x, y, width, height


def middle(page: Page) -> tuple[int, int]:
    """Middle of the map on the page."""
    x, y, width, height = box_of(page)
    return x + width // 2, y + height // 2


def near(pixels: NDArray[np.uint8], colour: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray((np.abs(pixels.astype(int) - colour) < 24).all(axis=2))


def extent(found: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom (one past the last) of what is true."""
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def top_colour() -> tuple[int, ...]:
    return tuple(int(score_colours()[-1][i : i + 2], 16) for i in (1, 3, 5))


def square(page: Page) -> tuple[int, int, int, int]:
    """Where the green tile belongs on the screen."""
    x, y = middle(page)
    return x - TILE // 2, y - TILE // 2, x + TILE // 2, y + TILE // 2


def test_the_overlay_lies_on_its_tile_to_the_pixel(page: Page, served: Served) -> None:
    bare = at_green(served, page, opacity=0)
    expected = square(page)
    assert extent(near(bare, GREEN)) == expected
    # Only the green tile scores as much, so that its colour is nowhere else.
    covered = at_green(served, page, opacity=1, threshold=0.99)
    left, top, right, bottom = expected
    assert not near(covered, GREEN).any()
    assert extent(near(covered, top_colour())) == expected
    assert near(covered, top_colour())[top:bottom, left:right].all()


@pytest.mark.parametrize("zoom", [-1, 1])
def test_it_does_at_other_zooms_too(page: Page, served: Served, zoom: int) -> None:
    show(page, served, x=CENTRE[0], y=CENTRE[1], zoom=zoom, opacity=1, threshold=0.99)
    x, y = middle(page)
    reach = TILE / 2 * 2**zoom
    found = extent(near(seen(page), top_colour()))
    assert np.abs(np.subtract(found, (x - reach, y - reach, x + reach, y + reach))).max() <= 1


def test_opacity_mixes_and_the_threshold_hides(page: Page, served: Served) -> None:
    half = at_green(served, page, opacity=0.5, threshold=0.99)
    x, y = middle(page)
    mixed = np.mean([GREEN, top_colour()], axis=0)
    assert np.abs(half[y, x].astype(int) - mixed).max() < 6
    assert "1 of 80 tiles" in page.value("message.innerText")
    # Moved as by hand: everything but the highest score goes.
    page.value("opacity.value = 1; opacity.dispatchEvent(new Event('input'))")
    page.value("threshold.value = 0; threshold.dispatchEvent(new Event('input'))")
    assert "80 of 80 tiles" in page.value("message.innerText")
    assert "threshold=0&" in page.value("location.hash")
    all_of_them = page.screenshot()
    assert not np.array_equal(all_of_them[y, x + TILE], half[y, x + TILE])


def test_the_tile_under_the_pointer_tells_its_score(page: Page, served: Served) -> None:
    at_green(served, page)
    x, y = middle(page)
    page.mouse(x + TILE // 2 - 2, y - TILE // 2 + 2)
    page.wait("!tip.hidden")
    assert page.value("tip.innerText") == "1.000"
    assert page.value("tip.dataset.tile") == "{},{}".format(*GREEN_TILE)
    page.mouse(x + TILE // 2 + 2, y)
    page.wait(f"tip.dataset.tile === '{GREEN_TILE[0] + TILE},{GREEN_TILE[1]}'")
    assert float(page.value("tip.innerText")) < 0.8
    page.mouse(x, 5)
    page.wait("tip.hidden")


def test_slides_are_sorted_by_score_and_keys_step_through_them(page: Page, served: Served) -> None:
    show(page, served)
    listed = page.value("[...document.querySelectorAll('#list button')].map(b => b.dataset.slide)")
    assert listed == ["offset", "plain", "broken", "lost"]
    assert page.value("document.querySelector('[aria-current]').dataset.slide") == "offset"
    assert "called positive" in page.value("verdict.innerText")
    page.press("n")
    page.wait("document.body.dataset.shown === 'plain'")
    assert "wrong" in page.value("verdict.innerText")
    assert "slide=plain" in page.value("location.hash")
    for key, slide in (("p", "offset"), ("p", "lost"), ("PageDown", "offset")):
        page.press(key)
        page.wait(f"document.body.dataset.shown === '{slide}'")


def test_a_corrupt_slide_is_listed_with_its_reason(page: Page, served: Served) -> None:
    show(page, served, "broken")
    assert "corrupt or not a slide" in page.value("problem.innerText")
    row = page.value("document.querySelector('[data-slide=broken]').innerText")
    assert "cannot be shown" in row
    assert "2 cannot be shown" in page.value("document.querySelector('#count').innerText")
    page.press("n")
    page.wait("document.body.dataset.shown === 'lost'")
    page.press("n")
    page.wait("document.body.dataset.shown === 'offset'")
    assert page.value("problem.hidden")


def test_the_scanned_area_is_what_is_seen_first(page: Page, served: Served) -> None:
    show(page, served, opacity=0)
    _, _, width, height = box_of(page)
    box = extent(near(seen(page), GREEN))
    zoom = float(page.value("new URLSearchParams(location.hash.slice(1)).get('zoom')"))
    assert np.abs(np.subtract(box[2:], box[:2]) - TILE * 2**zoom).max() < 3
    assert max(PLACE.width * 2**zoom / width, PLACE.height * 2**zoom / height) > 0.8
    assert page.value("ruler.hidden") is False


def test_outlines_lie_around_their_region(page: Page, served: Served) -> None:
    at_green(served, page, opacity=0, outlines="tissue")
    page.wait("document.querySelector('#map path')")
    box = page.value(
        "(({x,y,right,bottom}) => [x,y,right,bottom])"
        "(document.querySelector('#map path').getBoundingClientRect())"
    )
    assert np.abs(np.subtract(box, square(page))).max() <= 2


def test_finding_narrows_the_list(page: Page, served: Served) -> None:
    show(page, served)
    page.value("filter.value = 'OFF'; filter.dispatchEvent(new Event('input'))")
    assert page.value("document.querySelectorAll('#list button').length") == 1
    assert page.value("count.innerText") == "1 of 4 slides, 2 cannot be shown"


def test_on_a_phone_all_is_there_and_nothing_sticks_out(browser: Chromium, served: Served) -> None:
    with Page(browser, 390, 780, dark=True, phone=True) as page:
        show(page, served)
        assert page.value("document.documentElement.scrollWidth") == 390
        assert page.value("map.clientHeight") > 300
        assert page.value("getComputedStyle(slides).display") == "none"
        page.value("toggle.click()")
        page.wait("getComputedStyle(slides).display !== 'none'")
        page.value("document.querySelector('[data-slide=plain]').click()")
        page.wait("document.body.dataset.shown === 'plain'")
        assert page.value("getComputedStyle(slides).display") == "none"
        background = page.value("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(20, 23, 27)"
        assert page.complaints() == []


@pytest.mark.parametrize("zoom", [0.5, -0.75])
def test_no_lines_show_where_tiles_meet(page: Page, served: Served, zoom: float) -> None:
    # Glass alone: right of the scanned area nothing but white can be seen.
    show(page, served, x=PLACE.x + PLACE.width + 250, y=500, zoom=zoom, opacity=0)
    x, y = middle(page)
    assert (seen(page)[y - 150 : y + 150, x - 100 : x + 100] == 255).all()


def test_edges_of_the_slide_are_where_they_belong(page: Page, served: Served) -> None:
    show(page, served, x=GLASS.width, y=GLASS.height, zoom=0, opacity=0)
    x, y = middle(page)
    pixels = seen(page)
    assert (pixels[y - 1, x - 1] > 250).all()
    for beside in ((y, x - 1), (y - 1, x), (y, x)):
        assert (pixels[beside] < 240).all()
