"""Work on the rows of tall arrays in blocks, each small enough for the cache of a core, by several threads."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import as_strided

BLOCK_ROWS = 8192
LARGE_BLOCK_ROWS = 65536  # for work that goes over a block once or twice
LEAST_ROWS = 32768  # of a thread; fewer are not worth waking it
LEAST_NUMBERS = 131072  # of a thread, if they are only copied or compared
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


def by_blocks(
    num_rows: int, work: Callable[[slice], Result], block_rows: int = BLOCK_ROWS, least_rows: int = LEAST_ROWS
) -> list[Result]:
    """What ``work`` gives for every block of ``num_rows`` rows, ``block_rows`` of them at most, in order.

    Each thread has a part of the rows, at least ``least_rows``, this one too.
    """
    num_parts = max(1, min(_Threads.count, num_rows // least_rows))
    ends = [num_rows * part // num_parts for part in range(num_parts + 1)]

    def work_on(part: int) -> list[Result]:
        begin, end = ends[part : part + 2]
        return [work(slice(row, min(row + block_rows, end))) for row in range(begin, end, block_rows)]

    if _Threads.pool is None or num_parts < 2:
        return work_on(0)
    others = _Threads.pool.map(work_on, range(1, num_parts))
    try:
        first = work_on(0)
    finally:
        rest = list(others)
    return [*first, *chain(*rest)]


def filler(columns: Sequence[np.ndarray]) -> tuple[Callable[[np.ndarray, slice], None], int]:
    """A function that puts a block of ``columns`` (N,), side by side, into an array (M, C), and the rows of a block
    that suit it.

    Columns that lie side by side in the rows of a table are put there by one call, which needs the interpreter once:
    threads that each make many short calls wait for it, and for each other, most of the time.
    """
    first, size = columns[0], columns[0].dtype.itemsize
    begin = first.__array_interface__["data"][0]
    are_beside = all(
        values.dtype == first.dtype
        and values.strides == first.strides
        and values.__array_interface__["data"][0] == begin + place * size
        for place, values in enumerate(columns)
    )
    if are_beside:
        table = as_strided(first, (len(first), len(columns)), (*first.strides, size), writeable=False)
        return lambda into, block: np.copyto(into, table[block], casting="unsafe"), LARGE_BLOCK_ROWS

    def fill(into: np.ndarray, block: slice) -> None:
        for place, values in enumerate(columns):
            into[:, place] = values[block]

    return fill, BLOCK_ROWS


def joined(columns: Sequence[np.ndarray], dtype: np.dtype | type) -> np.ndarray:
    """``columns`` (N,), of any numeric types, side by side as an array (N, C) of ``dtype``.

    What ``dtype`` cannot hold becomes what numpy's ``astype`` makes of it, without a warning.
    """
    table = empty((len(columns[0]), len(columns)), dtype)
    fill, block_rows = filler(columns)

    @np.errstate(over="ignore", invalid="ignore")
    def fill_block(block: slice) -> None:
        fill(table[block], block)

    by_blocks(len(table), fill_block, block_rows, -(-LEAST_NUMBERS // len(columns)))
    return table


def contiguous(values: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """``values`` (N,) as a contiguous array of ``dtype``; unchanged if they are one."""
    if values.dtype == dtype and values.flags.c_contiguous:
        return values
    return joined([values], dtype).reshape(-1)
