"""Both clients against the service."""

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import laspy
import numpy as np
import pytest
from pointserve_client import (
    BadRequest,
    Client,
    NotFound,
    PredictionWarning,
    Problem,
    TooLarge,
    Unprocessable,
    UnsupportedFormat,
)

from tests.http import clouds
from tests.http.server import MODEL, Server

TABLE = clouds.table()
COLUMNS = ",".join(clouds.FIELDS)


@pytest.fixture
def client(server: Server, kind: type):
    with kind(server.url) as client:
        yield client


def test_files_are_classified(client: Client, tmp_path):
    path = tmp_path / "scan & more.ply"
    path.write_bytes(clouds.ply())
    found = client.predict(path, fields=["confidence"])
    np.testing.assert_array_equal(found.labels, clouds.LABELS)
    assert set(found.fields) == {"confidence"}
    assert (found.meta.model, found.meta.num_points, found.meta.passes) == (MODEL.name, len(TABLE), 1)
    assert {"decode", "network", "encode"} <= set(found.meta.timings_ms)
    assert found.meta.request_id
    assert found.units["x"]["name"] == "metre"


def test_every_source_gets_the_same_labels(client: Client, tmp_path):
    path = tmp_path / "scan.ply"
    path.write_bytes(clouds.ply())
    with path.open("rb") as file:
        sources = [path, str(path), clouds.ply(), bytearray(clouds.ply()), memoryview(clouds.ply()), file]
        found = [client.predict(source) for source in sources]
        assert not file.closed
    for each in found:
        np.testing.assert_array_equal(each.labels, clouds.LABELS)


def test_classes_are_those_of_the_model(client: Client):
    found = client.predict(clouds.npy(), columns=clouds.FIELDS)
    (card,) = client.models()
    assert [vars(each) for each in found.classes] == [
        {**each, "color": tuple(each["color"])} for each in card["classes"]
    ]
    assert found.ignore_label == -1


def test_the_answer_goes_to_a_file_and_progress_is_told(client: Client, tmp_path):
    sent, received = [], []
    path = tmp_path / "new" / "out.laz"
    answer = client.predict_file(
        clouds.laz(), path, on_sent=lambda *told: sent.append(told), on_received=lambda *told: received.append(told)
    )
    assert len(laspy.read(path)) == len(TABLE) == answer.num_points
    assert sent[-1] == (len(clouds.laz()), len(clouds.laz()))
    assert received[-1] == (path.stat().st_size, path.stat().st_size)
    assert os.listdir(tmp_path / "new") == ["out.laz"]


def test_the_format_is_that_of_the_suffix_unless_it_is_named(client: Client, tmp_path):
    client.predict_file(clouds.ply(), tmp_path / "labels", output="npy")
    np.testing.assert_array_equal(np.load(tmp_path / "labels"), clouds.LABELS)
    with pytest.raises(BadRequest, match="nonsense"):
        client.predict_file(clouds.ply(), tmp_path / "labels.nonsense")


def test_arrays_are_classified(client: Client):
    by_columns = client.predict(TABLE, columns=COLUMNS)
    np.testing.assert_array_equal(by_columns.labels, clouds.LABELS)
    arrays = {"coord": TABLE[:, :3], "color": TABLE[:, 3:6].astype(np.uint8), "normal": TABLE[:, 6:]}
    by_name = client.predict(arrays, fields=("probabilities", "entropy"))
    np.testing.assert_array_equal(by_name.labels, clouds.LABELS)
    assert by_name.fields["probabilities"].shape == (len(TABLE), clouds.CLASSES)
    assert set(by_name.fields) == {"probabilities", "entropy"}
    by_name.labels[0] = 7  # arrays of one's own


def test_models_and_readiness(client: Client):
    client.wait_ready(1)
    client.check_ready()
    client.check_live()
    assert client.health()["state"] == "ready"
    assert [model["name"] for model in client.models()] == [MODEL.name]
    with pytest.raises(NotFound, match="nobody"):
        client.unload("nobody")


@pytest.mark.parametrize(
    ("cloud", "options", "problem"),
    [
        (b"ply\nnonsense", {}, Unprocessable),
        (clouds.npy(), {"model": "nobody"}, NotFound),
        (clouds.npy(), {"mode": "swift"}, BadRequest),
        (b"what is this", {"filename": "a.doc"}, UnsupportedFormat),
        (bytes(32 << 20), {}, TooLarge),
    ],
)
def test_problems_are_those_of_the_server(client: Client, cloud, options, problem):
    with pytest.raises(problem) as caught:
        client.predict(cloud, **options)
    assert type(caught.value) is problem
    assert caught.value.detail
    assert caught.value.title
    assert caught.value.request_id


def test_columns_that_are_not_known_are_told(client: Client):
    table = np.rec.fromarrays(np.zeros((2, 5)), names=["east", "up"])
    with pytest.raises(Problem) as caught:
        client.predict(table)
    assert caught.value.columns == ["east", "up"]


def test_a_crowd_is_answered_in_the_end(server: Server):
    waits = []
    client = Client(server.url, on_wait=lambda problem, wait_s: waits.append(problem.status))
    with client, ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: client.predict(TABLE, columns=COLUMNS), range(48)))
    assert all((answer.labels == clouds.LABELS).all() for answer in answers)
    assert set(waits) <= {429}


def test_warnings_of_the_answer_are_returned_and_given_to_the_caller(client: Client, kind):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = client.predict(TABLE[:, :3])
    assert any("no color" in text for text in found.meta.warnings)
    assert found.meta.warnings == [str(each.message) for each in caught if each.category is PredictionWarning]
    if kind is Client:
        assert {each.filename for each in caught} == {__file__}


def test_what_is_raised_while_it_is_sent_ends_the_request(client: Client):
    def stop(sent: int, total: int) -> None:
        raise io.UnsupportedOperation("stop")

    with pytest.raises(io.UnsupportedOperation):
        client.predict(clouds.ply(), on_sent=stop)
    client.check_live()
