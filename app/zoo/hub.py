"""Models on the Hugging Face hub: their addresses, and their files, which come through the hub's cache.

The library huggingface_hub reads its own variables: HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from huggingface_hub import HfApi, constants, hf_hub_download, scan_cache_dir
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    CacheNotFound,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from app.errors import BadModel, BadRequest, Forbidden, NotFound, NotReady, Problem

from .digest import sha256

SCHEME = "hf://"
FORM = "hf://owner/repo[@revision][/folder or file.pth]"
DEFAULT_REVISION = "main"
TIMEOUT_S = 10.0
NAME = re.compile(r"[\w.-]*\w[\w.-]*", re.ASCII)
COMPONENT = re.compile(r"(?!\.{1,2}$)[^\\:\0]+")  # a colon joins the models of a setting
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Address:
    """Address of a model; ``path`` is inside the repository, empty for all of it."""

    repo: str
    revision: str
    path: str

    @classmethod
    def parse(cls, text: str) -> "Address":
        """The address in ``hf://owner/repo[@revision][/path]``; a "/" in a revision is written %2F.

        Raises BadRequest if it is of another form.
        """
        owner, _, rest = text.removeprefix(SCHEME).partition("/")
        repo, _, path = rest.rstrip("/").partition("/")
        name, at, revision = repo.partition("@")
        is_good = (
            text.startswith(SCHEME)
            and all(NAME.fullmatch(part) for part in (owner, name))
            and (not path or _goes_down(path))
            and bool(at) == bool(revision)
        )
        if not is_good:
            raise BadRequest(f"{text!r:.200} is no address of a model on the hub; expected {FORM}")
        return cls(f"{owner}/{name}", unquote(revision) or DEFAULT_REVISION, path)

    def __str__(self) -> str:
        path = f"/{self.path}" if self.path else ""
        return f"{SCHEME}{self.repo}@{quote(self.revision, safe='')}{path}"


class Repository:
    """A repository at one revision: on the hub, or in its cache if the hub cannot be reached.

    Attributes:
        commit: what the revision stands for.
        names: paths of its files, relative and downward, those that the cache has if the hub cannot be reached.
        unreachable: why it cannot be reached; empty if it can.

    Raises:
        NotFound: no such repository or revision that the token may see.
        NotReady: neither the hub nor its cache has an answer.
    """

    def __init__(self, repo: str, revision: str, token: str = ""):
        """``token`` is all that is shown to the hub; empty: nothing, not even a token that lies on this machine."""
        self.repo, self.revision = repo, revision
        self.unreachable = ""
        self._token = token or False
        with self._explained():
            try:
                info = HfApi(token=self._token).model_info(repo, revision=revision, timeout=TIMEOUT_S)
            except HfHubHTTPError:
                raise
            except (OfflineModeIsEnabled, HTTPError) as error:
                self.unreachable = _reason(error)
        if self.unreachable:
            self.commit, self.names = self._cached()
        else:
            self.commit = str(info.sha)
            self.names = {file.rfilename for file in info.siblings or [] if _goes_down(file.rfilename)}

    def fetch(self, name: str) -> tuple[Path, str]:
        """The cached copy of the file ``name``, one of ``names``, and its SHA-256.

        Raises:
            Forbidden: the repository is gated.
            NotReady: the connection was lost, or the revision moved on since its files were listed.
            BadModel: the bytes are not those that the hub has.
        """
        with self._explained():
            cached = Path(
                hf_hub_download(
                    self.repo,
                    name,
                    revision=self.revision,
                    token=self._token,
                    etag_timeout=TIMEOUT_S,
                    local_files_only=bool(self.unreachable),
                )
            )
        if cached.parents[len(PurePosixPath(name).parts) - 1].name != self.commit:
            raise NotReady(f"{self.repo} changed while {name} was fetched: try again.")
        digest = sha256(cached)
        # the cache links to a file that is called by the hub's own checksum: SHA-256 for all that is large
        stored = Path(os.readlink(cached)).name if cached.is_symlink() else ""
        if SHA256.fullmatch(stored) and stored != digest:
            raise BadModel(
                f"{name} is damaged: its SHA-256 is {digest}, on the hub it is {stored}; "
                f"delete {cached.resolve()} and pull again"
            )
        return cached, digest

    def _cached(self) -> tuple[str, set[str]]:
        try:
            repositories = scan_cache_dir().repos
        except CacheNotFound:
            repositories = frozenset()
        for found in repositories:
            if (found.repo_id, found.repo_type) != (self.repo, "model"):
                continue
            for revision in found.revisions:
                if self.revision in (revision.commit_hash, *revision.refs):
                    folder = revision.snapshot_path
                    return revision.commit_hash, {
                        file.file_path.relative_to(folder).as_posix() for file in revision.files
                    }
        raise self._absent()

    def _absent(self) -> Problem:
        return NotReady(
            f"{self.unreachable}, and {self.repo} at {self.revision} is not in the cache {constants.HF_HUB_CACHE}"
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of the hub's library as problems."""
        where = constants.ENDPOINT
        try:
            yield
        except GatedRepoError:
            raise Forbidden(
                f"{self.repo} is gated: ask for access on {where}/{self.repo}, set HF_TOKEN to a token of that account"
            ) from None
        except RepositoryNotFoundError:
            raise NotFound(
                f"{where} has no repository {self.repo}, or it is private: then set HF_TOKEN to a token that reads it"
            ) from None
        except RevisionNotFoundError:
            raise NotFound(f"{self.repo} has no revision {self.revision!r}: name a branch, a tag or a commit") from None
        except LocalEntryNotFoundError as error:
            self.unreachable = self.unreachable or _reason(error.__cause__ or error)
            raise self._absent() from None
        except HfHubHTTPError as error:
            status = error.response.status_code
            hint = (
                "is HF_TOKEN right?" if status in (401, 403) else "try again, or HF_HUB_OFFLINE=1 for what was cached"
            )
            raise NotReady(f"{where} answered {status} for {self.repo}: {hint}") from None
        except HTTPError as error:
            raise NotReady(f"{_reason(error)}: pull again, what came is kept") from None
        except HFValidationError as error:
            raise BadRequest(f"{self.repo}: {error}") from None
        except OSError as error:
            if error.errno is not None:
                raise  # of this machine, as a full disk
            raise NotReady(f"a file of {self.repo} did not arrive whole: pull again") from None


def _goes_down(path: str) -> bool:
    return all(COMPONENT.fullmatch(part) for part in path.split("/"))


def _reason(error: BaseException) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    return f"{constants.ENDPOINT} cannot be reached ({error or type(error).__name__})"
