"""Headers that are made from what clients and models call things."""

import json

import pytest
from werkzeug.datastructures import MIMEAccept

from app.http.negotiation import WARNINGS_BYTES, attachment, output_for, server_timing, warnings_header


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("tile.laz", 'attachment; filename="tile_classified.laz"'),
        ("", 'attachment; filename="cloud_classified.laz"'),
        ("C:\\data\\a b.ply", 'attachment; filename="a b_classified.laz"'),
        ("../../etc/passwd", 'attachment; filename="passwd_classified.laz"'),
        ('x"\r\nSet-Cookie: a.las', "attachment; filename=\"x_Set-Cookie: a_classified.laz\"; filename*=UTF-8''x%22"),
    ],
)
def test_attachment_keeps_the_base_name_and_nothing_that_breaks_a_header(filename: str, expected: str):
    header = attachment(filename, ".laz")
    assert header.startswith(expected)
    assert "\r" not in header
    assert "\n" not in header


def test_attachment_of_a_name_that_is_not_ascii():
    assert attachment("gärten.las", ".laz").endswith("filename*=UTF-8''g%C3%A4rten_classified.laz")


def test_warnings_are_ascii_json_of_bounded_length():
    assert json.loads(warnings_header(["é\n"])) == ["é\n"]
    assert warnings_header(["é\n"]).isascii()
    assert warnings_header([]) == "[]"
    many = warnings_header(["w" * 100] * 100)
    assert len(many) <= WARNINGS_BYTES
    kept = json.loads(many)
    assert kept[-1] == f"{100 - (len(kept) - 1)} more"
    assert json.loads(warnings_header(["w" * 10_000])) == ["1 more"]


def test_server_timing():
    assert server_timing({"decode": 1.25, "net work": 3}) == "decode;dur=1.2, net_work;dur=3.0"


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ([], "json"),
        ([("*/*", 1)], "json"),
        ([("application/x-npy", 1), ("application/x-npz", 0.5)], "npy"),
        ([("application/x-npy", 1), ("application/x-npz", 1)], "npz"),
        ([("text/csv", 1), ("application/vnd.laszip", 1), ("application/vnd.las", 1)], "las"),
    ],
)
def test_of_formats_that_are_equally_welcome_the_answer_has_the_first_of_the_catalog(accepted, expected):
    assert output_for(MIMEAccept(accepted)) == expected
