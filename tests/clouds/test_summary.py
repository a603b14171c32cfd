"""What is in an answer."""

import numpy as np
import pytest

from app.clouds import occurrences, summary
from app.clouds.cloud import Cloud
from app.clouds.summary import Summary

NUM_POINTS = 5000


def pairs(codes, labels):
    """How often each code and label occur together, one point after the other."""
    found = {}
    for code, label in zip(codes.tolist(), labels.tolist(), strict=True):
        if code == code and code == np.floor(code) and np.isfinite(code):
            found[int(code), label] = found.get((int(code), label), 0) + 1
    return [(code, label, count) for (code, label), count in sorted(found.items())]


@pytest.mark.parametrize("dtype", ["|u1", "|i1", "<u2", "<i4", "<i8", "<u8", "<f4", "<f8"])
@pytest.mark.parametrize("most", [3, 100, 60_000])
def test_pairs_of_code_and_class_are_counted(dtype, most):
    rng = np.random.default_rng(most)
    lowest = -100 if dtype == "|i1" else 0
    codes = rng.integers(lowest, min(most, 100 if dtype[1:] in ("i1", "u1") else most), NUM_POINTS).astype(dtype)
    if dtype.startswith("<f"):
        codes[::7] = rng.choice([np.nan, np.inf, 1.5], len(codes[::7]))
    labels = rng.integers(-1, 1200, NUM_POINTS - 10).astype(np.int32)
    found = Summary.of(Cloud(np.zeros((NUM_POINTS, 3)), "las", extra={"segment": codes}), labels)
    assert found.reference == "segment"
    assert found.agreement == pairs(codes[: len(labels)], labels)
    assert found.counts == dict(zip(*(each.tolist() for each in np.unique(labels, return_counts=True)), strict=True))


def test_an_answer_without_reference_or_points_has_none():
    labels = np.array([3, 3, -1], np.int32)
    cloud = Cloud(np.zeros((3, 3)), "npy", extra={"classification": np.ones(3, np.uint8)})
    assert Summary.of(cloud, labels) == Summary({-1: 1, 3: 2})
    assert Summary.of(Cloud(np.zeros((0, 3)), "npy"), labels[:0]) == Summary()


def test_a_column_with_too_many_pairs_is_no_classification(monkeypatch):
    monkeypatch.setattr(summary, "MAX_PAIRS", 99)
    labels = np.zeros(100, np.int32)
    cloud = Cloud(np.zeros((100, 3)), "las", extra={"label": np.arange(100, dtype=np.int32)})
    assert Summary.of(cloud, labels) == Summary({0: 100})


@pytest.mark.parametrize("dtype", ["|u1", "|i1", "<i2", "<u4", "<i8", "<u8", "<f4", "|b1"])
def test_occurrences_are_those_of_numpy(dtype):
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype) if dtype[1] in "iu" else None
    near = rng.integers(0, 2 if dtype == "|b1" else 100, 999).astype(dtype)
    columns = [near, near[:1], near[:0], near[::3], np.stack([near, near], 1)[:, 0]]
    if info:
        columns += [np.array([info.min, info.max, info.max], dtype), np.array([info.max, info.max - 1], dtype)]
    for values in columns:
        for found, expected in zip(occurrences.of(values), np.unique(values, return_counts=True), strict=True):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype
