"""Projection of rows to the points of a cloud."""

import numpy as np

from app.pipeline.projection import Projection

# points 1, 2 and 4 of five are usable; the procedure drops point 2
KEPT = Projection(5, np.array([1, 2, 4]), np.array([0, -1, 1]))


def test_points_get_the_values_of_their_rows_and_the_others_the_unusable_one():
    np.testing.assert_array_equal(KEPT.project(np.array([7, 8], np.int32), -1), [-1, 7, -1, -1, 8])
    wide = KEPT.project(np.array([[1, 2], [3, 4]], np.float32), 0)
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide, [[0, 0], [1, 2], [0, 0], [0, 0], [3, 4]])


def test_rows_of_rows_and_rows_that_are_dropped_on_the_way():
    voxels = KEPT.onto(np.array([3, 0]))
    np.testing.assert_array_equal(voxels.project(np.array([10, 11, 12, 13]), -1), [-1, 13, -1, -1, 10])
    np.testing.assert_array_equal(KEPT.onto(np.array([-1, 0])).project(np.array([5]), -1), [-1, -1, -1, -1, 5])


def test_a_cloud_without_a_usable_point():
    np.testing.assert_array_equal(Projection.of_nothing(2).project(np.empty(0, np.int32), -1), [-1, -1])
