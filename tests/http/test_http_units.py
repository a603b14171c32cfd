"""Units of coordinates: by a file's own word, by options, and as the answer tells them."""

import io
import json

import laspy
import numpy as np
import pyproj
import pytest
import requests
from pointserve_client import Client, PredictionWarning
from safetensors.numpy import load_file
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from tests.http import clouds
from tests.http.server import MODEL, Server

US_FOOT = 1200 / 3937
TABLE = clouds.table()
XYZ = TABLE[:, :3]


def las_in_feet(*vlrs: laspy.VLR) -> bytes:
    header = laspy.LasHeader(version="1.2", point_format=2)
    header.scales, header.offsets = [1e-5] * 3, [1_000_000.0, 200_000.0, 0.0]
    header.vlrs.extend(vlrs)
    las = laspy.LasData(header)
    las.xyz = XYZ / US_FOOT + header.offsets
    las.red, las.green, las.blue = (TABLE[:, 3:6] * 257).astype(np.uint16).T
    buffer = io.BytesIO()
    las.write(buffer)
    return buffer.getvalue()


def as_npy(xyz: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.hstack([xyz, TABLE[:, 3:]]))
    return buffer.getvalue()


def agreement(response: requests.Response) -> float:
    assert response.status_code == 200, response.text
    return float((np.array(response.json()["labels"]) == clouds.LABELS).mean())


def warnings_of(response: requests.Response) -> list[str]:
    return json.loads(response.headers["X-Pointserve-Warnings"])


COLUMNS = ",".join(clouds.FIELDS)


def test_feet_by_option_get_the_labels_of_metres(server: Server):
    body = as_npy(XYZ / US_FOOT)
    for option in ("units=us-ft", "units=us-ft,us-ft,us-ft", f"units={US_FOOT!r}", "crs=EPSG:2263"):
        response = server.post(f"/predict?columns={COLUMNS}&{option}", data=body)
        assert agreement(response) > 0.995, option
        told = response.json()["units"]
        assert told["x"] == {"name": "US survey foot", "metres": pytest.approx(US_FOOT), "source": "option"}
        assert any("US survey feet" in said and "as the request says" in said for said in warnings_of(response))
    assert response.json()["crs"] == "NAD83 / New York Long Island (ftUS)"
    mixed = as_npy(XYZ / [1, 1, 0.3048])
    assert agreement(server.post(f"/predict?columns={COLUMNS}&units=m,m,ft", data=mixed)) > 0.995


def test_metres_are_told_and_not_touched(server: Server):
    response = server.post(json=clouds.json_cloud())
    assert response.json()["units"]["z"] == {"name": "metre", "metres": 1.0, "source": "assumed"}
    assert response.json()["crs"] is None
    assert warnings_of(response) == []
    stated = server.post("/predict?units=m", json=clouds.json_cloud())
    assert stated.json()["labels"] == response.json()["labels"]
    assert stated.json()["units"]["z"]["source"] == "option"
    assert warnings_of(stated) == []


def test_feet_of_a_las_file(server: Server):
    keys = laspy.VLR("LASF_Projection", 34735, "", np.array([[1, 1, 0, 1], [3072, 0, 1, 2263]], "<u2").tobytes())
    body = las_in_feet(keys)
    told = server.post(data=body)
    silent = server.post("/predict?units=m", data=body)
    assert told.json()["crs"] == "NAD83 / New York Long Island (ftUS)"
    assert [told.json()["units"][axis]["source"] for axis in "xyz"] == ["file", "file", "assumed"]
    assert any("nothing is said of z" in said for said in warnings_of(told))
    assert any("request was followed" in said for said in warnings_of(silent))
    assert told.json()["labels"] != silent.json()["labels"]
    written = laspy.read(io.BytesIO(server.post("/predict?output=las", data=body).content))
    np.testing.assert_array_equal(written.xyz, laspy.read(io.BytesIO(body)).xyz)


def test_a_long_wkt_goes_into_a_form(server: Server):
    wkt = pyproj.CRS("EPSG:2263").to_wkt(pretty=True)
    form = {"columns": COLUMNS, "crs": wkt + " " * 4000}
    response = server.post(data=form, files={"file": ("a.npy", as_npy(XYZ / US_FOOT))})
    assert agreement(response) > 0.995
    assert server.post(data=form | {"crs": "x" * 70_000}, files={"file": ("a.npy", as_npy(XYZ))}).status_code == 400


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("crs=nowhere", "no coordinate system"),
        ("crs=%2Binit%3D%2Fetc%2Fpasswd%3Ax", "names a file"),
        ("units=furlong", "no unit"),
        ("units=ft,ft", "2 units"),
    ],
)
def test_options_that_make_no_sense(server: Server, query: str, said: str):
    response = server.post(f"/predict?{query}", json=clouds.json_cloud())
    assert response.status_code == 400
    assert said in response.json()["detail"]


def test_client_and_inference_protocol_take_them(server: Server, tmp_path):
    named = {"coord": XYZ / US_FOOT, "color": TABLE[:, 3:6], "normal": TABLE[:, 6:]}
    with Client(server.url) as client:
        with pytest.warns(PredictionWarning, match="US survey feet"):
            found = client.predict(named, units="us-ft")
        assert (found.labels == clouds.LABELS).mean() > 0.995
        client.predict_file(as_npy(XYZ), tmp_path / "out.safetensors", columns=COLUMNS, units="m")
    assert load_file(tmp_path / "out.safetensors")["labels"].shape == clouds.LABELS.shape
    with InferenceServerClient(f"127.0.0.1:{server.port}") as triton:
        inputs = []
        for name, values, kind in (
            ("coord", XYZ / US_FOOT, "FP64"),
            ("color", TABLE[:, 3:6].astype(np.uint8), "UINT8"),
            ("normal", TABLE[:, 6:].astype(np.float32), "FP32"),
        ):
            inputs.append(InferInput(name, list(values.shape), kind).set_data_from_numpy(values))
        wanted = [InferRequestedOutput("labels")]
        found = triton.infer(MODEL.name, inputs, outputs=wanted, parameters={"crs": "EPSG:2263"})
    assert (found.as_numpy("labels") == clouds.LABELS).mean() > 0.995
    assert "US survey feet" in found.get_response()["parameters"]["warnings"]
