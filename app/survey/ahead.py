"""Calls made in threads, as those that wait for files most of the time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

THREADS = 32
Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    call: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS, rounds: int = 4
) -> Iterator[Result]:
    """What ``call`` returns for each of ``items``, in their order; ``rounds`` times ``threads`` are taken ahead."""
    waiting: deque[Future[Result]] = deque()
    left = iter(items)
    with ThreadPoolExecutor(threads, "ahead") as pool:
        waiting.extend(pool.submit(call, item) for item in islice(left, rounds * threads))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(call, item) for item in islice(left, 1))
