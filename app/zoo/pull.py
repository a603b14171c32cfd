"""Puts a model of the hub into a folder, for ``experiment.find`` to find. Nothing that is fetched is executed."""

import os
import posixpath
import shutil
from dataclasses import dataclass
from pathlib import Path

from app.errors import BadModel, NoRoom, NotFound

from . import digest, encoder, text_embeddings
from .config import bases
from .experiment import LOOSE, WEIGHTS
from .hub import Address, Repository

CONFIG = "config.py"
MAX_LISTED = 20


@dataclass(frozen=True)
class Pulled:
    """A model that was pulled.

    Attributes:
        source: its address, with the commit as the revision.
        path: the experiment folder or the encoder's file, as ``experiment.find`` gives it.
        sha256: of every file, the weights first.
    """

    source: Address
    path: Path
    sha256: dict[Path, str]


def pull(repository: Repository, model: str, folder: Path, sha256: str = "") -> Pulled:
    """Put a model into ``folder``: an experiment under its name, or an encoder with its head.

    ``model`` is the path of an experiment folder or of an encoder's or a head's file, empty for the top.

    A file that is there already must be the same. ``sha256``, if given, is that of the weights, of the file itself
    where ``model`` is one.

    Raises:
        NotFound: no such model in the repository.
        BadModel: another checksum, or other files of that name in ``folder``.
        Problem: whatever ``Repository.fetch`` has to say.
    """
    is_file = model.endswith(encoder.SUFFIX)
    names = (_encoder if is_file else _experiment)(model, repository)
    parent = posixpath.dirname(model) if is_file else model
    name = posixpath.basename(model) or repository.repo.partition("/")[2]
    path = Path(os.path.abspath(folder)) / name

    fetched = {}
    for source in names:
        cached, found = repository.fetch(source)
        fetched[(path.parent if is_file else path) / posixpath.relpath(source, parent or ".")] = (cached, found)
    checked = path if is_file else next(iter(fetched))
    if sha256 and fetched[checked][1] != sha256.lower():
        raise BadModel(f"{checked.name} has the SHA-256 {fetched[checked][1]}, expected was {sha256.lower()}")
    _place(fetched)
    return Pulled(
        source=Address(repository.repo, repository.commit, model),
        path=path,
        sha256={target: found for target, (_, found) in fetched.items()},
    )


def _encoder(model: str, repository: Repository) -> list[str]:
    """The files of an encoder, or of a head after those of its encoder."""
    weights = encoder.weights_of(Path(model)).as_posix()
    names = list(dict.fromkeys([weights, model]))
    for name in names:
        if name not in repository.names:
            raise _missing(name, repository)
    return names


def _experiment(model: str, repository: Repository) -> list[str]:
    """The files of an experiment: the weights that would be served, then what goes with them, config.py last."""
    prefix = f"{model}/" if model else ""
    config = prefix + CONFIG
    has_config = config in repository.names
    weights = [prefix + name for name in WEIGHTS if prefix + name in repository.names][:1]
    if not weights and has_config:
        beside = [name for name in repository.names if posixpath.dirname(name) == model]
        weights = [name for name in beside if name.endswith(LOOSE)]
        if len(weights) != 1:
            raise BadModel(
                f"{config} has {len(weights)} files of weights beside it; expected {', '.join(WEIGHTS)} or one"
            )
    if not weights:
        raise _missing(f"experiment in {model}" if model else "experiment at the top", repository)
    embeddings = prefix + text_embeddings.FILE
    with_embeddings = [embeddings] if embeddings in repository.names else []
    return [*weights, *with_embeddings, *(_configs(config, model, repository) if has_config else [])]


def _configs(config: str, folder: str, repository: Repository) -> list[str]:
    """``config`` after the files of its ``_base_``, as far as they are in ``folder`` and readable."""
    found, open_ends = [config], [config]
    while open_ends:
        name = open_ends.pop()
        try:
            below = bases(repository.fetch(name)[0])
        except BadModel:
            continue  # loading the model says so
        for base in below:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), base))
            is_inside = not folder or path.startswith(f"{folder}/")
            if is_inside and path in repository.names and path not in found:
                found.append(path)
                open_ends.append(path)
    return found[::-1]


def _missing(what: str, repository: Repository) -> NotFound:
    """The problem that names what could be pulled instead."""
    folders = {posixpath.dirname(name) for name in repository.names if posixpath.basename(name) == CONFIG}
    for name in repository.names:
        folders |= {name.removesuffix(weights).rstrip("/") for weights in WEIGHTS if f"/{name}".endswith(f"/{weights}")}
    files = {
        name
        for name in repository.names
        if name.endswith(encoder.SUFFIX) and not any(name.startswith(f"{folder}/") for folder in folders)
    }
    models = sorted((folders | files) - {""})
    there = f"there are {', '.join(models[:MAX_LISTED])}" if models else "there is no model that pointserve reads"
    where = f"the cached part of {repository.repo}" if repository.unreachable else repository.repo
    return NotFound(f"No {what} in {where} at {repository.revision}; {there}{' …' * (len(models) > MAX_LISTED)}")


def _place(files: dict[Path, tuple[Path, str]]) -> None:
    """Copy cached files with their checksums to their targets, each at once and in this order.

    Raises BadModel, before anything is written, if a target holds something else, NoRoom for a full disk.
    """
    absent = [target for target in files if not target.exists()]
    for target, (_, sha256) in files.items():
        if target not in absent and (not target.is_file() or digest.sha256(target) != sha256):
            raise BadModel(f"{target} is another file than on the hub: remove it, or pull to another folder")
    for target in absent:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            shutil.copyfile(files[target][0], partial)
            partial.replace(target)
        except OSError as error:
            raise NoRoom(f"{target} cannot be written: {error.strerror}") from None
        finally:
            partial.unlink(missing_ok=True)
