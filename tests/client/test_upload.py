"""Clouds as bodies: pipes, files that change, files that are in use; and what ends while it is sent."""

import asyncio
import io
import os
import socket
import tempfile
import threading
import time
import warnings
from urllib.parse import parse_qsl

import numpy as np
import pytest
from pointserve_client import AsyncClient, NotReady, PredictionWarning, TooLarge, driver
from pointserve_client.upload import CHUNK_BYTES, opened
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from tests.client.scripted import CONTENT, GOOD, Scripted, problem
from tests.http import clouds
from tests.http.server import Server

pytestmark = pytest.mark.filterwarnings("ignore::pointserve_client.PredictionWarning")
RETRIED = [problem(503, "starting", Retry_After="0"), (200, GOOD, CONTENT)]


def test_what_a_pipe_gives_is_sent_again(kind):
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(b"cloud")
    with os.fdopen(reading, "rb") as pipe, Scripted(RETRIED) as server, kind(server.url) as client:
        client.predict(pipe)
    assert [body for _, _, body in server.seen] == [b"cloud", b"cloud"]


def test_what_cannot_say_whether_it_is_a_pipe_is_read_as_one(kind):
    class Stream:
        read = io.BytesIO(b"cloud").read

    with Scripted(RETRIED) as server, kind(server.url) as client:
        client.predict(Stream())
    assert [body for _, _, body in server.seen] == [b"cloud", b"cloud"]


def test_a_file_is_sent_from_where_it_stands_and_stays_open(kind):
    file = io.BytesIO(b"header" + b"cloud")
    file.seek(6)
    with Scripted(RETRIED) as server, kind(server.url) as client:
        client.predict(file)
    assert [body for _, _, body in server.seen] == [b"cloud", b"cloud"]
    assert not file.closed


def test_the_name_of_a_file_goes_with_it_unless_another_is_given(kind, tmp_path):
    path = tmp_path / "a b.ply"
    path.write_bytes(b"cloud")
    with Scripted([(200, GOOD, CONTENT)] * 4) as server, kind(server.url) as client, path.open("rb") as file:
        client.predict(path)
        client.predict(file)
        client.predict(path, filename="other.ply")
        client.predict(b"cloud", seed=np.int64(0), timeout_s=None, columns=["x", "y", "z"], crs="")
    assert [seen.partition("?")[2].removesuffix("&output=safetensors") for seen, _, _ in server.seen] == [
        "filename=a+b.ply",
        "filename=a+b.ply",
        "filename=other.ply",
        "seed=0&columns=x%2Cy%2Cz",
    ]


@pytest.mark.parametrize("source", ["path", "pipe"])
def test_options_too_long_for_an_address_go_as_a_form(kind, tmp_path, source):
    path = tmp_path / 'a "b" ü.ply'
    path.write_bytes(b"cloud\r\n" * 60_000)
    area, crs = "1,2,3,4" + " " * 9000, "x" * 2000
    progress = []
    options = {"within": area, "crs": crs, "seed": 3, "on_sent": lambda *so_far: progress.append(so_far)}
    with path.open("rb") as file, Scripted(RETRIED) as server, kind(server.url) as client:
        client.predict(path if source == "path" else io.BytesIO(file.read()), **options)
    for target, headers, body in server.seen:
        media_type, about = parse_options_header(headers["Content-Type"])
        _, fields, files = FormDataParser(lambda **_: io.BytesIO()).parse(
            io.BytesIO(body), media_type, len(body), about
        )
        assert dict(fields) == {"within": area}
        assert files["file"].read() == path.read_bytes()
        query = dict(parse_qsl(target.partition("?")[2]))
        assert (query["crs"], query["seed"]) == (crs, "3")
        assert query.get("filename") == (path.name if source == "path" else None)
    assert progress[-1] == (len(body), len(body))
    assert server.seen[0][2] == server.seen[1][2]


def test_a_name_that_is_no_text_goes_with_the_file(kind, tmp_path):
    path = tmp_path / os.fsdecode(b"a\xff.ply")
    path.write_bytes(b"cloud")
    with Scripted([(200, GOOD, CONTENT)]) as server, kind(server.url) as client:
        client.predict(path)
    assert server.seen[0][0] == "/predict?filename=a%FF.ply&output=safetensors"


