"""What the page reads: an independent reader of the format takes it apart."""

from dataclasses import replace

import numpy as np
import pytest

from app.clouds import formats, view
from app.clouds.cloud import ClassInfo, Cloud, Segmentation, SegmentationMeta
from app.clouds.comparison import Comparison
from app.clouds.principal import principal_colors
from tests.clouds.cloud_samples import CLASSES, RGB, cloud, segmentation
from tests.clouds.view_samples import take_apart


def survey(num_points: int) -> tuple[Cloud, Segmentation]:
    rng = np.random.default_rng(1)
    xyz = rng.uniform(0, 300, (num_points, 3)) + np.array([500_000, 5_000_000, 40])
    codes = rng.choice(np.array([0, 2, 4, 6, 9], np.uint8), num_points)
    tile = Cloud(xyz, "las", intensity=rng.integers(0, 4000, num_points).astype(np.float32))
    tile.extra = {"classification": codes, "instance": rng.integers(0, 50, num_points)}
    tile.rgb = rng.integers(0, 256, (num_points, 3)).astype(np.uint8)
    answer = Segmentation(rng.integers(-1, 2, num_points).astype(np.int32), SegmentationMeta(CLASSES, model="m"))
    answer.fields["confidence"] = rng.uniform(0, 1, num_points).astype(np.float32)
    answer.fields["entropy"] = rng.uniform(0, 2, num_points).astype(np.float32)
    answer.fields["probabilities"] = rng.dirichlet([1, 1], num_points).astype(np.float32)
    return tile, answer


@pytest.mark.parametrize("num_points", [1, 2, 65_536, 140_001])
def test_every_value_comes_back_under_its_index(num_points: int):
    tile, answer = survey(num_points)
    header, columns = take_apart(view.write(tile, answer, None))
    index = columns["index"]
    np.testing.assert_array_equal(np.sort(index), np.arange(num_points))
    np.testing.assert_allclose(columns["position"], tile.xyz[index], atol=0.003)
    np.testing.assert_array_equal(columns["intensity"], tile.intensity[index])
    np.testing.assert_array_equal(columns["rgb"], tile.rgb[index])
    np.testing.assert_array_equal(columns["instance"], tile.extra["instance"][index])
    np.testing.assert_allclose(columns["confidence"], answer.fields["confidence"][index], atol=0.002)
    np.testing.assert_allclose(columns["entropy"], answer.fields["entropy"][index], atol=1e-4)
    ids = np.array([*(known["id"] for known in header["classes"]), header["ignore_label"]])
    np.testing.assert_array_equal(ids[columns["label"]], answer.labels[index])
    if header["reference"]:
        codes = np.array([value["code"] for value in header["reference"]["values"]])
        np.testing.assert_array_equal(codes[columns["reference"]], tile.extra["classification"][index])


def test_points_without_a_height_have_none():
    tile, answer = survey(1000)
    heights = np.random.default_rng(2).normal(4, 9, 1000).astype(np.float32)
    heights[::7] = np.nan
    answer.fields["height_above_ground"] = heights
    header, columns = take_apart(view.write(tile, answer, None))
    column = next(each for each in header["columns"] if each["name"] == "height_above_ground")
    known = np.isfinite(heights[columns["index"]])
    found = columns["height_above_ground"]
    np.testing.assert_allclose(found[known], heights[columns["index"]][known], atol=0.01)
    np.testing.assert_allclose(found[~known], column["offset"] + column["step"] * column["missing"])
    assert found[known].max() < found[~known].min()
    assert column["range"] == pytest.approx(np.nanquantile(heights, view.SHOWN).tolist())
    assert column["unit"] == "m"
    heights[:] = np.nan
    header, columns = take_apart(view.write(tile, answer, None))
    column = next(each for each in header["columns"] if each["name"] == "height_above_ground")
    assert set(columns["height_above_ground"]) == {column["missing"]}


