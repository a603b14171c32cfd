"""Steps of a run that nobody wants any more end early."""

import pytest

from app.options import Options
from app.refine.runner import refine
from tests.refine.refine_samples import make_scene


class Cancelled(Exception):
    pass


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_cancelled_run_ends_before_the_next_step_or_within_one(calls):
    left = iter(range(calls))

    def check():
        if next(left, None) is None:
            raise Cancelled

    scene = make_scene([0, 1, 0, 2] * 5, [[x, 0, 0] for x in range(20)])
    scene.check_cancelled = check
    with pytest.raises(Cancelled):
        refine(scene, Options(smooth=2, sieve=2))