def test_a_file_that_becomes_shorter_is_no_fault_of_the_server(kind, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(3 * CHUNK_BYTES))

    def cut(sent: int, total: int) -> None:
        os.truncate(path, CHUNK_BYTES)

    with Scripted([]) as server, kind(server.url) as client, pytest.raises(OSError, match=r"a\.bin has become shorter"):
        client.predict(path, on_sent=cut)


def test_what_is_no_cloud(kind, tmp_path):
    with kind("http://localhost:1") as client:
        with pytest.raises(OSError, match="missing"):
            client.predict(tmp_path / "missing.laz")
        with tempfile.NamedTemporaryFile("w+") as text:
            for nothing in (3, io.StringIO("1 2 3"), text):
                with pytest.raises(TypeError, match="opened as binary"):
                    client.predict(nothing)
        with pytest.raises(ValueError, match="Object arrays"):
            client.predict(np.array([object()]))


def test_lists_by_name_become_arrays():
    with np.load(io.BytesIO(b"".join(iter(rewound({"coord": [[0, 0, 0]]}).read, b"")))) as arrays:
        np.testing.assert_array_equal(arrays["coord"], [[0, 0, 0]])


def rewound(cloud):
    upload = opened(cloud)
    upload.rewind()
    return upload


def test_a_refusal_in_the_middle_of_a_large_body_is_heard(server: Server, kind):
    """The server answers at once and takes no more than a moment's bytes; the answer must not be lost."""
    with kind(server.url, patience_s=0) as client, pytest.raises(TooLarge):
        client.predict(bytes(64 << 20))


def test_a_task_that_is_cancelled_while_it_looks_for_a_refusal_holds_up_no_loop(monkeypatch):
    """The first connection breaks within the body, the second takes all of it and says nothing."""
    monkeypatch.setattr(driver, "REFUSAL_S", 0.5)
    is_over = threading.Event()

    def serve() -> None:
        first, _ = listener.accept()
        first.recv(4096)
        first.close()  # what is unread breaks the connection
        second, _ = listener.accept()
        with second:
            is_over.wait(60)

    async def ask(seconds: float) -> None:
        async with AsyncClient(f"http://127.0.0.1:{listener.getsockname()[1]}", patience_s=0) as client:
            await asyncio.wait_for(client.predict(bytes(64 << 20)), seconds)

    for seconds, expected in ((0.3, asyncio.TimeoutError), (60, NotReady)):
        is_over.clear()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve)
            thread.start()
            begin_s = time.monotonic()
            with pytest.raises(expected):
                asyncio.run(ask(seconds))
            assert time.monotonic() - begin_s < 30
            is_over.set()
            thread.join()


def test_a_task_that_is_cancelled_closes_its_connection(server: Server):
    async def ask() -> None:
        async with AsyncClient(server.url) as client:
            sent = asyncio.Event()
            table = np.tile(clouds.table(), (8, 1))
            task = asyncio.create_task(
                client.predict(
                    table,
                    columns=clouds.FIELDS,
                    mode="exact",
                    on_sent=lambda so_far, total: sent.set() if so_far == total else None,
                )
            )
            await asyncio.wait_for(sent.wait(), 60)
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await client.check_live()

    before = server.log.read_text().count('"status": 499')
    asyncio.run(ask())
    server.wait_logged(status=499)
    assert server.log.read_text().count('"status": 499') == before + 1


def test_the_warnings_of_a_coroutine_point_at_who_awaits_it():
    async def ask() -> None:
        with Scripted([(200, GOOD, CONTENT)]) as server:
            async with AsyncClient(server.url) as client:
                await client.predict(b"cloud")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(ask())
    assert [each.filename for each in caught if each.category is PredictionWarning] == [__file__]


def test_many_tasks_share_a_client():
    async def ask() -> list[int]:
        with Scripted([(200, GOOD, CONTENT)] * 20) as server:
            async with AsyncClient(server.url) as client:
                found = await asyncio.gather(*(client.predict(b"cloud") for _ in range(20)))
        return [len(each.labels) for each in found]

    before = {*threading.enumerate()}  # other tests in this process may have left some
    assert asyncio.run(ask()) == [2] * 20
    assert {*threading.enumerate()} <= before