def test_the_first_block_is_an_even_sample():
    tile, answer = survey(140_001)
    _, columns = take_apart(view.write(tile, answer, None))
    shares = np.bincount(columns["index"][: view.BLOCK_POINTS] * 10 // 140_001) / view.BLOCK_POINTS
    np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_equal_answers_are_equal_bytes():
    assert view.write(*survey(1000), None) == view.write(*survey(1000), None)


def test_wide_clouds_keep_their_places():
    tile, answer = survey(500)
    tile.xyz[:, 0] *= 40
    header, columns = take_apart(view.write(tile, answer, None))
    np.testing.assert_allclose(columns["position"], tile.xyz[columns["index"]], atol=0.01)
    position = next(column for column in header["columns"] if column["name"] == "position")
    assert position["type"] == "uint32"


def test_points_without_a_place_are_left_out_and_counted():
    sent = cloud(rgb=RGB)
    sent.xyz[1] = np.nan
    header, columns = take_apart(formats.write("view", sent, segmentation()))
    assert (header["num_points"], header["num_shown"]) == (3, 2)
    assert set(columns["index"]) == {0, 2}
    sent.xyz[:] = np.inf
    header, _ = take_apart(formats.write("view", sent, segmentation()))
    assert header["num_shown"] == 0


def test_codes_of_the_file_are_compared_as_the_score_compares_them():
    tile, answer = survey(3000)
    header, _ = take_apart(view.write(tile, answer, None))
    told = header["reference"]
    assert (told["column"], told["key"]) == ("classification", "asprs")
    keys = {value["code"]: value["key"] for value in told["values"]}
    assert keys == {0: None, 2: 2, 4: None, 6: 6, 9: None}
    judged = np.isin(tile.extra["classification"], (2, 6))
    assert told["agreement"]["judged"] == np.count_nonzero(judged)
    score = Comparison.of_model(answer.meta.classes).confusion(tile.extra["classification"], answer.labels)
    assert told["agreement"]["counts"] == score.counts.tolist()
    assert told["agreement"]["iou"] == pytest.approx(score.iou.tolist())
    answer.meta.classes = [ClassInfo(0, "trees", (0, 0, 0), 5), ClassInfo(1, "ground", (0, 0, 0), 2)]
    header, _ = take_apart(view.write(tile, answer, None))
    assert {value["code"]: value["key"] for value in header["reference"]["values"]} == {
        0: None,
        2: 2,
        4: 5,
        6: None,
        9: None,
    }
    assert sum(value["count"] for value in header["reference"]["values"]) == 3000


def test_ids_of_the_model_in_the_file_are_compared_by_id():
    sent = cloud(extra={"segment": np.array([0, 1, -1], np.int32)})
    header, columns = take_apart(formats.write("view", sent, segmentation()))
    assert header["reference"]["key"] == "id"
    assert [(value["code"], value["key"]) for value in header["reference"]["values"]] == [(-1, None), (0, 0), (1, 1)]
    assert set(columns["reference"]) == {0, 1, 2}
    agreement = header["reference"]["agreement"]
    assert (agreement["judged"], agreement["ignored"]) == (2, 1)
    assert len(agreement["iou"]) == len(header["classes"])


def test_classes_without_codes_agree_with_no_codes_of_the_file():
    sent = cloud(extra={"classification": np.array([2, 6, 6], np.uint8)})
    answer = segmentation()
    answer.meta.classes = [ClassInfo(0, "wall", (0, 0, 0))]
    header, _ = take_apart(formats.write("view", sent, answer))
    assert header["reference"]["agreement"] is None
    assert {value["key"] for value in header["reference"]["values"]} == {None}


@pytest.mark.parametrize("codes", [[0, 0, 0], [2, 2, 2]])
def test_a_file_that_tells_nothing_apart_has_no_reference(codes: list[int]):
    sent = cloud(extra={"classification": np.array(codes, np.uint8)})
    header, columns = take_apart(formats.write("view", sent, segmentation()))
    assert header["reference"] is None
    assert "reference" not in columns


def test_the_features_column_is_of_the_features_where_they_are_there():
    rng = np.random.default_rng(0)
    features, asked = rng.random((3, 6), np.float32), rng.integers(0, 256, (3, 3), np.uint8)
    given = segmentation()
    given.fields["probabilities"] = rng.random((3, 2), np.float32)
    for of_features, expected in (
        ({}, principal_colors(given.fields["probabilities"])),
        ({"features": features}, principal_colors(features)),
        ({"features": features, "features_rgb": asked}, asked),
    ):
        header, columns = take_apart(formats.write("view", cloud(), replace(given, fields=given.fields | of_features)))
        np.testing.assert_array_equal(columns["features"], expected[columns["index"]])
        assert not {"features", "features_rgb"} & set(header)
