"""Open Inference protocol, asked by tritonclient and by hand."""

import asyncio
import gzip
import json
import shutil
import struct
import zlib

import numpy as np
import pytest
import requests
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from app.clouds.fields import FIELDS, INSTANCES, REFINED
from tests.http import clouds
from tests.http.server import MODEL, Server

NAME = MODEL.name
URL = f"/v2/models/{NAME}/infer"
TABLE = clouds.table()


@pytest.fixture
def client(server: Server):
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def tensor(name: str, array: np.ndarray, *, binary: bool = True, of=triton) -> triton.InferInput:
    kinds = {"float64": "FP64", "float32": "FP32", "uint8": "UINT8", "object": "BYTES"}
    made = of.InferInput(name, list(array.shape), kinds[array.dtype.name])
    return made.set_data_from_numpy(array, binary_data=binary)


def inputs(rows: slice = slice(None), *, binary: bool = True, of=triton) -> list:
    table = TABLE[rows]
    return [
        tensor("coord", table[:, :3].copy(), binary=binary, of=of),
        tensor("color", table[:, 3:6].astype(np.uint8), binary=binary, of=of),
        tensor("normal", table[:, 6:].astype(np.float32), binary=binary, of=of),
    ]


def body(header: dict, *parts: bytes) -> tuple[bytes, dict]:
    text = json.dumps(header).encode()
    return b"".join([text, *parts]), {"Inference-Header-Content-Length": str(len(text))}


COORD = {"name": "coord", "shape": [2, 3], "datatype": "FP32"}


def problem(response: requests.Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert isinstance(response.json()["error"], str)
    return response.json()["error"]


def test_server_and_model_are_described(client, server):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.is_model_ready(NAME, "1")
    assert not client.is_model_ready(NAME, "2")
    assert not client.is_model_ready("nobody")
    about = client.get_server_metadata()
    assert about["name"] == "pointserve"
    assert "binary_tensor_data" in about["extensions"]
    model = client.get_model_metadata(NAME)
    assert [output["name"] for output in model["outputs"]][:3] == ["labels", "confidence", "probabilities"]
    assert model["outputs"][2]["shape"] == [-1, clouds.CLASSES]
    assert {"name": "coord", "datatype": "FP64", "shape": [-1, 3]} in model["inputs"]
    config = client.get_model_config(NAME)
    assert config["max_batch_size"] == 0
    assert config["input"][0] == {"name": "coord", "data_type": "TYPE_FP64", "dims": [-1, 3], "optional": True}
    with pytest.raises(InferenceServerException, match="does not exist"):
        client.get_model_metadata("nobody")


def test_several_models_as_one_are_described_as_they_answer(tmp_path):
    shutil.copytree(MODEL, tmp_path / "second")
    shutil.copytree(MODEL, tmp_path / "unlike")
    config = tmp_path / "unlike/config.py"
    config.write_text(config.read_text().replace("'wall'", "'wainscot'"))
    joined = f"{NAME}+second"
    models = f"{MODEL}:{tmp_path / 'second'}:{tmp_path / 'unlike'}"
    with (
        Server(tmp_path / "log", models=models).wait_ready() as server,
        triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client,
    ):
        assert client.is_model_ready(joined)
        described = client.get_model_metadata(joined)
        outputs = [output["name"] for output in described["outputs"]]
        assert described["name"] == client.get_model_config(joined)["name"] == joined
        assert {"labels", "probabilities"} < set(outputs)
        assert "energy" in [output["name"] for output in client.get_model_metadata(NAME)["outputs"]]
        asked = [triton.InferRequestedOutput(name) for name in outputs]  # all of them, as clients do
        answer = client.infer(joined, inputs(), outputs=asked)
        assert answer.get_response()["model_name"] == joined
        alone = client.infer(NAME, inputs()).as_numpy("probabilities")
        np.testing.assert_allclose(answer.as_numpy("probabilities"), alone, atol=1e-6)
        (counted,) = client.get_inference_statistics(joined)["model_stats"]
        assert (counted["name"], counted["inference_count"]) == (joined, 1)
        with pytest.raises(InferenceServerException, match="'wall' in the first and 'wainscot' in the second"):
            client.get_model_metadata(f"{NAME}+unlike")
        with pytest.raises(InferenceServerException, match="'nobody' does not exist"):
            client.get_model_metadata(f"{NAME}+nobody")
        card = requests.get(f"{server.url}/models/{joined}", timeout=10).json()
        assert (card["name"], "energy" in card["fields"]) == (joined, False)


def test_default_outputs_are_binary_and_right(client):
    result = client.infer(NAME, inputs(), request_id="mine")
    assert result.get_response()["id"] == "mine"
    names = [output["name"] for output in result.get_response()["outputs"]]
    assert names == ["labels", "confidence", "probabilities"]
    labels = result.as_numpy("labels")
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, clouds.LABELS)
    probabilities = result.as_numpy("probabilities")
    assert probabilities.shape == (len(labels), clouds.CLASSES)
    np.testing.assert_allclose(probabilities.max(1), result.as_numpy("confidence"), rtol=1e-6)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_json_and_binary_both_ways(client, binary_in, binary_out):
    wanted = [
        triton.InferRequestedOutput("entropy", binary_data=binary_out),
        triton.InferRequestedOutput("labels", binary_data=not binary_out),
    ]
    result = client.infer(NAME, inputs(binary=binary_in), outputs=wanted)
    np.testing.assert_array_equal(result.as_numpy("labels"), clouds.LABELS)
    entropy = result.as_numpy("entropy")
    assert entropy.shape == (len(TABLE),)
    assert (entropy >= 0).all()


