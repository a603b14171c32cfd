"""POST /predict: every way to send a cloud, every way to be answered."""

import csv
import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import laspy
import numpy as np
import pytest
import requests
from plyfile import PlyData

from tests.http import clouds
from tests.http.server import Server, descendants

COLUMNS = ",".join(clouds.FIELDS)


def labels_of(response) -> np.ndarray:
    assert response.status_code == 200, response.text
    return np.array(response.json()["labels"])


def test_json_points_get_the_labels_of_the_golden(server: Server):
    response = server.post(json=clouds.json_cloud())
    answer = response.json()
    np.testing.assert_array_equal(labels_of(response), clouds.LABELS)
    assert answer["num_points"] == len(clouds.LABELS)
    assert answer["model"] == response.headers["X-Pointserve-Model"]
    counts = {item["id"]: item["count"] for item in answer["classes"]}
    np.testing.assert_array_equal([counts[i] for i in range(clouds.CLASSES)], np.bincount(clouds.LABELS, minlength=20))
    assert answer["request_id"] == response.headers["X-Request-Id"]
    assert {"name", "color", "asprs"} <= set(answer["classes"][0])
    assert "dur=" in response.headers["Server-Timing"]
    assert response.headers["X-Pointserve-Points"] == "6000"
    assert "confidence" not in answer


def test_exact_mode_gives_the_labels_of_the_golden_and_says_its_passes(server: Server):
    response = server.post("/predict?mode=exact", json=clouds.json_cloud())
    assert (labels_of(response) == clouds.LABELS_EXACT).mean() >= 0.999
    answer = response.json()
    assert (answer["passes"], answer["passes_wanted"]) == (10, 10)
    assert answer["warnings"] == []


def test_passes_of_the_exact_mode_can_be_limited_by_the_request(server: Server):
    response = server.post("/predict?mode=exact&max_passes=3&output=laz", data=clouds.ply())
    assert response.headers["X-Pointserve-Passes"] == "3/10"
    assert any("3 of 10 passes" in said for said in json.loads(response.headers["X-Pointserve-Warnings"]))


def test_several_views_vote_and_say_how_far_they_agree(server: Server):
    answer = server.post("/predict?mode=vote&fields=agreement", json=clouds.json_cloud()).json()
    assert (answer["passes"], answer["passes_wanted"]) == (4, 4)
    assert {0.25, 1} < set(answer["agreement"]) <= {0, 0.25, 0.5, 0.75, 1}
    las = server.post("/predict?mode=vote&fields=agreement&max_passes=2&output=laz", data=clouds.ply())
    assert las.headers["X-Pointserve-Passes"] == "2/4"
    assert any("2 of 4 passes" in said for said in json.loads(las.headers["X-Pointserve-Warnings"]))
    with laspy.open(io.BytesIO(las.content)) as file:
        assert set(np.unique(np.round(file.read()["agreement"], 4))) <= {0, 0.5, 1}


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-npy", "model/ply", "", None])
def test_raw_body_of_any_content_type(server: Server, content_type: str | None):
    headers = {} if content_type is None else {"Content-Type": content_type}
    np.testing.assert_array_equal(labels_of(server.post(data=clouds.ply(), headers=headers)), clouds.LABELS)


def test_raw_body_as_curl_labels_it_is_not_taken_for_a_form(server: Server):
    response = server.post(data=clouds.ply(), headers={"Content-Type": "application/x-www-form-urlencoded"})
    np.testing.assert_array_equal(labels_of(response), clouds.LABELS)


def test_form_with_options_beside_the_file(server: Server):
    form = {"columns": COLUMNS, "fields": "confidence, entropy", "output": ""}
    response = server.post(files={"file": ("cloud.npy", clouds.npy())}, data=form)
    np.testing.assert_array_equal(labels_of(response), clouds.LABELS)
    answer = response.json()
    assert len(answer["confidence"]) == len(answer["entropy"]) == 6000
    assert "probabilities" not in answer


