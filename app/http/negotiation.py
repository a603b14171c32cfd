"""The format of an answer by Accept, and the headers that describe it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from urllib.parse import quote

from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotAcceptable

from app.clouds.catalog import WRITERS, stem
from app.clouds.cloud import RefinedStep

WARNINGS_BYTES = 4096


def output_for(accept: MIMEAccept) -> str:
    """The name of the writer that ``accept`` prefers; json if it has no preference.

    Raises:
        NotAcceptable: no writer makes any of the media types accepted.
    """
    by_media_type = {writer.media_type: name for name, writer in WRITERS.items()}
    if not accept:
        return "json"
    if best := accept.best_match(by_media_type):
        return by_media_type[best]
    raise NotAcceptable(
        f"None of the media types in Accept can be answered. Accept one of {', '.join(by_media_type)}, or name a "
        f"format with output=: {', '.join(WRITERS)}."
    )


def attachment(filename: str, extension: str) -> str:
    """Content-Disposition for the answer to ``filename``: ``tile.laz`` gives ``tile_classified.laz``."""
    base = stem(PurePosixPath(re.sub(r"[\x00-\x1f\x7f]", "", filename).replace("\\", "/")).name)[:100] or "cloud"
    name = f"{base}_classified.{extension.removeprefix('.')}"
    plain = re.sub(r'[^\x20-\x7e]|["%]', "_", name)
    if plain == name:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def warnings_header(warnings: list[str]) -> str:
    """``warnings`` as an ASCII JSON array of at most ``WARNINGS_BYTES``; what does not fit is counted."""
    kept = list(warnings)
    while len(value := json.dumps(kept + _rest(len(warnings) - len(kept)))) > WARNINGS_BYTES:
        kept.pop()
    return value


def refined_header(steps: Sequence[RefinedStep]) -> str:
    """The steps that refined the labels as a JSON array: ``[{"step": "unclassified", "changed": 12}]``."""
    return json.dumps([asdict(done) for done in steps])


def _rest(num_left: int) -> list[str]:
    return [f"{num_left} more"] if num_left else []


def server_timing(timings_ms: Mapping[str, float]) -> str:
    """The Server-Timing header: ``decode;dur=12.3, segment;dur=45.6``."""
    return ", ".join(f"{re.sub(r'[^A-Za-z0-9_-]', '_', stage)};dur={ms:.1f}" for stage, ms in timings_ms.items())
