"""Clouds as JSON: {"points": [[x, y, z, …], …], "fields": ["x", "y", "z", …]}."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud
from app.clouds.columns import XYZ, Wanted, cloud_from_columns, missing_values, numbered
from app.clouds.columns_option import check_columns
from app.clouds.encoding import is_text
from app.clouds.needs import Keep, Needs, of_table
from app.clouds.occurrences import count
from app.errors import BadCloud, BadRequest, TooLarge

SHAPE = 'expected {"points": [[x, y, z, …], …], "fields": ["x", "y", "z", …]}'
# What Python and JavaScript write for numbers that are not finite, which JSON does not have.
NOT_FINITE = re.compile(rb"(?<=[\[,\s])[-+]?(?:NaN|Infinity)(?=[\],\s])")


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """Rows of numbers, null or NaN for none; ``fields`` or ``columns`` name them, needed unless a row is x, y, z."""
    if max_points is not None and count(data, b"[") > max_points + 3:
        raise TooLarge(f"The JSON holds more than {max_points:,} points. Send large clouds as LAZ, PLY or NPY.")
    points, fields = _parts(data)
    if not isinstance(points, list):
        raise BadCloud(f"'points' is not a list; {SHAPE}.")
    check_num_points(len(points), max_points, "The JSON")
    table = _table(points)
    if fields is not None:
        if not isinstance(fields, list) or not all(isinstance(name, str) for name in fields):
            raise BadCloud(f"'fields' is not a list of names; {SHAPE}.")
        names = tuple(fields)
    elif isinstance(columns, tuple):
        names = check_columns(columns)
    elif table.shape[1] == 3:
        names = XYZ
    elif columns is not None:
        names = numbered(table.shape[1])
    else:
        raise BadCloud(
            f"Points have {table.shape[1]} values each; add 'fields' to name them: {SHAPE}.",
            columns=numbered(table.shape[1]),
        )
    if len(names) != table.shape[1]:
        raise BadCloud(f"'fields' names {len(names)} columns but points have {table.shape[1]} values each.")
    warnings = missing_values(names, table)
    return cloud_from_columns("json", zip(names, table.T, strict=True), wanted=columns, warnings=warnings)


def _parts(data: memoryview) -> tuple[object, object]:
    try:
        body = orjson.loads(NOT_FINITE.sub(b"null", data) if NOT_FINITE.search(data) else data)
    except orjson.JSONDecodeError as error:
        raise BadCloud(f"Not valid JSON at line {error.lineno}, column {error.colno}; {SHAPE}.") from None
    if isinstance(body, list):
        return body, None
    if not isinstance(body, dict) or "points" not in body:
        raise BadCloud(f"The JSON has no 'points'; {SHAPE}.")
    unknown = [key for key in body if key not in ("points", "fields")]
    if unknown:
        raise BadRequest(f"Unknown JSON key '{unknown[0]:.60}'; {SHAPE}. Options go into the query string.")
    return body["points"], body.get("fields")


def _table(points: list[Any]) -> np.ndarray:
    try:
        table = np.array(points)
        if table.dtype == object and table.ndim == 2:
            if not {type(value) for row in points for value in row} <= {int, float, type(None)}:
                raise ValueError
            table = table.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        table = np.empty(0, object)
    if table.ndim != 2 or table.dtype.kind not in "iuf":
        raise BadCloud(f"{_first_fault(points)}; {SHAPE}.")
    return table


def _first_fault(points: list[Any]) -> str:
    width = len(points[0]) if isinstance(points[0], list) else 0
    for index, point in enumerate(points):
        if not isinstance(point, list):
            return f"Point {index} is not a list"
        if len(point) != width:
            return f"Point {index} has {len(point)} values, the first has {width}"
        for value in point:
            if isinstance(value, bool) or not isinstance(value, int | float | None):
                return f"Point {index} holds {value!r:.40}, not a number"
    return "Points are not rows of numbers"


def looks_like_json(head: bytes) -> bool:
    """Whether ``head`` begins as an object or a list does."""
    return is_text(head) and head.lstrip()[:1] in (b"{", b"[")


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """By the numbers of lists and of values."""
    rows = count(data, b"[")
    values = count(data, b",") + rows
    width = max(3, values // max(1, rows))
    needs = of_table(rows, width, 8 * width, keep, 16 * width)
    return replace(needs, work_bytes=needs.work_bytes + _parsed_bytes(data), is_exact=False)


def _parsed_bytes(data: memoryview) -> int:
    """What ``data`` takes as Python objects while it is parsed."""
    text = 5 * len(data)  # a copy, and strings, of up to four bytes a character
    lists, maps, values = count(data, b"["), count(data, b"{"), count(data, b",")
    return text + 120 * lists + 400 * maps + 72 * (values + lists + maps) + 120 * count(data, b":")
