"""What a client's words can become: short answers in this service's own words, whatever was sent."""

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pytest
import requests

from app.http.form import FIELDS_BYTES, MAX_PARTS
from tests.http import clouds
from tests.http.server import MODEL, Server

ANSWER_BYTES = 16_000
INFER = f"/v2/models/{MODEL.name}/infer"
COORD = {"name": "coord", "shape": [3, 3], "datatype": "FP32", "data": [0, 0, 0, 1, 0, 0, 0, 1, 0]}
FOREIGN_WORDS = ("Input should", "pydantic", "Traceback", "while decompressing", "Exceeds the limit", "unexpected")
MILLION = 10**6
DIGITS = "1" * 4301  # more than Python makes an integer of


def told(answer: requests.Response, *statuses: int) -> str:
    """Checks that it is one of ``statuses``, small and in own words; the detail."""
    assert answer.status_code in statuses, answer.text[:500]
    assert len(answer.content) < ANSWER_BYTES
    detail = answer.json()["detail"]
    assert not [word for word in FOREIGN_WORDS if word in detail], detail
    return detail


def form(*parts: tuple[str, bytes]) -> bytes:
    """A form of fields and a file that is none, compressed."""
    made = [b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (n.encode(), data) for n, data in parts]
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    return gzip.compress(b"".join([*made, file]))


def post_form(server: Server, data: bytes) -> requests.Response:
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}
    return server.post(data=data, headers=headers)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([("fields", b"a," * 500_000)], "65,536"),
        ([("fields", b"a," * 30_000)], "confidence"),
        ([("columns", b"x," * 30_000)], "4096 entries"),
        ([("mode", b"x" * 60_000)], "'fast', 'exact' or 'vote'"),
        ([("n" * 100_000, b"x")], "is no option"),
        ([(f"{'n' * 5000}{number}", b"x") for number in range(90)], "82 more"),
        ([("seed", str(number).encode()) for number in range(90)], "give it once"),
        ([("seed", b"9" * 5000)], "whole number"),
        ([("filename", b"f" * 60_000)], "1000 characters"),
    ],
)
def test_options_of_a_form(server: Server, parts: list, expected: str):
    assert expected in told(post_form(server, form(*parts)), 400)


