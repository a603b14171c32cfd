"""Calls that wait for files most of the time, made in threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

THREADS = 32
Item = TypeVar("Item")
Result = TypeVar("Result")


def each(call: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS) -> Iterator[Result]:
    """What ``call`` returns for each of ``items``, in their order; these are taken a little ahead."""
    waiting: deque[Future[Result]] = deque()
    left = iter(items)
    with ThreadPoolExecutor(threads, "ahead") as pool:
        waiting.extend(pool.submit(call, item) for item in islice(left, 4 * threads))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(call, item) for item in islice(left, 1))