@pytest.mark.parametrize("way", ["gzip", "deflate"])
def test_compressed_both_ways(client, way):
    kinds = {"request_compression_algorithm": way, "response_compression_algorithm": way}
    result = client.infer(NAME, inputs(), **kinds)
    np.testing.assert_array_equal(result.as_numpy("labels"), clouds.LABELS)


def test_a_whole_file_is_an_input(client):
    file = tensor("file", np.array([clouds.ply()], object))
    outputs = [triton.InferRequestedOutput("labels")]
    result = client.infer(NAME, [file], outputs=outputs)
    np.testing.assert_array_equal(result.as_numpy("labels"), clouds.LABELS)


def test_a_table_of_text_is_a_file_in_json_with_columns(client):
    text = "\n".join(" ".join(map(str, row)) for row in TABLE[:400])
    file = tensor("file", np.array([text.encode()], object), binary=False)
    options = {"columns": ",".join(clouds.FIELDS)}
    by_text = client.infer(NAME, [file], parameters=options).as_numpy("labels")
    np.testing.assert_array_equal(by_text, client.infer(NAME, inputs(slice(400))).as_numpy("labels"))


def test_async_inference_of_the_sync_client(server):
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4) as client:
        waiting = [client.async_infer(NAME, inputs()) for _ in range(4)]
        for each in waiting:
            np.testing.assert_array_equal(each.get_result().as_numpy("labels"), clouds.LABELS)


def test_aio_client(server):
    async def ask():
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            assert await client.is_model_ready(NAME)
            assert (await client.get_model_metadata(NAME))["name"] == NAME
            assert [model["name"] for model in await client.get_model_repository_index()] == [NAME]
            with pytest.raises(InferenceServerException, match="does not exist"):
                await client.infer("nobody", inputs(of=triton_aio))
            many = [client.infer(NAME, inputs(of=triton_aio)) for _ in range(3)]
            compressed = client.infer(NAME, inputs(of=triton_aio), response_compression_algorithm="gzip")
            return await asyncio.gather(*many, compressed)

    for result in asyncio.run(ask()):
        np.testing.assert_array_equal(result.as_numpy("labels"), clouds.LABELS)


def test_statistics_count_what_was_answered(client):
    before = client.get_inference_statistics(NAME)["model_stats"][0]
    client.infer(NAME, inputs())
    after = client.get_inference_statistics(NAME)["model_stats"][0]
    assert after["inference_count"] == before["inference_count"] + 1
    for phase in ("queue", "compute_input", "compute_infer", "compute_output", "success"):
        assert after["inference_stats"][phase]["count"] == before["inference_stats"][phase]["count"] + 1
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert [model["name"] for model in client.get_inference_statistics()["model_stats"]] == [NAME]


