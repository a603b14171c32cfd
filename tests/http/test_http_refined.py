"""Answers with refined labels, over every way to ask."""

import io
import json

import numpy as np
import pytest
from pointserve_client import Client, PredictionWarning

from tests.http import clouds
from tests.http.server import MODEL, Server

ASKED = "/predict?min_confidence=0.9&fields=confidence"


def expected(answer: dict) -> np.ndarray:
    return np.where(np.array(answer["confidence"], np.float32) < 0.9, answer["ignore_label"], clouds.LABELS)


def test_json_says_what_was_refined(server: Server):
    answer = server.post(ASKED, json=clouds.json_cloud()).json()
    np.testing.assert_array_equal(answer["labels"], expected(answer))
    num_doubtful = np.count_nonzero(answer["labels"] != clouds.LABELS)
    assert 0 < num_doubtful < len(clouds.LABELS)
    assert answer["refined"] == [{"step": "unclassified", "changed": num_doubtful}]
    assert any("ignore label" in warning for warning in answer["warnings"])


def test_without_an_option_nothing_is_said_of_it(server: Server):
    response = server.post(json=clouds.json_cloud())
    assert "refined" not in response.json()
    assert "X-Pointserve-Refined" not in response.headers


def test_files_say_it_in_a_header_and_within(server: Server):
    said = json.dumps(server.post(ASKED, json=clouds.json_cloud()).json()["refined"])
    (step,) = json.loads(said)
    answers = {
        output: server.post(f"{ASKED}&output={output}", data=clouds.ply())
        for output in ("laz", "npz", "safetensors", "view")
    }
    assert {response.headers["X-Pointserve-Refined"] for response in answers.values()} == {said}
    arrays = np.load(io.BytesIO(answers["npz"].content))
    assert (arrays["refined_steps"].tolist(), arrays["refined_changed"].tolist()) == (
        ["unclassified"],
        [step["changed"]],
    )
    head = answers["safetensors"].content
    length = int.from_bytes(head[:8], "little")
    assert json.loads(json.loads(head[8 : 8 + length])["__metadata__"]["refined"]) == [step]
    view = answers["view"].content
    assert json.loads(view[12 : 12 + int.from_bytes(view[8:12], "little")])["refined"] == [step]


def test_the_client_and_open_inference_have_it(server: Server):
    (step,) = server.post(ASKED, json=clouds.json_cloud()).json()["refined"]
    with Client(f"http://127.0.0.1:{server.port}") as client, pytest.warns(PredictionWarning, match="ignore label"):
        (done,) = client.predict(clouds.ply(), min_confidence=0.9).meta.refined
    assert (done.step, done.changed) == (step["step"], step["changed"])
    table = clouds.table()
    tensors = {
        "coord": ("FP64", table[:, :3]),
        "color": ("UINT8", table[:, 3:6].astype(int)),
        "normal": ("FP32", table[:, 6:]),
    }
    request = {
        "inputs": [
            {"name": name, "shape": [*values.shape], "datatype": datatype, "data": values.ravel().tolist()}
            for name, (datatype, values) in tensors.items()
        ],
        "outputs": [{"name": "labels"}],
        "parameters": {"min_confidence": 0.9},
    }
    answer = server.post(f"/v2/models/{MODEL.name}/infer", json=request).json()
    assert json.loads(answer["parameters"]["refined"]) == [step]
