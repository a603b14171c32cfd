"""Answers with refined labels, over every way to ask."""

import io
import json
import warnings
from urllib.parse import urlencode

import laspy
import numpy as np
import pytest
from pointserve_client import Client, PredictionWarning

from tests.area_samples import round_area
from tests.http import clouds
from tests.http.server import MODEL, Server

ASKED = "/predict?min_confidence=0.9&fields=confidence"


def coded_las() -> laspy.LasData:
    """The points of ``clouds.table`` with their colors, all of class 64."""
    table = clouds.table()
    las = laspy.create(point_format=7, file_version="1.4")
    las.header.scales = [1e-4] * 3
    las.x, las.y, las.z = table[:, :3].T
    las.red, las.green, las.blue = (table[:, 3:6].T * 257).astype(np.uint16)
    las.classification = np.full(len(table), 64, np.uint8)
    return las


def las_file(las: laspy.LasData) -> bytes:
    file = io.BytesIO()
    las.write(file)
    return file.getvalue()


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


def test_flags_and_areas_of_a_file_are_read_whatever_the_answer_is(server: Server):
    las = coded_las()
    las.withheld = np.arange(len(las)) < 100
    classes = ",".join(f"{number}:{100 + number}" for number in range(clouds.CLASSES))
    x_high = float(np.median(las.x))
    area = json.dumps({"type": "Polygon", "coordinates": [[[-1e3, -1e3], [x_high, -1e3], [x_high, 1e3], [-1e3, 1e3]]]})
    form = {"classes": classes, "preserve_flags": "withheld", "within": area}
    answer = server.post("/predict", files={"file": ("a.las", las_file(las))}, data=form).json()
    is_kept = (np.arange(len(las)) < 100) | ~(np.asarray(las.x) < x_high)
    np.testing.assert_array_equal(np.array(answer["labels"]) == 1064, is_kept)
    assert [done["step"] for done in answer["refined"]] == ["classes", "kept"]
    assert answer["refined"][1]["changed"] == np.count_nonzero(is_kept)


@pytest.fixture(scope="module")
def coded() -> tuple[bytes, np.ndarray, dict[str, str]]:
    """A file whose points all have class 64, which of them lie within an area of many corners, and options that ask
    for the others to keep it."""
    las = coded_las()
    x, y = np.asarray(las.x), np.asarray(las.y)
    middle_x, middle_y, radius = np.median(x), np.median(y), np.ptp(x) / 4
    is_inside = np.hypot(x - middle_x, y - middle_y) < radius
    options = {
        "classes": ",".join(f"{number}:{100 + number}" for number in range(clouds.CLASSES)),
        "within": round_area(middle_x, middle_y, radius),
    }
    return las_file(las), is_inside, options


@pytest.mark.parametrize("way", ["field", "part", "open inference", "client"])
def test_an_area_of_many_corners_comes_by_every_way(server: Server, coded, way: str):
    file, is_inside, options = coded
    area = options["within"]
    if way == "client":
        with Client(f"http://127.0.0.1:{server.port}") as client, warnings.catch_warnings():
            warnings.simplefilter("ignore", PredictionWarning)
            labels = client.predict(file, **options).labels
    elif way == "open inference":
        head = {
            "inputs": [{"name": "file", "shape": [1], "datatype": "BYTES", "parameters": {}}],
            "outputs": [{"name": "labels"}],
            "parameters": options,
        }
        head["inputs"][0]["parameters"]["binary_data_size"] = 4 + len(file)
        text = json.dumps(head).encode()
        body = text + len(file).to_bytes(4, "little") + file
        headers = {"Inference-Header-Content-Length": str(len(text))}
        labels = server.post(f"/v2/models/{MODEL.name}/infer", data=body, headers=headers).json()["outputs"][0]["data"]
    else:
        files = {"file": ("a.las", file)}
        if way == "part":  # as curl -F within=@area.geojson
            files["within"] = ("area.geojson", b"\xef\xbb\xbf" + area.encode())
            options = {"classes": options["classes"]}
        labels = server.post("/predict", files=files, data=options).json()["labels"]
    assert 0.1 < is_inside.mean() < 0.5
    np.testing.assert_array_equal(np.array(labels) != 1064, is_inside)


def test_an_area_that_is_too_long_for_an_address_is_told_where_it_goes(server: Server, coded):
    file, _, options = coded
    response = server.post(f"/predict?{urlencode(options)}", data=file)
    assert response.status_code == 414
    assert "as fields of a form" in response.json()["detail"]


def test_a_file_without_classes_is_refused_with_words(server: Server):
    classes = ",".join(f"{number}:{100 + number}" for number in range(clouds.CLASSES))
    response = server.post(f"/predict?preserve=2&classes={classes}", data=clouds.ply())
    assert response.status_code == 400
    assert "no column classification" in response.json()["detail"]