def test_models_are_unloaded_and_loaded(client):
    client.unload_model(NAME)
    try:
        (listed,) = client.get_model_repository_index()
        assert (listed["name"], listed["state"]) == (NAME, "UNAVAILABLE")
        assert "unloaded" in listed["reason"]
        assert not client.is_model_ready(NAME)
        with pytest.raises(InferenceServerException, match="404"):
            client.infer(NAME, inputs())
    finally:
        client.load_model(NAME)
    assert client.is_model_ready(NAME)
    np.testing.assert_array_equal(client.infer(NAME, inputs()).as_numpy("labels"), clouds.LABELS)
    with pytest.raises(InferenceServerException, match="not taken"):
        client.load_model(NAME, config="{}")


def test_timeout_is_in_microseconds_and_what_fails_is_counted(client):
    def num_failed() -> int:
        return client.get_inference_statistics(NAME)["model_stats"][0]["inference_stats"]["fail"]["count"]

    before = num_failed()
    with pytest.raises(InferenceServerException, match="504"):
        client.infer(NAME, inputs(), timeout=50)
    assert num_failed() == before + 1
    np.testing.assert_array_equal(client.infer(NAME, inputs(), timeout=60_000_000).as_numpy("labels"), clouds.LABELS)


@pytest.mark.parametrize(
    ("header", "parts", "why"),
    [
        ({}, (), "inputs"),
        ({"inputs": "x"}, (), "inputs"),
        ({"inputs": []}, (), "'coord' is missing"),
        ({"inputs": [{**COORD}]}, (), "either 'data'"),
        ({"inputs": [{**COORD, "parameters": {"binary_data_size": 24}}]}, (bytes(23),), "binary_data_size 24"),
        ({"inputs": [{**COORD, "parameters": {"binary_data_size": 24}}]}, (bytes(25),), "25|make"),
        ({"inputs": [{**COORD, "parameters": {"binary_data_size": 12}}]}, (bytes(12),), "is 24 bytes"),
        ({"inputs": [{**COORD, "parameters": {"binary_data_size": -1}}]}, (bytes(12),), "binary_data_size -1"),
        ({"inputs": [{**COORD, "data": [1, 2, 3]}]}, (), "3 numbers"),
        ({"inputs": [{**COORD, "data": [1, [2, 3], 4, 5, 6]}]}, (), "not a list of FP32"),
        ({"inputs": [{**COORD, "data": ["a"] * 6}]}, (), "not a list of FP32"),
        ({"inputs": [{**COORD, "datatype": "INT8", "data": [0] * 6}]}, (), "FP64, FP32"),
        ({"inputs": [{**COORD, "shape": [3, 2], "data": [0] * 6}]}, (), "shape"),
        ({"inputs": [{**COORD, "shape": [-1, 3], "data": [0] * 6}]}, (), "[N, 3], N being the number of points, 0 or"),
        ({"inputs": [{**COORD, "data": [0] * 6}] * 2}, (), "twice"),
        ({"inputs": [{**COORD, "name": "xyz", "data": [0] * 6}]}, (), "no input 'xyz'"),
        ({"inputs": [{**COORD, "data": [0] * 6}], "outputs": [{"name": "x"}]}, (), "no output 'x'"),
        (
            {
                "inputs": [
                    {**COORD, "data": [0] * 6},
                    {"name": "strength", "shape": [3], "datatype": "FP32", "data": [1] * 3},
                ]
            },
            (),
            "3 rows",
        ),
        (
            {"inputs": [{"name": "color", "shape": [1, 3], "datatype": "UINT8", "data": [1, 2, 256]}]},
            (),
            "UINT8 cannot",
        ),
        ({"inputs": [{**COORD, "data": [0] * 6}], "parameters": {"mode": "swift"}}, (), "mode"),
        (
            {"inputs": [{**COORD, "data": [0] * 6}], "parameters": {"speed": 1}},
            (),
            "'speed' is no option; options are mode,",
        ),
        ({"inputs": [{**COORD, "data": [0] * 6}], "parameters": {"speed": 1}}, (), "binary_data_output, timeout,"),
        ({"inputs": [{**COORD, "data": [0] * 6}], "parameters": {"timeout": "soon"}}, (), "microseconds"),
        ({"inputs": [{**COORD, "parameters": {"shared_memory_region": "x"}}]}, (), "not served"),
        ({"inputs": [{"name": "file", "shape": [1], "datatype": "BYTES", "data": [1]}]}, (), "one string"),
        (
            {"inputs": [{"name": "file", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}}]},
            (struct.pack("<I", 9) + b"ab",),
            "length",
        ),
    ],
)
def test_what_does_not_fit_is_told(server: Server, header, parts, why):
    data, headers = body(header, *parts)
    told = problem(server.post(URL, data=data, headers=headers))
    assert any(part in told for part in why.split("|")), told


