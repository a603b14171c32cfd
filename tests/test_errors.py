"""What a client sent is told back, shortened."""

from app.errors import COLUMN_CHARS, DETAIL_CHARS, MAX_COLUMNS, BadCloud, quoted, shortened


def test_long_text_keeps_its_begin_and_its_end():
    text = shortened("begin " + "x" * 10**6 + " end")
    assert len(text) == DETAIL_CHARS
    assert text.startswith("begin xxx")
    assert text.endswith("xxx end")
    assert " … " in text
    assert shortened("x" * DETAIL_CHARS) == "x" * DETAIL_CHARS


def test_quotes_are_closed():
    assert quoted("a" * 100, 20) == "'aaaaaaaaaaaa … aaaaa'"
    assert quoted("a") == "'a'"


def test_a_problem_is_short_whatever_went_into_it():
    problem = BadCloud("x" * 10**6, columns=["y" * 10**4] * 10**4)
    assert len(problem.detail) == len(str(problem)) == DETAIL_CHARS
    assert len(problem.columns) == MAX_COLUMNS
    assert {len(name) for name in problem.columns} == {COLUMN_CHARS}