def test_chunked_body(server: Server):
    data = clouds.ply()
    pieces = (data[start : start + 10_000] for start in range(0, len(data), 10_000))
    np.testing.assert_array_equal(labels_of(server.post(data=pieces)), clouds.LABELS)


def test_chunked_form(server: Server):
    data = clouds.ply()
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.ply"\r\n\r\n'
    pieces = iter([head, data[:50_000], data[50_000:], b"\r\n--b--\r\n"])
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    np.testing.assert_array_equal(labels_of(server.post(data=pieces, headers=headers)), clouds.LABELS)


def test_file_name_from_the_query_or_content_disposition_names_the_answer(server: Server):
    by_query = server.post("/predict?output=csv&filename=a/b%5Cgarten%20ü.ply", data=clouds.ply())
    assert "filename*=UTF-8''garten%20%C3%BC_classified.csv" in by_query.headers["Content-Disposition"]
    headers = {"Content-Disposition": 'attachment; filename="tile.ply"'}
    by_header = server.post("/predict?output=csv", data=clouds.ply(), headers=headers)
    assert by_header.headers["Content-Disposition"] == 'attachment; filename="tile_classified.csv"'


def test_laz_comes_back_classified_with_its_coordinates(server: Server):
    response = server.post("/predict?output=laz", files={"file": ("tile.laz", clouds.laz())})
    assert response.status_code == 200, response.text
    assert response.headers["Content-Disposition"] == 'attachment; filename="tile_classified.laz"'
    sent, got = laspy.read(io.BytesIO(clouds.laz())), laspy.read(io.BytesIO(response.content))
    np.testing.assert_array_equal(got.xyz, sent.xyz)
    np.testing.assert_array_equal(got.header.offsets, sent.header.offsets)
    in_json = server.post(files={"file": ("tile.laz", clouds.laz())}).json()
    np.testing.assert_array_equal(np.asarray(got.classification, int), in_json["labels"])
    warnings = json.loads(response.headers["X-Pointserve-Warnings"])
    assert warnings[:-1] == in_json["warnings"]
    assert "class ids" in warnings[-1]
    assert any("normal" in warning for warning in warnings)


def test_copc_comes_back_in_another_order_with_its_labels(server: Server):
    accept = {"Accept": "application/vnd.laszip+copc"}
    response = server.post("/predict", files={"file": ("tile.copc.laz", clouds.laz())}, headers=accept)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == accept["Accept"]
    assert response.headers["Content-Disposition"] == 'attachment; filename="tile_classified.copc.laz"'
    assert "order of its octree" in response.headers["X-Pointserve-Warnings"]
    kept = laspy.read(io.BytesIO(server.post("/predict?output=laz", data=clouds.laz()).content))
    with laspy.CopcReader(io.BytesIO(response.content)) as reader:
        got = reader.query()
    order, got_order = (np.lexsort((each.classification, each.X, each.Y, each.Z)) for each in (kept, got))
    for name in ("X", "Y", "Z", "classification"):
        np.testing.assert_array_equal(np.asarray(kept[name])[order], np.asarray(got[name])[got_order])


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("application/*", "application/json"),
        ("text/csv", "text/csv"),
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("application/json;q=0, text/*", "text/csv"),
    ],
)
def test_accept_chooses_the_answer(server: Server, accept: str | None, content_type: str):
    response = server.post(json=clouds.json_cloud(slice(300)), headers={"Accept": accept})
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"].split(";")[0] == content_type


def test_names_of_formats_are_known_in_any_case(server: Server):
    answer = server.post("/predict?format=LAZ&output=Npy", data=clouds.laz())
    assert answer.status_code == 200, answer.text
    assert len(np.load(io.BytesIO(answer.content))) == len(clouds.LABELS)


