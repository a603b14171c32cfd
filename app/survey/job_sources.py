"""What of the sources of a survey goes to a server: files of this machine, or URLs that the server reads itself."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import BadRequest, Problem
from app.survey import files, remote, sources

MAX_FILES = 1000  # of one job


@dataclass(frozen=True)
class JobSources:
    """Either ``paths`` of files by name, or ``urls``; ``lost`` says by name why files of this machine are not sent."""

    paths: dict[str, str] = field(default_factory=dict)
    urls: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    _versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Sequence[str], out: Path) -> "JobSources":
        """What the sources ``given`` of a survey bring whose answers go to ``out``.

        URLs of folders and globs are the server's to search. Raises BadRequest if there is nothing to label, too much,
        or both files and URLs, and what ``sources.find`` raises.
        """
        found = cls(urls=[text for text in given if remote.scheme(text)])
        for source in sources.find([text for text in given if not remote.scheme(text)], str(out)):
            if not source.error and remote.scheme(source.path):
                found.urls.append(source.path)
            else:
                found._add(source.name, source.path, source.error)
        if found.paths and found.urls:
            raise BadRequest(
                f"A job has files of this machine or URLs that the server reads, not both: {next(iter(found.paths))} "
                f"and {found.urls[0]} need a run each, with folders of their own."
            )
        if not found.paths and not found.urls:
            name, reason = next(iter(found.lost.items()))
            raise BadRequest(f"{name}: {reason}")
        number = len(found.paths or found.urls)
        if number > MAX_FILES:
            raise BadRequest(f"A job takes {MAX_FILES:,} files; these are {number:,}: label them in several runs.")
        return found

    def _add(self, name: str, path: str, error: str) -> None:
        try:
            if error:
                raise BadRequest(error)
            found = files.stat(path)
            if not found.num_bytes:
                raise BadRequest("The file is empty (0 bytes).")
        except Problem as problem:
            self.lost[name] = problem.detail
            return
        self.paths[name] = path
        self._versions[name] = found.version

    def digest(self, about: Mapping[str, Any]) -> str:
        """A text that changes with the files, the URLs, and what is asked for ``about`` them."""
        return hashlib.sha256(json.dumps([self._versions, self.urls, about], sort_keys=True).encode()).hexdigest()