@pytest.mark.parametrize(
    "parts",
    [[("columns", b"x" * (FIELDS_BYTES // 50))] * 60, [("x" * 100_000, b"")] * 60, [("x", b"")] * (MAX_PARTS + 1)],
)
def test_fields_of_a_form_are_bounded_together(server: Server, parts: list):
    assert "form" in told(post_form(server, form(*parts)), 413)


def test_names_of_parts_are_told_shortened(server: Server):
    data = form(*[(f"{'n' * 9000}{number}", b"") for number in range(50)]).replace(b"file", b"cloud")
    assert "and" in told(post_form(server, data), 400)
    files = [(f"{'n' * 2000}{number}", ("a.ply", b"x")) for number in range(50)]
    assert "43 more" not in told(server.post(files=files), 400)


@pytest.mark.parametrize("path", ["/", "/models/", "/v2/models/", "/samples/", "/progress/"])
@pytest.mark.parametrize("name", ["n" * 3900, "%00" * 1300, "%E2%9C%93" * 430])
def test_paths(server: Server, path: str, name: str):
    answer = server.get(path + name)
    assert answer.status_code in (204, 404)
    assert len(answer.content) < ANSWER_BYTES


@pytest.mark.parametrize("query", ["&".join(f"o{number}=1" for number in range(480)), "%F0%9F%98%80" * 300 + "=1"])
def test_queries(server: Server, query: str):
    assert "is no option" in told(server.post(f"/predict?{query}", data=b"1 2 3"), 400)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"parameters": {f"p{number}": 1 for number in range(90_000)}}, "64 entries"),
        ({"parameters": {f"p{number}": 1 for number in range(64)}}, "56 more"),
        ({"parameters": {"p" * MILLION: 1}}, "100 characters"),
        ({"parameters": {"mode": "m" * MILLION}}, "65,536"),
        ({"parameters": {"mode": [[[[1]]]] * 100_000}}, "neither text nor a number"),
        ({"parameters": {"seed": 1e300}}, "seed"),
        ({"parameters": {"timeout": 1e300}}, "microseconds"),
        ({"id": "i" * MILLION}, "1000 characters"),
        ({"inputs": [COORD] * 10_000}, "16 entries"),
        ({"inputs": [COORD | {"name": "n" * MILLION}]}, "1000 characters"),
        ({"inputs": [COORD | {"name": "n" * 1000}]}, "There is no input"),
        ({"inputs": [COORD | {"datatype": "n" * 1000}]}, "datatype"),
        ({"inputs": [COORD | {"shape": ["a"] * 500_000}]}, "expected a whole number"),
        ({"inputs": [COORD | {"shape": [1] * MILLION}]}, "64 entries"),
        ({"inputs": [COORD | {"data": "d" * MILLION}]}, "not a list"),
        ({"outputs": [{"name": "o" * 1000}]}, "There is no output"),
        ({"outputs": [{"name": "labels", "parameters": {"x" * 101: 1}}]}, "100 characters"),
    ],
)
def test_parts_of_an_inference_request(server: Server, changed: dict, expected: str):
    assert expected in told(server.post(INFER, json={"inputs": [COORD]} | changed), 400)


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": {"a": [[]] * 1_000_000}},
        {"inputs": [COORD | {"data": [{}] * 1_000_000}]},
        {"inputs": [COORD | {"data": [1] * 5_000_000}]},
        {"unknown": [[]] * 1_000_000},
        {"parameters": {str(number): 1 for number in range(150_000)}},
    ],
)
def test_json_that_would_take_much_memory(server: Server, changed: dict):
    text = json.dumps({"inputs": [COORD]} | changed, separators=(",", ":")).encode()
    answer = server.post(INFER, data=gzip.compress(text, 1), headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413, answer.text
    assert len(answer.content) < ANSWER_BYTES


def test_options_in_the_address_of_an_inference_request_are_not_ignored(server: Server):
    assert "'parameters'" in told(server.post(f"{INFER}?mode=exact", json={"inputs": [COORD]}), 400)


def test_nested_and_broken_json(server: Server):
    told(server.post(INFER, data=b"[" * 400_000), 400)
    told(server.post(INFER, data=b'{"inputs":[' + b"{}," * 100_000), 400)
    told(server.post(INFER, data=b'{"inputs":[{"name":"coord","shape":[' + DIGITS.encode()), 400)
    told(server.post("/v2/repository/index", data=b"[" * 100_000), 400)
    told(server.post(data=b'{"points":' + b"[" * MILLION), 422)


@pytest.mark.parametrize(
    "body",
    [
        {"points": [[1, 2, 3]], "k" * MILLION: 1},
        {"points": [[1, 2, 3]]} | {f"k{number}": 1 for number in range(100_000)},
        {"points": [[1, 2, 3]], "fields": ["x", "y", "f" * MILLION]},
        {"points": [[1, 2, 3, *range(100_000)]]},
        {"points": [[1, 2, 3, *range(100_000)]], "fields": ["x", "y", "z", *map(str, range(100_000))]},
        {"points": [[1, 2, "v" * MILLION]]},
    ],
)
def test_keys_names_and_values_of_json(server: Server, body: dict):
    told(server.post(json=body), 400, 422)


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zip_of(num_members: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(num_members):
            archive.writestr(f"{number}.npy", b"")
    return buffer.getvalue()


def ply(*properties: str) -> bytes:
    lines = "".join(f"property float {name}\n" for name in properties)
    row = b"\0\0\0\0" * len(properties)
    return f"ply\nformat binary_little_endian 1.0\nelement vertex 1\n{lines}end_header\n".encode() + row


@pytest.mark.parametrize(
    "file",
    [
        npz(coord=np.zeros((4, 3)), wide=np.zeros((4, MILLION), "u1")),
        npz(a=np.zeros((4, MILLION), "u1")),
        npz(**{"coord": np.zeros((4, 3)), "n" * 5000: np.zeros(4)}),
        npy(np.zeros((4, 100_000), "u1")),
        npy(np.zeros(1, [(name, "f4") for name in ("x", "y", "z", "n" * 5000)])),
        zip_of(3000),
        zip_of(30_000),
        ply("x", "y", "z", "n" * 50_000),
        ply("x", "y", "z", *(f"p{number}" for number in range(30_000))),
        ply(*(f"p{number}" for number in range(30_000))),
        b"ply\nformat ascii 1.0\nelement vertex " + DIGITS.encode() + b"\nproperty float x\nend_header\n",
        (",".join(["x", "y", "z", *(f"c{number}" for number in range(9000))]) + "\n" + "1," * 9002 + "1\n").encode(),
        (",".join(["x", "y", "z", "n" * 60_000]) + "\n1,2,3,4\n").encode(),
        DIGITS.encode() + b"\n1 2 3\n",
    ],
    ids=lambda file: file[:8].hex(),
)
def test_names_and_numbers_of_columns(server: Server, file: bytes):
    answer = server.post(data=file)
    assert answer.status_code in (413, 415, 422), answer.text[:300]
    assert len(answer.content) < 64_000  # the first names of columns are told
    assert len(answer.json()["detail"]) <= 2000


def test_many_columns_are_read_where_they_are_honest(server: Server):
    array = np.hstack([clouds.table(slice(300)), np.zeros((300, 200))])
    names = [*clouds.FIELDS, *(f"feature_{number}" for number in range(200))]
    table = np.rec.fromarrays(array.T, names=names)
    assert server.post(
        data=npz(points=array[:, :3], color=array[:, 3:6], normal=array[:, 6:9], f=np.zeros((300, 1030)))
    ).ok
    assert server.post(data=npy(table)).ok


def test_large_las_headers_stay_small_answers(server: Server):
    head = bytearray(clouds.laz()[:375])
    struct.pack_into("<I", head, 100, 0xFFFFFFFF)  # records of variable length
    told(server.post(data=bytes(head) + bytes(54 * 2000)), 422)


@pytest.mark.parametrize("digits", [DIGITS, "9" * 19, "1e9", "-1", "+1", "1_0", "\u00b2", "nan"])
def test_length_of_the_json_that_is_no_length(server: Server, digits: str):
    headers = {"Inference-Header-Content-Length": digits.encode("latin-1")}
    assert "expected the length" in told(server.post(INFER, data=b"{}", headers=headers), 400)


@pytest.mark.parametrize("seconds", ["nan", "-1", "x", "", "1" * 4301 + "x", "\u00b2"])
def test_timeouts_that_are_none(server: Server, seconds: str):
    headers = {"X-Request-Timeout": seconds.encode("latin-1")}
    told(server.post(data=clouds.npy(slice(300)), headers=headers), 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": f"bytes=0-{DIGITS}"},
        {"Range": f"bytes={DIGITS}-"},
        {"Range": "bytes=\u00b2-"},
        {"If-Modified-Since": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
        {"If-Modified-Since": f"Mon, {DIGITS} Jan 2020 00:00:00 GMT"},
        {"If-Modified-Since": "Mon, 01 Jan 2020 00:00:00 +99999999999"},
        {"If-Range": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Range": "bytes=0-1"},
        {"If-None-Match": "x" * 4000},
        {"Accept": f"text/html;q={DIGITS}"},
        {"Accept": "text/html;q=nan, */*;q=inf"},
        {"Accept": f"application/openmetrics-text;version={DIGITS}"},
        {"Accept": "application/openmetrics-text;version=a.b;escaping=\u00b2"},
        {"Accept": "," * 4000},
        {"Accept-Encoding": f"gzip;q={DIGITS}, deflate;q=nan"},
        {"traceparent": f"00-{DIGITS}-{DIGITS}-01"},
        {"Authorization": "Basic " + "=" * 4000},
        {"Authorization": "Digest " + "a=," * 1000},
        {"Cookie": "a=b; " * 800},
        {"Cache-Control": f"max-age={DIGITS}"},
        {"Content-Type": "a" * 4000},
        {"X-Request-Id": "\u00b2" * 100},
        {"Forwarded": f"for={DIGITS}"},
        {"X-Forwarded-For": DIGITS},
        {"X-Forwarded-Prefix": "/" + DIGITS},
        {"Origin": "http://[" + DIGITS},
    ],
    ids=lambda headers: f"{next(iter(headers))}-{next(iter(headers.values()))[:30]}",
)
@pytest.mark.parametrize("path", ["/page/page.js", "/metrics", "/", "/docs", "/health/ready"])
def test_headers_of_any_kind(server: Server, headers: dict[str, str], path: str):
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    assert server.get(path, headers=sent).status_code < 500


def test_las_sent_as_json_is_read(server: Server):
    answer = server.post(data=clouds.laz(), headers={"Content-Type": "application/json"})
    assert "format=json" not in answer.text
    assert len(answer.json()["labels"]) == len(clouds.LABELS)
    told(server.post(data=b"no json", headers={"Content-Type": "application/json"}), 422)
    table = {"data": b"1 2 3\n4 5 6\n", "headers": {"Content-Type": "application/json"}}
    assert "The Content-Type says application/json, but the body holds rows of numbers" in told(
        server.post(**table), 415
    )
    assert len(server.post("/predict?format=text", **table).json()["labels"]) == 2


def test_damaged_compression_is_told_in_own_words(server: Server):
    damaged = bytearray(gzip.compress(clouds.ply()))
    damaged[40:60] = bytes(20)
    for encoding in ("gzip", "deflate"):
        told(server.post(data=bytes(damaged), headers={"Content-Encoding": encoding}), 400)


def test_format_of_the_file_is_told_apart_from_that_of_the_answer(server: Server):
    assert "output=" in told(server.post("/predict?format=laz", data=clouds.ply()), 415)


def test_a_line_of_the_log_is_short(server: Server):
    server.get("/" + "l" * 3900, headers={"X-Request-Id": "long-line"})
    (line,) = server.wait_logged(id="long-line")
    assert len(json.dumps(line)) < 6000
