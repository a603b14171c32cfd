"""Small pieces of a class take the class around them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.options import Options
from app.refine.runner import refine
from app.refine.sieve import sieved
from tests.refine.refine_samples import make_scene

EDGE_M = 0.5  # of the cubes that pieces are made of, for four points in each


def lattice(columns, rows):
    """Four points in each of columns by rows cells, in the order of the cells, float32 (4 * columns * rows, 3)."""
    x, y = np.meshgrid(np.arange(2 * columns) / 4 + 0.1, np.arange(2 * rows) / 4 + 0.1, indexing="ij")
    places = np.stack([x, y, np.full_like(x, 0.1)], -1).reshape(-1, 3).astype(np.float32)
    order = np.lexsort((places[:, 1] // EDGE_M, places[:, 0] // EDGE_M))
    return torch.from_numpy(places[order])


def painted(cells):
    """Points and labels of a picture of rows of digits, a digit a cell."""
    picture = np.array([[int(digit) for digit in row] for row in cells])
    return lattice(*picture.shape), torch.from_numpy(picture.repeat(4))


def picture_of(labels, like):
    return ["".join(map(str, row)) for row in labels[::4].reshape(len(like), -1).tolist()]


BEFORE = ["000000000", "011000002", "000000022", "000330022"]


@pytest.mark.parametrize(
    ("least_points", "least_m2", "after"),
    [
        (8, 0, BEFORE),
        (9, 0, ["000000000", "000000002", "000000022", "000000022"]),
        (0, 0.51, ["000000000", "000000002", "000000022", "000000022"]),
        (0, 0.5, BEFORE),
        (21, 0, ["000000000"] * 4),
    ],
)
def test_pieces_of_fewer_points_or_less_area_go(least_points, least_m2, after):
    xyz, labels = painted(BEFORE)
    assert picture_of(sieved(xyz, labels, least_points, least_m2), BEFORE) == after


def test_a_piece_takes_what_most_points_around_it_have_and_the_lowest_of_as_many():
    cells = ["55533", "55133", "55533"]
    assert picture_of(sieved(*painted(cells), 5), cells) == ["55533", "55533", "55533"]
    cells = ["44433", "44133", "44433", "44433"]
    tied = ["33344", "33144", "33344"]
    assert picture_of(sieved(*painted(cells), 5), cells)[1] == "44433"
    xyz, labels = painted(["333144", "333144"])
    assert set(sieved(xyz, labels, 9)[24:32].tolist()) <= {3, 4}
    even = ["333144"]
    assert picture_of(sieved(*painted(even), 5), even) == ["333344"]
    assert picture_of(sieved(*painted(tied), 5), tied)[1] == "33344"


def test_pieces_within_small_pieces_follow_and_what_stands_alone_stays():
    cells = ["00000000", "01110000", "01210000", "01110000", "00000000"]
    assert picture_of(sieved(*painted(cells), 40), cells) == ["00000000"] * 5
    xyz, labels = painted(["00", "00"])
    far = torch.cat([xyz, xyz[:4] + torch.tensor([50.0, 0, 0])])
    assert sieved(far, torch.cat([labels, labels[:4] + 1]), 5)[-4:].tolist() == [1] * 4


def test_all_small_pieces_stay_as_they_are():
    cells = ["0101", "1212"]
    assert picture_of(sieved(*painted(cells), 1000), cells) == cells


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.sampled_from([0.0, 1.0, 4.0]), st.integers(2, 5))
def test_twice_is_once_and_order_and_place_do_not_matter(seed, least_points, least_m2, num_labels):
    rng = np.random.default_rng(seed)
    xyz = torch.from_numpy((rng.random((400, 3)) * [12, 12, 3]).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, num_labels, 400) * 1000)
    once = sieved(xyz, labels, least_points, least_m2)
    assert len(once) == len(labels)
    assert set(once.tolist()) <= set(labels.tolist())
    np.testing.assert_array_equal(sieved(xyz, once, least_points, least_m2), once)
    order = torch.from_numpy(rng.permutation(400))
    np.testing.assert_array_equal(sieved(xyz[order], labels[order], least_points, least_m2), once[order])
    moved = (xyz.double() + torch.tensor([1024.0, -2048, 1024])).double()
    np.testing.assert_array_equal(sieved(moved, labels, least_points, least_m2), once)


def test_it_is_a_step():
    xyz, labels = painted(BEFORE)
    scene = make_scene(np.minimum(labels.numpy(), 2), xyz.numpy())
    (done,) = refine(scene, Options(sieve=9))
    assert (done.step, done.changed) == ("sieve", 16)
    assert refine(make_scene([-1], [[np.nan, 0, 0]]), Options(sieve_m2=4))[0].changed == 0