def test_an_unknown_output_is_told_those_of_the_model(server: Server):
    data, headers = body({"inputs": [{**COORD, "data": [0] * 6}], "outputs": [{"name": "x"}]})
    told = problem(server.post(URL, data=data, headers=headers))
    given = [field.array_name for field in FIELDS.values() if field.source not in (INSTANCES, REFINED)]
    assert told.endswith(f"there are {', '.join(['labels', *given])}.")


@pytest.mark.parametrize("length", ["x", "-1", "999999999", "٣", ""])
def test_header_lengths_that_lie(server: Server, length):
    told = problem(server.post(URL, data=b"{}", headers={"Inference-Header-Content-Length": length.encode()}))
    assert "Inference-Header-Content-Length" in told or "inputs" in told


def test_bodies_that_are_no_json(server: Server):
    for data in (b"", b"{", b"[" * 100_000, b"null", b"\xff"):
        problem(server.post(URL, data=data))


@pytest.mark.parametrize("path", [URL, "/predict"])
def test_inflated_bodies_are_bounded(server: Server, path):
    bomb = gzip.compress(bytes(64 << 20))
    assert "inflated" in problem(server.post(path, data=bomb, headers={"Content-Encoding": "gzip"}), 413)


@pytest.mark.parametrize(
    ("data", "encoding", "status"),
    [
        (gzip.compress(clouds.npy())[:-9], "gzip", 400),
        (b"no gzip at all", "gzip", 400),
        (zlib.compress(clouds.npy()) + b"more", "deflate", 400),
        (b"", "gzip", 400),
        (clouds.npy(), "br", 415),
        (gzip.compress(clouds.npy()), "gzip, gzip", 415),
    ],
)
def test_damaged_compression(server: Server, data, encoding, status):
    problem(server.post(data=data, headers={"Content-Encoding": encoding}), status)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (gzip.compress(clouds.npy()), "gzip"),
        (gzip.compress(clouds.npy()[:99]) + gzip.compress(clouds.npy()[99:]), "GZIP"),
        (zlib.compress(clouds.npy()), "deflate"),
        (zlib.compress(clouds.npy())[2:-4], "deflate"),
    ],
)
def test_compressed_files_are_read(server: Server, data, encoding):
    answer = server.post(data=data, headers={"Content-Encoding": encoding})
    assert answer.json()["labels"] == clouds.LABELS.tolist()


def test_large_json_is_refused(server: Server):
    data = json.dumps({"inputs": [], "parameters": {"x": "y" * (17 << 20)}})
    problem(server.post(URL, data=gzip.compress(data.encode()), headers={"Content-Encoding": "gzip"}), 413)


def test_safetensors_hold_what_was_asked_for(server: Server):
    from safetensors.numpy import load

    answer = server.post("/predict?output=safetensors&fields=confidence,entropy", data=clouds.npy())
    assert answer.headers["Content-Type"] == "application/vnd.safetensors"
    arrays = load(answer.content)
    assert set(arrays) == {"labels", "confidence", "entropy"}
    np.testing.assert_array_equal(arrays["labels"], clouds.LABELS)
