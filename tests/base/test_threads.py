import threading
import time

import pytest

from wsi_specdec.threads import in_order


def test_results_come_in_order_whichever_is_ready_first() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 4 == 0 else 0)
        return item * item

    assert list(in_order(slow_first, range(20), 4, waiting=2)) == [n * n for n in range(20)]
    assert list(in_order(slow_first, [], 4, waiting=2)) == []


def test_no_more_is_begun_than_may_wait() -> None:
    begun: list[int] = []
    results = in_order(lambda n: begun.append(n) or n, range(1000), 2, waiting=3)  # type: ignore[func-returns-value]
    for taken in range(50):
        next(results)
        time.sleep(0.001)
        assert len(begun) <= taken + 1 + 2 + 3
    results.close()
    assert len(begun) < 100


def test_the_first_error_ends_it_and_what_waits_is_never_begun() -> None:
    begun: list[int] = []
    go = threading.Event()

    def fails(item: int) -> int:
        begun.append(item)
        go.wait(5)
        if item == 2:
            raise ValueError(item)
        time.sleep(0.05 if item > 2 else 0)
        return item

    results = in_order(fails, range(100), 1, waiting=20)
    threading.Timer(0.05, go.set).start()
    assert next(results) == 0
    assert next(results) == 1
    with pytest.raises(ValueError, match="2"):
        next(results)
    assert len(begun) <= 10
