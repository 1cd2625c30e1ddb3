"""Work of many small parts, done in threads and handed over in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, *, waiting: int
) -> Generator[Result, None, None]:
    """Apply `function` to items in threads, and yield the results in the items' order.

    Parameters
    ----------
    function
        Called in one of the threads.
    items
        Taken one by one as there is room.
    threads
        How many work at a time.
    waiting
        How many more results than threads may be under way or wait to be taken.

    Yields
    ------
    Result
        The first error is raised in its turn, and what has not begun by then never does.
    """
    queue: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                queue.append(pool.submit(function, item))
                if len(queue) > threads + waiting:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()
