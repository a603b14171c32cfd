"""What kind of file is said to hold weights: one of torch.save, safetensors, or something else, which is named."""

from typing import BinaryIO

from app.clouds import catalog, unsupported
from app.pickles.archive import LFS_POINTER, ZIP_MAGIC, Archive, DamagedError, archive_in, is_stream

MAX_HEADER_BYTES = 100 << 20  # of a file of safetensors
KINDS = {  # beside point clouds and what else is sent in their place
    b"\x80": "a pickle that torch.save did not write",
    b"\x93numpy": "one array of numpy",
    b"<!doctype": "a web page, as a download that needs a login gives",
    b"<html": "a web page, as a download that needs a login gives",
    b"<?xml": "an XML document, as a download that fails gives",
    b"{": "a JSON document",
    b"\x7felf": "a program",
}


def open_archive(file: BinaryIO, name: str) -> Archive:
    """The archive in ``file``, called ``name``. Raises DamagedError with what the file is instead."""
    start = file.read(64)
    file.seek(0)
    if not start:
        raise DamagedError("the file is empty")
    if start.startswith(LFS_POINTER):
        raise DamagedError(f"this is a Git LFS pointer, not the weights; run: git lfs pull --include '{name}'")
    if archive := archive_in(file):
        return archive
    kind = kind_of(start)
    found = f"this is {kind}" if kind else f"the file starts with {start[:12]!r}"
    raise DamagedError(f"{found}; accepted are files of torch.save and .safetensors")


def kind_of(start: bytes) -> str:
    """What a file that begins with ``start``, 64 bytes, is; empty if that is not known."""
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < MAX_HEADER_BYTES:
        return "a file of safetensors: give it a name that ends in .safetensors"
    if start.startswith(ZIP_MAGIC) or is_stream(start):
        return "a file of torch.save: give it a name that ends in .pth"
    text = start.lstrip().lower()
    if known := next((kind for mark, kind in KINDS.items() if text.startswith(mark)), ""):
        return known
    if format := next((format for format in catalog.FORMATS.values() if format.shows_in(start)), None):
        return f"a point cloud ({format.name.upper()}), not the weights of a network"
    other = next((kind for kind in unsupported.KINDS if start.startswith(kind.magic)), None)
    if other is None:
        return ""
    return f"{other.what}: unpack it first" if other.advice == unsupported.UNPACK else other.what