def test_output_wins_over_accept(server: Server):
    response = server.post("/predict?output=csv", json=clouds.json_cloud(), headers={"Accept": "image/png, text/html"})
    assert response.status_code == 200, response.text
    rows = list(csv.DictReader(io.StringIO(response.text)))
    label = next(name for name in rows[0] if "label" in name or "class" in name)
    assert [int(row[label]) for row in rows] == clouds.LABELS.tolist()


def test_features_come_in_every_format_that_has_a_place_for_them(server: Server):
    query = "/predict?fields=features,features_rgb&output="
    answer = server.post(f"{query}json", data=clouds.ply()).json()
    features = np.load(io.BytesIO(server.post("/predict?fields=features&output=npy", data=clouds.ply()).content))
    assert (features.dtype, len(features)) == (np.float32, len(clouds.LABELS))
    np.testing.assert_allclose(np.array(answer["features"]), features, rtol=1e-6)
    npz = np.load(io.BytesIO(server.post(f"{query}npz", data=clouds.ply()).content))
    np.testing.assert_array_equal(npz["features"], features)
    np.testing.assert_array_equal(npz["features_rgb"], answer["features_rgb"])
    ply = PlyData.read(io.BytesIO(server.post(f"{query}ply", data=clouds.ply()).content))["vertex"]
    np.testing.assert_array_equal(ply["features_green"], npz["features_rgb"][:, 1])
    assert server.post("/predict?fields=features&mode=exact", data=clouds.ply()).status_code == 400


def test_npy_and_ply_answers_hold_every_label(server: Server):
    npy = server.post("/predict?output=npy", data=clouds.ply())
    np.testing.assert_array_equal(np.load(io.BytesIO(npy.content)), clouds.LABELS)
    ply = PlyData.read(io.BytesIO(server.post("/predict?output=ply", data=clouds.ply()).content))["vertex"]
    assert any(np.array_equal(ply[item.name], clouds.LABELS) for item in ply.properties)


def test_concurrent_clients_each_get_their_own_answer(server: Server):
    rows = [slice(start, start + 700 + 37 * start // 300) for start in range(0, 4800, 600)]

    def ask(index: int) -> tuple[str, list[int]]:
        response = server.post(json=clouds.json_cloud(rows[index]), headers={"X-Request-Id": f"client-{index}"})
        assert response.status_code == 200, response.text
        return response.json()["request_id"], response.json()["labels"]

    alone = [ask(index) for index in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, list(range(8)) * 3))
    assert together == alone * 3
    assert [len(labels) for _, labels in alone] == [len(clouds.LABELS[part]) for part in rows]


def test_kept_alive_connection_serves_one_request_after_another(server: Server):
    with requests.Session() as session:
        first = session.post(server.url + "/predict", data=clouds.ply())
        assert first.headers["Connection"] == "keep-alive"
        refused = session.post(server.url + "/predict?bogus=1", data=clouds.ply())
        assert (refused.status_code, refused.headers["Connection"]) == (400, "close")  # its body was not read
        np.testing.assert_array_equal(
            labels_of(session.post(server.url + "/predict", data=clouds.ply())), clouds.LABELS
        )


def test_descriptors_are_given_back_also_by_clients_that_leave(server: Server):
    worker = descendants(server.process.pid)[0]

    def num_descriptors() -> int:
        return len(os.listdir(f"/proc/{worker}/fd"))

    def ask_and_leave() -> None:
        data = clouds.ply()
        with server.connect() as connection:
            head = f"POST /predict?output=npz HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data)

    server.post(data=clouds.ply())
    deadline_s = time.monotonic() + 30
    before = num_descriptors()
    for _ in range(5):
        ask_and_leave()
        server.post(data=b"garbage")
        server.post(files={"file": ("a.npy", clouds.npy())}, data={"columns": COLUMNS})
        server.post("/predict?mode=no", files={"file": clouds.ply()}, data={"seed": "x"})
    while num_descriptors() > before:
        assert time.monotonic() < deadline_s, f"{num_descriptors()} descriptors, {before} before"
        time.sleep(0.1)
