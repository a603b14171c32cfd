"""A job that is being received, in a folder that becomes the job's once all of it is there."""

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from app.errors import SHORT, BadRequest, NoRoom, NotReady, Problem
from app.survey.jobs.job import UPLOADS
from app.survey.lists import VPC_SUFFIX
from app.survey.sources import unique

if TYPE_CHECKING:
    from app.survey.jobs.store import Store

NAME_BYTES = 200
RETRY_S = 60.0
FOLDER_BYTES = 4096  # that a folder takes of the disk, on most file systems


class Draft:
    """A job that is being received.

    Attributes:
        store: where it will be.
        id: of the job.
        folder: where it is until then.
        files: paths in that folder.
    """

    def __init__(self, store: "Store", name: str, folder: Path):
        self.store = store
        self.id = name
        self.folder = folder
        self.files: list[str] = []
        self._names: dict[str, int] = {}

    def file(self, name: str) -> "DraftFile":
        """A file that a client calls ``name``, which may be a relative path, to be written.

        Raises BadRequest for a list of other files, NoRoom.
        """
        if name.lower().endswith(VPC_SUFFIX):
            raise BadRequest("A virtual point cloud names files by paths: send the files themselves.")
        place = PurePosixPath(UPLOADS, str(len(self.files)), unique(_safe(name), self._names))
        self.files.append(str(place))
        path = self.folder / place
        num_bytes = FOLDER_BYTES * (len(place.parts) - 1)
        self.store.check_room(num_bytes)
        path.parent.mkdir(parents=True)
        self.store.count(self.id, num_bytes)
        return DraftFile(self, path)


class DraftFile:
    """A file of a job that is being received.

    Attributes:
        name: of the file.
        size: bytes written so far.
    """

    def __init__(self, draft: Draft, path: Path):
        self.name = path.name
        self.size = 0
        self._draft = draft
        self._file = path.open("xb")

    def write(self, data: bytes) -> int:
        """Write all of ``data``; raises NoRoom."""
        self._draft.store.check_room(len(data))
        try:
            self._file.write(data)
        except OSError as error:
            raise problem_of(error) from error
        self._draft.store.count(self._draft.id, len(data))
        self.size += len(data)
        return len(data)

    def close(self) -> None:
        """Nothing more is written; may be called twice."""
        self._file.close()


def problem_of(error: OSError) -> Problem:
    """What it means that a job cannot be kept because of ``error``."""
    reason = error.strerror or type(error).__name__
    if error.errno in SHORT:
        return NotReady(f"The server is short of resources for the job ({reason}); try again.", retry_after_s=5.0)
    return NoRoom(
        f"The server cannot keep the job: {reason}. Its operator finds the folder in POINTSERVE_JOBS_DIR.",
        retry_after_s=RETRY_S,
    )


def _safe(name: str) -> str:
    """``name`` as a path that stays below the folder it is appended to, as this machine can have it."""
    parts = [_safe_part(part) for part in name.rpartition("\\")[2].split("/")]
    return "/".join(part for part in parts if part) or "cloud"


def _safe_part(name: str) -> str:
    shown = "".join(char for char in name if char.isprintable())
    return shown.encode("utf-8", "replace")[-NAME_BYTES:].decode("utf-8", "ignore").lstrip(".")
