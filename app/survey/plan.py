"""The plan of a survey: which tiles are to be labelled, in which order, with which neighbours, and where answers go."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath
from string import Formatter

import numpy as np

from app.clouds.catalog import FORMATS, WRITERS, stem, written_as
from app.clouds.cloud import Bounds
from app.errors import BadRequest, Forbidden, NotFound
from app.options import Options
from app.survey import ahead, files, remote
from app.survey.index import Index, index
from app.survey.manifest import Manifest
from app.survey.row import Row, State
from app.survey.tile import Tile
from app.survey.workers import Model

FALLBACK = "laz"  # for formats that are not written
DEFAULT_HALO_M = 32.0  # if the model does not tell
FIELDS = ("stem", "suffix")  # of a pattern of names


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a survey.

    Attributes:
        out: where the answers go, an absolute path or the URL of a prefix of an object store, as ``target.absolute``
            gives it.
        options: of the predictions; ``output`` is the format of all answers, None for that of each file.
        name: pattern of the answers' names, with {stem} and {suffix}.
        buffer_m: context around each tile, None for the halo of the model.
        retry_failed, force: which tiles are done again, those that failed, or all.
    """

    out: str
    options: Options
    name: str = "{stem}{suffix}"
    buffer_m: float | None = None
    retry_failed: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        try:
            fields = [field for _, field, _, _ in Formatter().parse(self.name) if field is not None]
            shown = self.name.format(stem="a", suffix=".laz")
        except (ValueError, LookupError, AttributeError):
            fields, shown = [], ""
        if "stem" not in fields or not {*fields} <= {*FIELDS} or "/" in shown or shown.startswith("."):
            raise BadRequest(
                f"{self.name!r} is no pattern for names of files, such as {{stem}}_classified{{suffix}} is one."
            )

    def format_of(self, tile: Tile) -> str:
        """That of the answer of a tile, a key of ``app.clouds.catalog.WRITERS``."""
        return self.options.output or written_as(tile.name) or (tile.format if tile.format in WRITERS else FALLBACK)

    def output_of(self, tile: Tile) -> str:
        """Path of the answer of a tile."""
        place = PurePosixPath(tile.name)
        suffix = FORMATS[self.format_of(tile)].suffix
        own = place.name[-len(suffix) :] if place.name.lower().endswith(suffix) else suffix  # .LAZ stays
        return f"{self.out}/{place.parent / self.name.format(stem=stem(place.name), suffix=own)}"


