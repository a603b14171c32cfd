"""The job of a server that a folder of answers waits for, as a file there keeps it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from app.errors import BadRequest
from app.survey import target

FILE = "survey-job.json"


@dataclass(frozen=True)
class Ticket:
    """What was asked of which server.

    Attributes:
        url: of the server.
        asked: a hash of what was asked for.
        key: the Idempotency-Key of the request, so that it can come again.
        id: of the job, '' until the server gave it one.
        num_failed: files without an answer, once the job has ended and all answers are here; None before.
        answers: bytes of each by its name below the folder, once all are here.
    """

    url: str
    asked: str
    key: str
    id: str = ""
    num_failed: int | None = None
    answers: dict[str, int] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing of the job is missing in the folder."""
        return self.num_failed is not None

    def lost(self, folder: Path) -> list[str]:
        """Names of the answers that were brought to ``folder`` and are not there as they were."""
        return [name for name, size in self.answers.items() if not _has_size(folder / name, size)]

    def write(self, folder: Path) -> None:
        """Keep it in ``folder``, whole or not at all; raises as ``target.write`` does."""
        target.write(str(folder / FILE), [json.dumps(asdict(self)).encode()])

    @classmethod
    def read(cls, folder: Path) -> "Ticket | None":
        """The one in ``folder``, None if there is none; raises BadRequest if it cannot be read."""
        try:
            return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise BadRequest(f"{folder / FILE} cannot be read ({error}): remove it, or name another folder.") from error


def _has_size(path: Path, num_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == num_bytes
