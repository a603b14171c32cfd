"""Work on the rows of tall arrays in blocks, each small enough for the cache of a core, by several threads."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

BLOCK_ROWS = 8192
LEAST_BLOCKS = 4  # of a thread; less is not worth waking it
STACK_BYTES = 1 << 20

Result = TypeVar("Result")


class _Threads:
    """The threads of this process that work on blocks; none unless ``start_threads`` was called."""

    pool: ThreadPoolExecutor | None = None
    count = 1


class _Memory:
    """The memory of this process for columns."""

    empty: Callable[[tuple[int, ...], np.dtype], np.ndarray] = np.empty


@contextmanager
def made_by(empty: Callable[[tuple[int, ...], np.dtype], np.ndarray]) -> Iterator[None]:
    """Have ``empty``, a function like ``np.empty``, make the arrays that columns are written into."""
    _Memory.empty = empty
    try:
        yield
    finally:
        _Memory.empty = np.empty


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """An array of ``shape`` to be filled by blocks, where ``made_by`` says."""
    return _Memory.empty(shape, np.dtype(dtype))


def start_threads(num_threads: int) -> None:
    """Start the threads that work on blocks from now on, all at once, so that they take no address space later."""
    before = threading.stack_size(STACK_BYTES)
    try:
        pool = ThreadPoolExecutor(num_threads, "rows")
        together = threading.Barrier(num_threads)
        list(pool.map(lambda _: together.wait(), range(num_threads)))
    finally:
        threading.stack_size(before)
    _Threads.pool, _Threads.count = pool, num_threads


def by_blocks(num_rows: int, work: Callable[[slice], Result]) -> list[Result]:
    """What ``work`` gives for every block of ``num_rows`` rows, in order; numpy's error state does not reach it."""
    num_blocks = -(-num_rows // BLOCK_ROWS)
    num_parts = min(_Threads.count, num_blocks // LEAST_BLOCKS)
    if _Threads.pool is None or num_parts < 2:
        return [work(block) for block in _blocks(0, num_blocks, num_rows)]
    ends = [num_blocks * part // num_parts for part in range(num_parts + 1)]

    def work_on(part: int) -> list[Result]:
        return [work(block) for block in _blocks(ends[part], ends[part + 1], num_rows)]

    return [result for results in _Threads.pool.map(work_on, range(num_parts)) for result in results]


def _blocks(first: int, end: int, num_rows: int) -> Iterator[slice]:
    for block in range(first, end):
        yield slice(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, num_rows))


def joined(columns: Sequence[np.ndarray], dtype: np.dtype | type) -> np.ndarray:
    """``columns`` (N,), of any numeric types, side by side as an array (N, C) of ``dtype``.

    What ``dtype`` cannot hold becomes what numpy's ``astype`` makes of it, without a warning.
    """
    table = empty((len(columns[0]), len(columns)), dtype)

    @np.errstate(over="ignore", invalid="ignore")
    def fill(block: slice) -> None:
        for place, values in enumerate(columns):
            table[block, place] = values[block]

    by_blocks(len(table), fill)
    return table


def contiguous(values: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """``values`` (N,) as a contiguous array of ``dtype``; unchanged if they are one."""
    if values.dtype == dtype and values.flags.c_contiguous:
        return values
    return joined([values], dtype).reshape(-1)