class Plan:
    """The plan of the N tiles in a manifest. Tiles have numbers from 0, and the manifest's ids.

    Attributes:
        model, wanted: what it was made for; options name the model, so that every tile gets this one.
        buffer_m: context around each tile.
        index: neighbours and order.
        ids: int64 (N,), in the manifest.
        is_wanted: bool (N,), whether a tile is labelled in this run.
        num_points: int64 (N,) by the headers, 0 if they do not tell.
        clashes: numbers of tiles whose answer would have the place of another one's.
    """

    def __init__(self, manifest: Manifest, model: Model, wanted: Wanted):
        """Look at every tile of ``manifest``, which is not changed but for its frames."""
        self.model = model
        wanted = replace(wanted, options=replace(wanted.options, model=model.name))
        self.wanted = wanted
        self.buffer_m = wanted.buffer_m if wanted.buffer_m is not None else model.halo_m or DEFAULT_HALO_M
        num_tiles = len(manifest)
        self._marks = np.zeros(num_tiles, np.uint64)  # one of each file: where it lies and what it holds
        self.index: Index = index(self._marked(manifest), self.buffer_m)
        self.ids = np.fromiter((number for (number,) in manifest.columns("id")), np.int64, num_tiles)
        self.num_points = np.fromiter((n or 0 for (n,) in manifest.columns("num_points")), np.int64, num_tiles)
        self.is_wanted = np.zeros(num_tiles, bool)
        self.clashes: set[int] = set()
        self._frames = _frames(manifest, self.index) if self.buffer_m > 0 else {}
        asked = asdict(replace(wanted.options, model="", timeout_s=None))
        self._common = _digest(model.digest, json.dumps(asked, sort_keys=True), f"{self.buffer_m:.9g}").hex()
        self._options_as = lru_cache(lambda output: replace(wanted.options, output=output))
        self._choose(manifest)

    def _marked(self, manifest: Manifest) -> Iterator[Tile]:
        """Every tile, once its mark is kept."""
        for number, row in enumerate(manifest.rows()):
            tile = row.tile
            about = (tile.name, tile.version, tile.format, tile.crs, str(tile.bounds), str(tile.metres_per_unit))
            self._marks[number] = int.from_bytes(_digest(*about)[:8], "little")
            yield tile

    def _choose(self, manifest: Manifest) -> None:
        """Say which tiles are wanted."""
        taken: set[bytes] = set()
        rows = self._unchanged(manifest)
        checked = ahead.each(_checked, rows) if remote.scheme(self.wanted.out) else map(_checked, rows)
        for number, (row, output, is_unchanged) in enumerate(checked):
            if row.state is State.CONTEXT:
                continue
            place = _digest(output)[:8]
            if place in taken:
                self.clashes.add(number)
            taken.add(place)
            is_wanted = not is_unchanged
            if is_unchanged:
                is_lacking = row.state is not State.DONE or bool(row.lacking)
                is_wanted = is_lacking and self.wanted.retry_failed
            self.is_wanted[number] = is_wanted or self.wanted.force

    def _unchanged(self, manifest: Manifest) -> "Iterator[_Checked]":
        """Every row, the place of its answer, and whether it ended and nothing changed that the answer depends on."""
        for number, row in enumerate(manifest.rows()):
            is_ended = row.state in (State.DONE, State.FAILED, State.QUARANTINED)
            yield row, self.wanted.output_of(row.tile), is_ended and row.basis == self.basis(number)

    def __len__(self) -> int:
        return len(self.ids)

    def order(self) -> Iterator[int]:
        """Numbers of the tiles to be labelled, in that order."""
        return (int(number) for number in self.index.order if self.is_wanted[number])

    def basis(self, number: int) -> str:
        """Digest of all that the answer of a tile depends on: model, options, files, neighbours, frame."""
        near = [self._marks[number], *np.sort(self._marks[self.index.neighbours(number)])]
        frame = self._frames.get(int(self.index.group_of[number]))
        return _digest(self._common, np.array(near).tobytes().hex(), str(frame)).hex()

    def frame(self, number: int) -> Bounds | None:
        """The box by which grids of the survey are laid out; None without context."""
        return self._frames.get(int(self.index.group_of[number]))

    def options_for(self, tile: Tile) -> Options:
        """The options for a tile, with the format of its answer."""
        return self._options_as(self.wanted.format_of(tile))


def _frames(manifest: Manifest, found: Index) -> dict[int, Bounds]:
    """The frame of every group that has bounds. A group keeps the one that it got first, so that a survey can grow."""
    names = [json.dumps([group.crs, group.metres_per_unit]) for group in found.groups]
    boxes = np.full((len(names), 6), np.nan)
    rows = manifest.columns("min_x", "min_y", "min_z", "max_x", "max_y", "max_z")
    for number, box in enumerate(rows):
        if box[0] is not None:
            group = found.group_of[number]
            boxes[group, :3] = np.fmin(boxes[group, :3], box[:3])
            boxes[group, 3:] = np.fmax(boxes[group, 3:], box[3:])
    kept: dict[str, Sequence[float]] = manifest.get("frames", {})
    kept = {name: box.tolist() for name, box in zip(names, boxes, strict=True) if not np.isnan(box[0])} | kept
    manifest.set(frames=kept)
    return {group: (*kept[name],) for group, name in enumerate(names) if name in kept}  # type: ignore[misc]


_Checked = tuple[Row, str, bool]


def _checked(found: _Checked) -> _Checked:
    """``found``, which is changed also if its answer is not there any more."""
    row, output, is_unchanged = found
    if is_unchanged and row.state is State.DONE:
        is_unchanged = row.output == output and _is_there(row)
    return row, output, is_unchanged


def _is_there(row: Row) -> bool:
    """Whether the answer of a tile is where it was put. Raises NotReady if a store does not say."""
    try:
        found = files.stat(row.output)
    except (NotFound, Forbidden):  # which a store says of what is not there to those who may not list it
        return False
    return found.num_bytes == row.output_bytes and row.output_version in ("", found.version)


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
