"""Files that name the files of a survey: lists with a source a line, and virtual point clouds (.vpc)."""

from typing import Any

import orjson

from app.errors import BadCloud, BadRequest
from app.survey import files, remote

VPC_SUFFIX, COMMENT = ".vpc", "#"
MAX_BYTES = 1 << 30


def lines(path: str) -> list[str]:
    """The sources in the list at ``path``: a line each, without empty ones and comments. A Problem if there is none."""
    found = [line.strip() for line in _whole(path).decode("utf-8-sig", "surrogateescape").splitlines()]
    return [line for line in found if line and not line.startswith(COMMENT)]


def hrefs(path: str) -> list[str]:
    """The files of a virtual point cloud, as it names them: of each item the asset with the role data, or the first.

    Raises BadCloud if the file at ``path`` is no virtual point cloud, and Problems if it cannot be read.
    """
    data = _whole(path)
    try:
        return [_href(feature["assets"]) for feature in orjson.loads(data)["features"]]
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise BadCloud(
            f"{remote.shown(path)} is no virtual point cloud: expected a FeatureCollection of STAC items, each "
            f"with an asset and its href ({type(error).__name__})."
        ) from None


def _href(assets: dict[str, dict[str, Any]]) -> str:
    asset = next((asset for asset in assets.values() if "data" in asset.get("roles", ())), None)
    href = (asset or assets.get("data") or next(iter(assets.values())))["href"]
    if not isinstance(href, str) or not href:
        raise ValueError
    return href


def _whole(path: str) -> bytes:
    data, stat = files.piece(path, 0, MAX_BYTES)
    if len(data) < stat.num_bytes:
        raise BadRequest(f"{remote.shown(path)} has {stat.num_bytes:,} bytes; as a list, up to {MAX_BYTES:,} are read.")
    return data
