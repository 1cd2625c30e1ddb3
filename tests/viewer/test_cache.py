"""Memory is bounded: of encoded tiles, and of open slides."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiff_slides import write_slide
from viewed import tissue

from wsi_specdec.errors import SlideNotFoundError
from wsi_specdec.geometry import Size
from wsi_specdec.slides import SlideReader, open_slide
from wsi_specdec.viewer.cache import ByteCache
from wsi_specdec.viewer.pool import ReaderPool


def test_the_least_recently_used_goes_first() -> None:
    cache = ByteCache(10)
    for name in "abc":
        cache.put(name, name.encode() * 3)
    assert cache.get("a") == b"aaa"
    cache.put("d", b"dddd")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"aaa", None, b"ccc")
    assert cache.held == 10


def test_what_is_put_again_counts_once_and_what_is_too_large_not_at_all() -> None:
    cache = ByteCache(10)
    cache.put("a", b"123456")
    cache.put("a", b"1234")
    assert cache.held == 4
    cache.put("a", b"12345678901")
    assert cache.get("a") is None
    assert cache.held == 0


def test_threads_never_exceed_the_limit() -> None:
    cache = ByteCache(5000)
    highest: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for key, size in zip(rng.integers(0, 60, 400), rng.integers(1, 900, 400), strict=True):
            if cache.get(int(key)) is None:
                cache.put(int(key), bytes(int(size)))
            highest.append(cache.held)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert max(highest) <= 5000
    assert max(highest) > 2500


class Opening:
    """Opens a slide and counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: list[SlideReader] = []

    def __call__(self) -> SlideReader:
        time.sleep(0.02)
        self.opened.append(open_slide(self.path))
        return self.opened[-1]


def is_closed(reader: SlideReader) -> bool:
    return bool(getattr(reader, "_closed"))  # noqa: B009 - no part of the protocol


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "s.tif", tissue(128, 128, 0))


def test_a_slide_is_opened_once_for_all_threads(slide: Path) -> None:
    pool, opening = ReaderPool(2), Opening(slide)

    def read(_: int) -> int:
        with pool.borrow("a", opening) as opened:
            return int(opened.reader().read_region(0, 0, 0, Size(64, 64)).sum())

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(read, range(16)))) == 1
    assert len(opening.opened) == 1


def test_idle_slides_beyond_the_limit_are_closed(slide: Path) -> None:
    pool = ReaderPool(2)
    openings = {name: Opening(slide) for name in "abcd"}
    for name in ("a", "b", "a", "c"):
        with pool.borrow(name, openings[name]):
            pass
    assert len(pool) == 2
    assert [is_closed(openings[name].opened[0]) for name in "abc"] == [False, True, False]
    pool.close()
    assert all(is_closed(opening.opened[0]) for opening in openings.values() if opening.opened)


def test_a_slide_in_use_stays_open(slide: Path) -> None:
    pool = ReaderPool(1)
    first, second = Opening(slide), Opening(slide)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with pool.borrow("a", first) as opened:
            inside.set()
            leave.wait(20)
            opened.reader().read_region(0, 0, 0, Size(8, 8))

    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(hold)
        assert inside.wait(20)
        with pool.borrow("b", second):
            pass
        pool.close()
        assert not is_closed(first.opened[0])
        leave.set()
        held.result(20)
    assert len(pool) == 1


def test_a_slide_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    pool, opening = ReaderPool(1), Opening(tmp_path / "late.tif")
    with pytest.raises(SlideNotFoundError), pool.borrow("a", opening):
        pass
    write_slide(tmp_path / "late.tif", tissue(64, 64, 0))
    with pool.borrow("a", opening) as opened:
        assert opened.reader().info.level_sizes == (Size(64, 64),)
