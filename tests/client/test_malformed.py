"""Answers that no service gives: each is a problem, or as good as one that it gives."""

import json
from contextlib import suppress

import numpy as np
import pytest
from pointserve_client.answer import answer_of, prediction_of
from pointserve_client.errors import Problem, Unprocessable, problem_of
from safetensors.numpy import save

from tests.client.scripted import CONTENT, GOOD, LABELS, SAID, Scripted

META = answer_of({name.lower(): value for name, value in GOOD.items()})
ENTRY = {"dtype": "I32", "shape": [2], "data_offsets": [0, 8]}
DEEP = b"[" * 100_000
ODD = [None, 1, 0.5, "x", [], [1], {}, {"x": 1}, [None], -1, 1 << 70]


def safetensors(header: object) -> bytearray:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return bytearray(len(text).to_bytes(8, "little") + text + LABELS.tobytes())


def headers() -> list:
    entries = [{**ENTRY, name: odd} for name in ENTRY for odd in ODD] + ODD
    metadata = [{**SAID, name: odd if name == "ignore_label" else json.dumps(odd)} for name in SAID for odd in ODD]
    return [
        *ODD,
        DEEP,
        *({"__metadata__": SAID, "labels": entry} for entry in entries),
        *({"__metadata__": SAID, "labels": ENTRY, "entropy": entry} for entry in entries),
        *({"__metadata__": said, "labels": ENTRY} for said in [*metadata, *ODD]),
        {"__metadata__": {**SAID, "classes": '[{"id": 1, "name": "a", "color": [1]}]'}, "labels": ENTRY},
    ]


def test_arrays_are_those_of_the_cloud_or_none():
    assert len(headers()) > 100
    for header in headers():
        try:
            found = prediction_of(safetensors(header), META)
        except Problem:
            continue
        np.testing.assert_array_equal(found.labels, LABELS)
        assert all(len(array) == len(LABELS) for array in found.fields.values())
        assert all(isinstance(sentence, str) for sentence in found.meta.warnings)


@pytest.mark.parametrize(
    "arrays",
    [
        {"labels": LABELS.astype(np.float32)},
        {"labels": LABELS[:, None]},
        {"labels": LABELS[:1]},
        {"labels": LABELS, "entropy": np.zeros(3, np.float32)},
    ],
)
def test_arrays_that_are_not_those_of_the_points(arrays):
    with pytest.raises(Problem, match="2 points"):
        prediction_of(bytearray(save(arrays, metadata=SAID)), META)


def test_every_cut_of_a_prediction_is_a_problem():
    for size in range(len(CONTENT)):
        with pytest.raises(Problem):
            prediction_of(bytearray(CONTENT[:size]), META)


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"Content-Type", "X-Request-Id", "X-Pointserve-Model"}))
@pytest.mark.parametrize("value", ["", "null", "1", "{}", "x", DEEP.decode()])
def test_headers(name, value):
    with suppress(Problem):
        answer = answer_of({header.lower(): text for header, text in (GOOD | {name: value}).items()})
        assert isinstance(answer.warnings, list)


def test_times_that_a_proxy_adds():
    added = 'cdn;desc="hit, edge";dur=3, x;dur=1;desc="a", decode;dur=1.5, y;dur=soon, z'
    answer = answer_of({name.lower(): value for name, value in (GOOD | {"Server-Timing": added}).items()})
    assert answer.timings_ms["decode"] == 1.5


@pytest.mark.parametrize("content", [DEEP, b"\xff", b"", *(json.dumps({"columns": odd}).encode() for odd in ODD)])
def test_a_body_that_is_no_problem_still_has_its_status(content):
    assert type(problem_of(422, "", {}, content)) is Unprocessable


def test_json_of_something_else_is_a_problem(kind):
    bodies = [DEEP, b"[]", b"null", b"{}", b'{"models": {}}', b"\xff"]
    with Scripted([(200, {}, body) for body in bodies]) as server, kind(server.url) as client:
        for _ in bodies:
            with pytest.raises(Problem, match="no pointserve"):
                client.models()
