"""Tables with the figures of another checkout beside those of this one."""

import pytest

from benchmarks.before_after import beside, joined

HEAD = ["| cloud | s |", "| --- | --- |"]


def test_cells_that_differ_have_both_figures():
    before, after = (["# Title", "note", *HEAD, f"| room | {figure} |", "| hall | 3 |"] for figure in ("1.5", "1.2"))
    assert beside(before, after) == [*HEAD, "| room | 1.5 → 1.2 |", "| hall | 3 |"]


def test_tables_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        beside([*HEAD, "| room | 1 |"], HEAD)


def test_rows_measured_one_by_one_are_one_table():
    runs = [[*HEAD, "| room | 1 |"], [*HEAD, "| hall | 3 |"]]
    assert joined(runs) == "\n".join([*HEAD, "| room | 1 |", "| hall | 3 |"]) + "\n"


def test_tables_of_one_run_keep_their_heads():
    tables = ["## Rooms", *HEAD, "| a | 1 |", "## Halls", *HEAD, "| a | 1 |"]
    assert [line for line in joined([tables]).splitlines() if line] == tables
