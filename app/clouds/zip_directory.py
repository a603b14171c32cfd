"""Checks the size of a zip's directory before zipfile makes an object of every entry."""

import struct
import zipfile
import zlib

from app.errors import BadCloud

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    IndexError,
    UnicodeError,
)
"""What zipfile raises of a zip that is damaged."""
MAX_BYTES = 1 << 20
END, END_64 = b"PK\x05\x06", b"PK\x06\x06"
END_BYTES, END_64_BYTES, LOCATOR_64_BYTES = 22, 56, 20
MAX_COMMENT_BYTES = 65535
NOT_HERE = 0xFFFFFFFF  # a size that stands in the larger record


def check_directory(data: memoryview) -> None:
    """Raise BadCloud if the directory is larger than that of any sample; one that is not found is zipfile's to tell
    of."""
    start = max(0, len(data) - END_BYTES - MAX_COMMENT_BYTES)
    tail = bytes(data[start:])
    place = len(tail) - END_BYTES  # without a comment after it, as nearly always
    if place < 0 or not tail[place:].startswith(END) or not tail.endswith(b"\0\0"):
        place = tail.rfind(END)
    if place < 0 or len(tail) - place < END_BYTES:
        return
    size: int = struct.unpack_from("<I", tail, place + 12)[0]
    at = max(0, start + place - LOCATOR_64_BYTES - END_64_BYTES)
    record = bytes(data[at : at + END_64_BYTES])
    if record.startswith(END_64):
        size = max(size % NOT_HERE, struct.unpack_from("<Q", record, 40)[0])
    if size > MAX_BYTES:
        raise BadCloud(
            f"The zip's directory has {size:,} bytes, so it holds thousands of files, or is damaged; send the arrays "
            "of one cloud."
        )
