"""A file system of its own that fills up."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, free_kib: int, size_kib: int = 1024) -> Iterator[Path]:
    """``folder`` as a file system of ``size_kib`` of which a file ``filler`` leaves ``free_kib``; the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own cannot be mounted here")
    try:
        filler = folder / "filler"
        filler.write_bytes(bytes((size_kib - free_kib) << 10))
        yield filler
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
