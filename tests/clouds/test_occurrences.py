"""What numbers occur, and where each stands among them: as numpy has it, however near they are."""

import numpy as np
import pytest

from app.clouds import occurrences

RNG = np.random.default_rng(0)
GIVEN = {
    "bytes": RNG.integers(0, 256, 500).astype(np.uint8),
    "near": RNG.integers(-20, 20, 500),
    "far": RNG.choice([-(1 << 62), -1, 0, 1 << 62], 500),
    "greatest": np.array([(1 << 64) - 1, 0, (1 << 64) - 1, 7], np.uint64),
    "greatest and near": np.array([(1 << 64) - 1, (1 << 64) - 3, (1 << 64) - 1], np.uint64),
    "signed bytes": np.array([-128, 127, 0, -128], np.int8),
    "numbers": np.array([0.5, np.nan, -1, 0.5, np.nan]),
    "none": np.empty(0, np.int64),
}


@pytest.mark.parametrize("values", GIVEN.values(), ids=GIVEN)
def test_values_and_their_places_are_those_of_numpy(values):
    expected, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    found, times = occurrences.of(values)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(times, counts)
    found, places = occurrences.places(values)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(places, inverse.reshape(-1))
