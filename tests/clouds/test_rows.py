import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from app.clouds import rows
from app.clouds.rows import BLOCK_ROWS, LARGE_BLOCK_ROWS, LEAST_ROWS, by_blocks, contiguous, joined

MANY = 5 * LEAST_ROWS + 7
RNG = np.random.default_rng(0)


@pytest.fixture(params=[0, 1, 3])
def threads(request, monkeypatch) -> Iterator[int]:
    """That work on blocks; 0 if none were started."""
    monkeypatch.setattr(rows._Threads, "pool", None)
    monkeypatch.setattr(rows._Threads, "count", 1)
    if request.param:
        rows.start_threads(request.param)
    yield request.param
    if rows._Threads.pool:
        rows._Threads.pool.shutdown()


@pytest.mark.parametrize("block_rows", [BLOCK_ROWS, LARGE_BLOCK_ROWS])
@pytest.mark.parametrize("num_rows", [0, 1, BLOCK_ROWS, BLOCK_ROWS + 1, MANY])
def test_each_row_is_in_one_block_and_results_are_in_order(threads, num_rows, block_rows):
    found = by_blocks(num_rows, lambda block: (block.start, block.stop), block_rows)
    ends = [0, *(stop for _, stop in found)]
    assert [start for start, _ in found] == ends[:-1]
    assert ends[-1] == num_rows
    assert all(0 < stop - start <= block_rows for start, stop in found)


def test_large_tables_are_worked_on_by_the_threads_that_were_started(threads):
    together = threading.Barrier(max(1, threads))
    worked = set(by_blocks(MANY, lambda block: (together.wait(), threading.current_thread())[1], MANY))
    assert len(worked) == max(1, threads)
    assert threading.current_thread() in worked
    assert by_blocks(BLOCK_ROWS, lambda block: threading.current_thread()) == [threading.current_thread()]


@pytest.mark.parametrize("place", [0, MANY - 1])
def test_what_fails_in_a_block_fails_outside_once_the_others_are_done(threads, place):
    done = []

    def fail(block: slice) -> None:
        if block.start <= place < block.stop:
            raise ValueError("this one")
        time.sleep(0.01)
        done.append(block)

    with pytest.raises(ValueError, match="this one"):
        by_blocks(MANY, fail, MANY)
    assert len(done) == max(1, threads) - 1


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", ">i2", "<u2", "<i4", ">u4", "<i8", "<u8", "<f2", ">f4", "<f8"])
@pytest.mark.parametrize("target", [np.uint8, np.float32, np.float64])
def test_columns_side_by_side_are_what_numpy_makes_of_them(threads, dtype, target):
    table = RNG.integers(0, 100, (MANY, 4)).astype(dtype)
    chosen = [table[:, 2], table[:, 0], np.ascontiguousarray(table[:, 1])]
    for columns in (chosen, [*table.T[1:]], [*table[::-1].T[:3]], [*np.asfortranarray(table).T[:3]]):
        found = joined(columns, target)
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, np.stack(columns, axis=1).astype(target))
        np.testing.assert_array_equal(contiguous(columns[0], target), columns[0].astype(target))


def test_columns_of_several_types():
    columns = [np.array([1, 2, 3], "<i8"), np.array([0.5, np.nan, np.inf], ">f4"), np.array([True, False, True])]
    np.testing.assert_array_equal(joined(columns, np.float64), [[1, 0.5, 1], [2, np.nan, 0], [3, np.inf, 1]])


def test_what_a_type_cannot_hold_is_no_warning():
    assert joined([np.array([1e300, 1.0])], np.float32).reshape(-1).tolist() == [np.inf, 1.0]


def test_a_contiguous_column_is_not_copied():
    values = np.arange(10.0)
    assert contiguous(values, np.float64) is values
    assert contiguous(values[::2], np.float64).flags.c_contiguous
    assert contiguous(values.astype(">f8"), np.float64).dtype.isnative
