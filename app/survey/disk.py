"""The disk that tiles take which go in pieces: how much, and which of them may have it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Condition
from uuid import uuid4

from app.clouds import las_writer
from app.clouds.las_file import LasFile, standard_length
from app.errors import NoRoom
from app.options import Options
from app.survey import target

BLOCK_BYTES = 2  # of the number of a point's block
CLASS_BYTES = 1  # that an answer changes in a record
PACKED = 0.5  # of a record of the point format's own, that LAZ takes at most; dimensions beside it may take all
STAT_BYTES = 512  # of a block as the operating system counts them
WAIT_S = 1.0  # between two looks for room


def needed_bytes(file: LasFile, options: Options, points_at_once: int) -> int:
    """What the pieces of ``file`` and its answers take at most, about, for workers that take ``points_at_once``.

    First there are the records of all points and the numbers of their blocks. Beside them come what answers change
    and add, and at a time the files of the pieces that are labelled, or the whole answer.
    """
    added = las_writer.added_bytes(options.fields)
    pieces = file.num_points * (file.record_length + BLOCK_BYTES + CLASS_BYTES + added)
    at_work = 2 * min(file.num_points, points_at_once) * (file.record_length + added)  # some are read meanwhile
    return pieces + max(at_work, _answer_bytes(file, options.output, added))


def _answer_bytes(file: LasFile, output: str | None, added: int) -> int:
    if output == "las":
        return file.points_start + file.num_points * (file.record_length + added)
    if file.compressed:
        return len(file.data) + file.num_points * added
    own = standard_length(file.point_format)
    return file.points_start + int(file.num_points * (PACKED * own + file.record_length - own + added))


class Claim:
    """The disk that the tile ``name`` may come to take, in a ``folder`` of its own. Closing ``held`` gives it back."""

    def __init__(self, name: str, folder: Path, num_bytes: int):
        self.name = name
        self.folder = folder
        self.num_bytes = num_bytes
        self.held = ExitStack()
        self.is_in_use = True

    @property
    def left_bytes(self) -> int:
        """What is not written yet of what it may take."""
        left = self.num_bytes
        for file in self.folder.iterdir():
            with suppress(FileNotFoundError):
                left -= file.stat().st_blocks * STAT_BYTES
        return max(0, left)

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Says of which tile files cannot be written: raises NoRoom, or NotReady if that may be otherwise soon."""
        try:
            with target.explained(self.folder):
                yield
        except NoRoom as problem:
            raise NoRoom(f"{self.name} goes in pieces: {problem.detail}") from problem


class Disk:
    """The disk of a run, for many threads: each tile has a claim before it is cut, so that none ends for another."""

    def __init__(self, folder: Path):
        """The tiles have their folders in ``folder``."""
        self._folder = folder
        self._changed = Condition()
        self._claims: list[Claim] = []

    def claim(self, name: str, num_bytes: int, check_cancelled: Callable[[], None]) -> Claim:
        """Room of ``num_bytes``, in use, and an empty folder for the tile ``name``.

        If there is too little, tiles that are not in use give up theirs, the oldest first; then it waits for others.
        Raises NoRoom if that does not suffice, and what ``check_cancelled`` raises.
        """
        with self._changed, target.explained(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            while num_bytes > (free := self._free_bytes()):
                unused = next((claim for claim in self._claims if not claim.is_in_use), None)
                if unused:
                    self.give_back(unused)
                elif self._claims:
                    self._changed.wait(WAIT_S)
                    check_cancelled()
                else:
                    needed_gb, free_gb = num_bytes / 1e9, free / 1e9
                    raise NoRoom(
                        f"{name} goes in pieces, which take about {needed_gb:.1f} GB with its answer; the disk has "
                        f"{free_gb:.1f} GB left."
                    )
            claim = Claim(name, self._folder / uuid4().hex, num_bytes)
            claim.folder.mkdir()
            claim.held.callback(shutil.rmtree, claim.folder, ignore_errors=True)
            self._claims.append(claim)
            return claim

    def use(self, claim: Claim) -> bool:
        """Have ``claim`` stay until ``rest``; whether it is still there."""
        with self._changed:
            claim.is_in_use = claim in self._claims
            return claim.is_in_use

    def rest(self, claim: Claim) -> None:
        """Nobody uses ``claim`` at the moment."""
        with self._changed:
            claim.is_in_use = False
            self._changed.notify_all()

    def give_back(self, claim: Claim) -> None:
        """Remove the files of ``claim``; may be called twice."""
        with self._changed:
            if claim in self._claims:
                self._claims.remove(claim)
                claim.held.close()
                self._changed.notify_all()

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._folder).free - sum(claim.left_bytes for claim in self._claims)
