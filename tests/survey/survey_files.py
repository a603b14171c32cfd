"""Tiles of a made-up survey: small LAS files side by side, and servers that have them."""

import struct
from contextlib import contextmanager
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import laspy
import numpy as np
from laspy.vlrs.known import WktCoordinateSystemVlr
from pyproj import CRS

from app.survey.tile import Tile
from tests.clouds.las_samples import to_bytes

SIZE_M = 100.0
UTM = "EPSG:25832"
ORIGIN = (500_000.0, 5_800_000.0)


@cache
def las(x=0, y=0, *, crs=UTM, version="1.4", num_points=50, compressed=False, format=6, origin=ORIGIN):
    """A tile of SIZE_M at column ``x`` and row ``y`` of a survey, as bytes."""
    header = laspy.LasHeader(version=version, point_format=format)
    header.scales = [0.01, 0.01, 0.01]
    header.offsets = [*origin, 0.0]
    if crs:
        header.vlrs.append(WktCoordinateSystemVlr(CRS.from_user_input(crs).to_wkt("WKT1_GDAL")))
        header.global_encoding.wkt = True
    data = laspy.LasData(header)
    rng = np.random.default_rng(x * 1000 + y)
    corners = np.array([[0.0, 0.0, 5.0], [SIZE_M, SIZE_M, 25.0]])
    inner = rng.uniform(corners[0], corners[1], (max(0, num_points - 2), 3))
    place = np.array([origin[0] + x * SIZE_M, origin[1] + y * SIZE_M, 0.0])
    data.xyz = np.concatenate([corners, inner])[:num_points] + place
    return to_bytes(data, compressed)


def tile(name, bounds=None, crs=UTM, metres=(1.0, 1.0), **others):
    """A tile that no file stands behind; ``bounds`` are low x, low y, high x, high y."""
    whole = (bounds[0], bounds[1], 0.0, bounds[2], bounds[3], 10.0) if bounds else None
    return Tile(name, f"/{name}", "laz", 1000, "1", 10, whole, crs, metres, **others)


def moved(data, x, y):
    """The LAS file ``data`` as one that lies ``x`` and ``y`` further, by its header alone."""
    data = bytearray(data)
    for start, step in ((155, x), (163, y), (179, x), (187, x), (195, y), (203, y)):
        struct.pack_into("<d", data, start, struct.unpack_from("<d", data, start)[0] + step)
    return bytes(data)


class Files(SimpleHTTPRequestHandler):
    """Sends files, pieces of them too, and fails as its server's ``plan`` of path and statuses says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        plan = self.server.plan.get(self.path.split("?")[0], [])
        fault = plan.pop(0) if plan else None
        if isinstance(fault, int):
            return self.send_error(fault)
        path = self.translate_path(self.path)
        wanted = self.headers.get("Range") if self.server.knows_ranges else None
        try:
            body = Path(path).read_bytes()
        except IsADirectoryError:
            return super().do_GET()
        except OSError:
            return self.send_error(404)
        status, part, extra = 200, body, []
        if wanted:
            start, end = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
            status, part = (206, body[start : end + 1]) if start < len(body) else (416, b"")
            span = f"{start}-{start + len(part) - 1}" if part else "*"
            extra = [("Content-Range", f"bytes {span}/{len(body)}")]
        self.send_response(status)
        for name, value in [("Content-Length", str(len(part))), ("ETag", f'"{hash(body):x}"'), *extra]:
            self.send_header(name, value)
        self.end_headers()
        if fault == "silence":
            self.server.released.wait(20)
        self.close_connection = fault is not None
        return self.wfile.write(part[: len(part) // 2] if fault else part)

    def log_message(self, *about):
        pass


class Server(ThreadingHTTPServer):
    """Of ``Files``; clients that hang up are no news."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


@contextmanager
def running(server):
    """``server`` of ``http.server`` answers until the context ends."""
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web_server(folder, event):
    """A web server of ``folder`` and its address."""
    server = Server(("127.0.0.1", 0), lambda *about: Files(*about, directory=str(folder)))
    server.asked, server.plan, server.knows_ranges, server.released = [], {}, True, event
    server.url = f"http://127.0.0.1:{server.server_port}/"
    with running(server):
        try:
            yield server
        finally:
            event.set()
