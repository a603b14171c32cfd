"""What tests compile, kept under build/tests by a hash of all that goes into it, so that it is compiled once."""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBS = ROOT / "libs"
FOLDER = ROOT / "build/tests"
SOURCES = (".h", ".cuh", ".cpp", ".cu")


def csrc(library: str) -> Path:
    """The folder of a library's sources, a folder an operator."""
    return LIBS / library / "csrc"


def sources_of(*folders: Path) -> list[Path]:
    """Every C++ and CUDA source and header in ``folders``, links followed."""
    return sorted(
        Path(folder, name)
        for start in folders
        for folder, _, names in os.walk(start, followlinks=True)
        for name in names
        if name.endswith(SOURCES)
    )


def kept(name: str, commands: Sequence[Sequence[str]], inputs: Iterable[Path]) -> Path:
    """The folder in which ``commands`` have run without an error: now, or before on inputs of the same content.

    The hash is over the commands, the versions of their programs, and names and bytes of ``inputs``: all files of this
    repository that the commands read. What they read of the machine beside them counts by the version of the program.
    """
    digest = hashlib.sha256(repr([list(map(str, command)) for command in commands]).encode())
    for program in sorted({command[0] for command in commands}):
        digest.update(_version(program).encode())
    for path in sorted(set(inputs)):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    folder = FOLDER / f"{name}-{digest.hexdigest()[:16]}"
    return _made(folder, lambda into: _run(commands, into))


def _run(commands: Sequence[Sequence[str]], folder: Path) -> None:
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def _made(folder: Path, make: Callable[[Path], None]) -> Path:
    """``folder`` after ``make`` has filled it, once for all processes; others wait."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for outdated in FOLDER.glob(f"{folder.name.rpartition('-')[0]}-*[!k]"):
                shutil.rmtree(outdated, ignore_errors=True)
            unfinished = Path(tempfile.mkdtemp(dir=FOLDER))
            try:
                make(unfinished)
            except BaseException:
                shutil.rmtree(unfinished)
                raise
            unfinished.rename(folder)
    return folder


@functools.cache
def _version(program: str) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
