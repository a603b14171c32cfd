"""Requests of the Open Inference protocol that were damaged in any way: told, or read; nothing else."""

import io
import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.body import Body, Storage
from app.errors import BadRequest, TooLarge
from app.http.v2.parameters import options_of
from app.http.v2.request import opened

COORD = np.arange(12, dtype="<f4").reshape(4, 3)
COLOR = np.arange(12, dtype="u1").reshape(4, 3)
HEADER = {
    "id": "x",
    "parameters": {"mode": "fast", "timeout": 1000000, "binary_data_output": True},
    "inputs": [
        {"name": "coord", "shape": [4, 3], "datatype": "FP32", "parameters": {"binary_data_size": 48}},
        {"name": "color", "shape": [4, 3], "datatype": "UINT8", "parameters": {"binary_data_size": 12}},
        {"name": "strength", "shape": [4, 1], "datatype": "FP64", "data": [[0.5], [1], [0], [1e300]]},
    ],
    "outputs": [{"name": "labels", "parameters": {"binary_data": True}}, {"name": "entropy"}],
}
BINARY = COORD.tobytes() + COLOR.tobytes()
FILE = {"inputs": [{"name": "file", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 8}}]}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=4), children, max_size=4),
    max_leaves=8,
)


def read(data: bytes, length: str | None) -> None:
    """As a request is read; of all errors only those that tell a client what is wrong are let pass."""
    with (
        Body.from_stream(io.BytesIO(data), 1 << 20, Storage(1 << 20)) as body,
        suppress(BadRequest, TooLarge),
        opened(body, length) as tensors,
    ):
        outputs = tensors.wanted(["labels"], ["labels"])
        options_of(tensors.request.parameters, "model", list(outputs))
        assert tensors.file is not None or len({len(array) for array in tensors.arrays.values()}) == 1


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Paths to everything in a JSON value."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        found += places(child, (*path, key))
    return found


def test_a_sound_request_is_read():
    text = json.dumps(HEADER).encode()
    with (
        Body.from_stream(io.BytesIO(text + BINARY), 1 << 20, Storage(1 << 20)) as body,
        opened(body, str(len(text))) as tensors,
    ):
        np.testing.assert_array_equal(tensors.arrays["coord"], COORD)
        np.testing.assert_array_equal(tensors.arrays["color"], COLOR)
        np.testing.assert_array_equal(tensors.arrays["strength"], [[0.5], [1], [0], [1e300]])
        assert tensors.wanted([], ["labels"]) == {"labels": True, "entropy": True}
        assert options_of(tensors.request.parameters, "m", ["labels", "entropy"]).timeout_s == 1
        del tensors


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(places(HEADER)), VALUES)
def test_any_value_anywhere(place, value):
    header = json.loads(json.dumps(HEADER))
    parent = header
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    text = json.dumps(header).encode()
    read(text + BINARY, str(len(text)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_anywhere(data):
    header = data.draw(st.sampled_from([HEADER, FILE]))
    text = json.dumps(header).encode()
    body = bytearray(text + BINARY)
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(body)))
        body[begin : begin + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    length = data.draw(st.sampled_from([None, str(len(text)), "0"]) | st.integers(0, len(body) + 9).map(str))
    read(bytes(body), length)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=12) | st.sampled_from(["timeout", "seed", "mode", "columns"]), VALUES))
def test_any_parameters(parameters):
    with suppress(BadRequest):
        assert options_of(parameters, "model", ["labels"]).model == "model"


@pytest.mark.parametrize("shape", [[2**62, 3], [2**40, 3], [0, 3], [3], [], [4, 3, 1]])
def test_shapes_take_no_memory(shape):
    header = {"inputs": [{"name": "coord", "shape": shape, "datatype": "FP64", "parameters": {"binary_data_size": 0}}]}
    text = json.dumps(header).encode()
    read(text, str(len(text)))
