"""Every error has one shape, and says what was wrong, what was expected and what to do."""

import gzip
import json
from contextlib import ExitStack
from http import HTTPStatus

import pytest
import requests

from tests.http import clouds
from tests.http.server import Server, raw_exchange

LIMIT_BYTES = 4 << 20


def problem(response: requests.Response, status: int) -> str:
    """Checks the shape; returns the detail."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert set(body) - {"options"} == {"type", "title", "status", "detail", "error", "request_id"}
    assert body["status"] == status
    assert body["error"] == body["detail"]
    assert body["request_id"] == response.headers["X-Request-Id"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    return body["detail"]


def test_unknown_option_names_the_known_ones(server: Server):
    detail = problem(server.post("/predict?modell=x", data=clouds.ply()), 400)
    assert "'modell'" in detail
    for name in ("model", "mode", "format", "columns", "output", "fields", "seed"):
        assert name in detail


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("mode=slow", "'fast', 'exact' or 'vote'"),
        ("max_passes=0&mode=exact", "more than 0"),
        ("max_passes=129&mode=exact", "1 to 128"),
        ("output=shp", "laz"),
        ("format=shp", "pcd"),
        ("fields=confidence,logits", "probabilities"),
        ("seed=-1", "0 or more"),
        ("seed=x", "whole number"),
        ("seed=1&seed=2", "once"),
    ],
)
def test_bad_value_of_an_option_names_what_is_accepted(server: Server, option: str, expected: str):
    detail = problem(server.post(f"/predict?{option}", data=clouds.ply()), 400)
    assert option.split("=")[0] in detail
    assert expected in detail


def test_all_bad_options_are_told_at_once_also_from_a_form(server: Server):
    response = server.post("/predict?seed=x", files={"file": clouds.ply()})
    assert "seed" in problem(response, 400)
    detail = problem(server.post(files={"file": clouds.ply()}, data={"mode": "slow", "wat": "1"}), 400)
    assert "slow" in detail
    assert "'wat'" in detail


def test_what_is_wrong_is_told_by_option(server: Server):
    body = server.post("/predict?smooth=1&within=a&seed=3&nothing=1", data=clouds.ply()).json()
    assert set(body["options"]) == {"smooth", "within"}
    assert all(f"{name}: {problem}" in body["detail"] for name, problem in body["options"].items())


def test_unknown_model_is_404_and_names_those_there_are(server: Server):
    detail = problem(server.post("/predict?model=nothere", data=clouds.ply()), 404)
    assert "nothere" in detail
    name = server.get("/models").json()["models"][0]["name"]
    assert name in detail
    assert name in problem(server.get("/models/nothere"), 404)


def test_no_acceptable_media_type_is_406(server: Server):
    detail = problem(server.post(data=clouds.ply(), headers={"Accept": "image/png"}), 406)
    assert "application/json" in detail


@pytest.mark.parametrize("path", ["/nothing", "/predict/", "/static/../errors.py", "/models/"])
def test_unknown_path_is_404(server: Server, path: str):
    with server.connect() as connection:
        status, headers, _ = raw_exchange(connection, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (status, headers["content-type"]) == (404, "application/problem+json")


NO_REQUEST = {
    "a version that is not spoken": ("GET /health HTTP/9.9", "Host: x", 400, "HTTP/1.1"),
    "a line without words": ("{}", "Host: x", 400, "METHOD PATH HTTP/1.1"),
    "a method in small letters": ("get /health HTTP/1.1", "Host: x", 400, "GET, POST"),
    "a long address": (f"GET /{'x' * 9000} HTTP/1.1", "Host: x", 414, "4094 bytes"),
    "an address without end": (f"GET /{'x' * 90000}", "", 414, "4094 bytes"),
    "a long header": ("GET /health HTTP/1.1", f"A: {'x' * 9000}", 431, "8190 bytes"),
    "many headers": ("GET /health HTTP/1.1", "\r\n".join(f"A{i}: x" for i in range(101)), 431, "at most 100"),
    "headers without end": ("GET /health HTTP/1.1", "\r\n".join(["A: x"] * 9000), 431, "32768 bytes"),
    "an expectation": ("POST /predict HTTP/1.1", "Expect: cake", 417, "100-continue"),
    "another transfer coding": ("POST /predict HTTP/1.1", "Transfer-Encoding: br, chunked", 501, "Content-Encoding"),
    "two lengths": ("POST /predict HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2", 400, "there twice"),
    "a length and chunks": ("POST /x HTTP/1.1", "Content-Length: 1\r\nTransfer-Encoding: chunked", 400, "contradicts"),
    "a name with a blank": ("GET /health HTTP/1.1", "a b: x", 400, "name of a header"),
    "a header without colon": ("GET /health HTTP/1.1", "nothing", 400, "NAME: VALUE"),
    "a folded header": ("GET /health HTTP/1.1", "A: x\r\n y", 400, "one line"),
    "a lone line feed": ("GET /health HTTP/1.1\nHost: x", "", 400, "CR LF"),
}


@pytest.mark.parametrize(("line", "headers", "status", "expected"), NO_REQUEST.values(), ids=NO_REQUEST)
def test_what_is_no_request_is_told_in_the_same_shape(
    server: Server, line: str, headers: str, status: int, expected: str
):
    with server.connect() as connection:
        got, answer_headers, body = raw_exchange(connection, f"{line}\r\n{headers}\r\n\r\n".encode())
    assert (got, answer_headers["content-type"]) == (status, "application/problem+json")
    problem = json.loads(body)
    assert set(problem) == {"type", "title", "status", "detail", "error", "request_id"}
    assert (problem["status"], problem["title"]) == (status, HTTPStatus(status).phrase.capitalize())
    assert problem["request_id"] == answer_headers["x-request-id"]
    assert expected in problem["detail"]
    (logged,) = server.wait_logged(event="request", id=problem["request_id"])
    assert (logged["status"], logged["detail"], logged["client"]) == (status, problem["detail"], "127.0.0.1")
    assert str(status) in server.get("/openapi.json").json()["paths"]["/health"]["get"]["responses"]


def test_what_may_be_answered_before_a_view_is_described_for_every_path(server: Server):
    for path, operations in server.get("/openapi.json").json()["paths"].items():
        for operation in operations.values():
            assert {"400", "408", "414", "417", "431", "501", "503"} <= set(operation["responses"]), path


def test_the_title_of_a_status_is_the_same_wherever_it_comes_from(server: Server):
    for path in ("/nothing", "/models/nothere"):
        assert server.get(path).json()["title"] == "Not found"


def test_a_form_with_two_files_is_told_so(server: Server):
    files = [("file", ("a.ply", clouds.ply())), ("file", ("b.ply", clouds.ply()))]
    assert "The form holds 2 parts 'file'; a request takes one cloud" in problem(server.post(files=files), 400)


def test_wrong_method_is_405_with_allow(server: Server):
    response = server.get("/predict")
    assert "POST" in problem(response, 405)
    assert set(response.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert "GET" in problem(requests.delete(server.url + "/health"), 405)


def test_options_and_head(server: Server):
    allowed = requests.options(server.url + "/predict")
    assert allowed.status_code == 200
    assert set(allowed.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    head = requests.head(server.url + "/health")
    assert (head.status_code, head.content) == (200, b"")


def test_body_compressed_in_another_way_is_415(server: Server):
    body = gzip.compress(clouds.ply())
    assert "gzip" in problem(server.post(data=body, headers={"Content-Encoding": "br"}), 415)


def test_body_over_the_limit_is_413_by_its_length_alone(server: Server):
    with server.connect() as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT_BYTES + 1}\r\n\r\n"
        status, headers, body = raw_exchange(connection, head.encode())
    assert (status, headers["content-type"]) == (413, "application/problem+json")
    assert b"4 MiB" in body


def test_chunked_body_over_the_limit_is_413_and_not_cut(server: Server):
    def pieces(size: int):
        yield clouds.ply()
        for _ in range(size // 65536):
            yield bytes(65536)

    assert "4 MiB" in problem(server.post(data=pieces(LIMIT_BYTES)), 413)


def test_chunked_body_one_byte_over_the_limit_is_413(server: Server):
    halves = [bytes(LIMIT_BYTES // 2), bytes(LIMIT_BYTES // 2)]
    problem(server.post(data=iter([*halves, b"x"])), 413)
    problem(server.post(data=iter(halves)), 415)  # at the limit it is read, and is no cloud


def test_form_over_the_limit_is_413(server: Server):
    problem(server.post(files={"file": ("a.ply", bytes(LIMIT_BYTES))}), 413)


def test_body_shorter_than_its_length_is_400_and_not_a_smaller_cloud(server: Server):
    text = "\n".join(f"{i} {i} {i}" for i in range(100)).encode()
    with server.connect() as connection:
        head = f"POST /predict?filename=a.xyz HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text) + 10}\r\n\r\n"
        status, _, body = raw_exchange(connection, head.encode() + text, end=True)
    assert status == 400
    assert b"cut short" in body


@pytest.mark.parametrize("tail", [b"", b"zz\r\n", b"5\r\nabc"])
def test_broken_chunks_are_400(server: Server, tail: bytes):
    head = b"POST /predict?filename=a.xyz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n1 2 3\n\r\n"
    with server.connect() as connection:
        status, headers, body = raw_exchange(connection, head + tail, end=True)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert b"broke off" in body


def test_form_that_ends_early_is_400(server: Server):
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.xyz"\r\n\r\n1 2 3\n4 5 6\n7 8 9'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert "malformed or cut short" in problem(server.post(data=form, headers=headers), 400)
    assert "malformed" in problem(server.post(data=form, headers={"Content-Type": "multipart/form-data"}), 400)


def test_upload_that_stalls_is_408(server: Server):
    with server.connect() as connection:
        status, _, body = raw_exchange(connection, b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1 2")
    assert status == 408
    assert b"time allowed" in body


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"data": b""},
        {"files": {"cloud": clouds.ply()}},
        {"files": [("file", clouds.ply()), ("file", clouds.ply())]},
        {"files": {"file": ("empty.ply", b"")}},
        {"files": {"file": (None, "not a file")}},
    ],
)
def test_no_file_or_several_is_400_and_says_how_to_send_one(server: Server, kwargs: dict):
    assert "curl -F file=@" in problem(server.post(**kwargs), 400)


def test_log_says_why_a_request_was_refused_and_to_whom(server: Server):
    for path, status, given in (
        ("/predict?seed=x", 400, "seed-x"),
        ("/nothing", 404, "no-path"),
        ("/health", 405, "no"),
    ):
        detail = problem(server.post(path, data=clouds.ply(), headers={"X-Request-Id": given}), status)
        (line,) = server.wait_logged(event="request", id=given)
        assert (line["status"], line["detail"], line["level"]) == (status, detail, "info")
        assert (line["client"], line["path"]) == ("127.0.0.1", path.partition("?")[0])
    server.get("/health", headers={"X-Request-Id": "all-is-well"})
    (line,) = server.wait_logged(event="request", id="all-is-well")
    assert "detail" not in line
    assert "request_id" not in line


def test_large_option_of_a_form_is_refused_as_an_option(server: Server):
    response = server.post(files={"file": clouds.ply()}, data={"columns": "x" * 600_000})
    assert response.status_code in (400, 422)
    problem(server.post(files={"file": clouds.ply()}, data={"columns": "x" * 3_000_000}), 413)


def test_form_without_the_at_sign_of_curl_is_told_of_it(server: Server):
    detail = problem(server.post(files={"file": (None, "a.npy")}), 400)
    assert "'a.npy'" in detail
    assert "put @ before" in detail


def test_bytes_of_no_format_are_415_and_broken_files_422(server: Server):
    problem(server.post(data=bytes(range(256)) * 20), 415)
    problem(server.post(files={"file": ("a.laz", clouds.laz()[:3000])}), 422)
    problem(server.post(data=b'{"points": [[1, 2', headers={"Content-Type": "application/json"}), 422)
    problem(server.post(json={"points": [[1, 2, 3]], "output": "csv"}), 400)


def test_answers_never_name_the_python_stack(server: Server):
    headers = server.get("/nothing").headers
    assert not any(character.isdigit() for character in headers.get("Server", ""))


def test_uploads_that_fill_the_queue_get_429_while_health_answers(server: Server):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n"
    with ExitStack() as stalled:
        for _ in range(20):  # twelve hold the queue until they are found stalled; the others are refused
            stalled.enter_context(server.connect()).sendall(head + bytes(20000))
        answers = (server.post(data=b"1 2 3") for _ in range(20))
        refused = next(answer for answer in answers if answer.status_code != 200)
        problem(refused, 429)
        assert int(refused.headers["Retry-After"]) >= 1
        assert server.get("/health").status_code == 200


def test_file_that_curl_d_has_damaged_gets_the_way_to_send_it(server: Server):
    damaged = clouds.ply().replace(b"\n", b"").replace(b"\0", b"")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert "--data-binary" in server.post(data=damaged, headers=headers).json()["detail"]
    assert "--data-binary" not in server.post(data=damaged).json()["detail"]
