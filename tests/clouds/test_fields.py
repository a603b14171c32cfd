"""The table of the fields of an answer."""

import io
import json

import numpy as np
import pytest
from safetensors.numpy import load

from app.clouds import fields, formats
from app.clouds.cloud import Segmentation
from app.clouds.fields import CLASSES, FIELDS, OUTPUTS, OutputField
from app.clouds.las_dimensions import NAME_BYTES
from app.engine.packed import pack_segmentation, unpack_segmentation
from tests.clouds.cloud_samples import cloud, segmentation
from tests.clouds.view_samples import take_apart

MARGIN = OutputField("margin", "<f4", CLASSES, "Lead of the label", unit="made up")
VALUES = np.array([0.5, 0.25, 0], np.float32)


@pytest.fixture
def answer(monkeypatch) -> Segmentation:
    """An answer with a field that is declared here alone."""
    monkeypatch.setitem(FIELDS, "margin", MARGIN)
    monkeypatch.setitem(OUTPUTS, "margin", MARGIN)
    return segmentation(margin=VALUES)


@pytest.mark.parametrize("output", ["las", "laz", "ply", "pcd", "csv", "npz"])
def test_a_field_that_is_declared_is_written_and_can_be_read_again(answer, output):
    back = formats.read(memoryview(formats.write(output, cloud(), answer)))
    np.testing.assert_array_equal(back.extra["margin"], VALUES)


def test_a_field_that_is_declared_is_in_formats_of_arrays_and_on_the_page(answer):
    assert json.loads(formats.write("json", cloud(), answer))["margin"] == VALUES.tolist()
    np.testing.assert_array_equal(load(formats.write("safetensors", cloud(), answer))["margin"], VALUES)
    np.testing.assert_array_equal(np.load(io.BytesIO(formats.write("npz", cloud(), answer)))["margin"], VALUES)
    header, columns = take_apart(formats.write("view", cloud(), answer))
    np.testing.assert_allclose(columns["margin"], VALUES[columns["index"]], atol=1e-5)
    told = next(column for column in header["columns"] if column["name"] == "margin")
    assert (told["range"], told["unit"]) == ([0.0025, 0.4975], "made up")  # but for 0.5 % at either end


def test_a_field_that_is_declared_goes_between_processes(answer):
    with pack_segmentation(answer) as packed:
        np.testing.assert_array_equal(unpack_segmentation(packed).fields["margin"], VALUES)
    answer.fields["margin"] = VALUES.astype(np.float64)
    with pack_segmentation(answer) as packed, pytest.raises(ValueError, match="margin"):
        unpack_segmentation(packed)


def test_las_has_room_for_every_description():
    for field in OUTPUTS.values():
        if field.width is None or field.parts:
            assert len(field.text.encode()) <= NAME_BYTES


@pytest.mark.parametrize("names", ["array_name", "column_name"])
def test_no_two_fields_have_one_name(names):
    taken = [getattr(field, names) for field in OUTPUTS.values()]
    assert len(set(taken)) == len(taken)


def test_fields_of_a_source():
    assert fields.made_from(fields.FEATURES, FIELDS) == ["features", "features_rgb"]
    assert fields.made_from(fields.CLASSES, ["entropy", "features", "entropy"]) == ["entropy"]
