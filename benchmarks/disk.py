"""A small disk for one service that is measured."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[dict[str, object]]:
    """Settings by which bodies beyond 1 MiB go to a file system of ``size_mib`` mounted at ``folder``; 0 for none.

    Raises CalledProcessError if this takes more rights.
    """
    if not size_mib:
        yield {}
        return
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)], check=True)
    try:
        yield {"spool_dir": folder, "spool_memory_mib": 1}
    finally:
        subprocess.run(["umount", str(folder)], check=True)
