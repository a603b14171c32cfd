"""Every operator of the libraries on the processor, beside plain torch, by the tables in app/operators."""

import statistics
from collections.abc import Iterator
from functools import partial
from importlib import import_module

from table import Table, print_alone
from timing import faster, in_turns, spread

from app.operators import LIBRARIES
from app.operators.operator import Operator

NUM_POINTS = 20_000


def tables(scale: float, repeats: int) -> Iterator[Table]:
    """A table a library, of clouds of ``NUM_POINTS`` points times ``scale``."""
    for library in LIBRARIES:
        rows = [["operator", "compiled", "plain torch", "times faster"]]
        for operator in import_module(f"app.operators.{library}").OPERATORS:
            rows.append(_row(operator, round(NUM_POINTS * scale), repeats))
        yield Table(f"{library}, {round(NUM_POINTS * scale)} points", rows)


def _row(operator: Operator, number: int, repeats: int) -> list[str]:
    """Plain torch is left out if it takes memory for every pair of points, or tells only what is true of the result."""
    given = operator.made(number)
    works = [partial(operator.run, given)]
    if operator.linear and operator.expected is not None and operator.outcome is None:
        works.append(partial(operator.expected, given))
    ours, *plain = in_turns(works, repeats)
    if not plain or not statistics.median(ours):
        return [operator.name, spread(ours), "–", "–"]
    return [operator.name, spread(ours), spread(plain[0]), faster(ours, plain[0])]


if __name__ == "__main__":
    print_alone(tables, __doc__)
