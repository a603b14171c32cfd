"""The lines that requests leave in the log."""

import json
import subprocess
import sys

LINES = """
from app.http.log import configure, request_line
configure("info")
for status in (200, 422, 500, 503, 504, 507):
    request_line(status, detail="x" * 9000)
"""


def test_level_says_whether_the_operator_has_something_to_mend():
    written = subprocess.run([sys.executable, "-c", LINES], capture_output=True, check=True, text=True).stderr
    lines = [json.loads(line) for line in written.splitlines()]
    assert {line["event"] for line in lines} == {"request"}
    levels = {line["status"]: line["level"] for line in lines}
    assert levels == {200: "info", 422: "info", 500: "error", 503: "info", 504: "info", 507: "warning"}
    assert all(len(line["detail"]) <= 8000 for line in lines)
