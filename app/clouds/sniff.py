"""What a file is, by its first bytes."""

import re
import zipfile

from app.clouds.foreign import refuse_known, refuse_text
from app.clouds.memory_file import MemoryFile
from app.clouds.zip_directory import check_directory
from app.errors import BadCloud
from app.pickles.archive import LFS_POINTER, ZIP_MAGIC

PREFIX_BYTES = 65536

MAGIC = {
    b"\x93NUMPY": "npy",
    ZIP_MAGIC: "npz",
    b"PK\x05\x06": "npz",
    b"ASTM-E57": "e57",
}

PLY = re.compile(rb"ply[ \t]*[\r\n]")
PRINTABLE = bytes(set(range(256)) - set(range(32)) | set(b"\t\n\r\f"))
# These two meet hostile bytes: they match in one way only, so that a miss takes no more than linear time.
PICKLE = re.compile(rb"\x80(?:[\x02\x03][}\](c\x8a]|[\x04\x05]\x95)")
PCD = re.compile(rb"# ?\.PCD|(?:\s*#[^\n]*\n)*\s*(?:VERSION|FIELDS|COLUMNS)\s")
PCD_LINES = re.compile(
    rb"^(?:DATA[ \t]+(?:ascii|binary)|VIEWPOINT[ \t]+[-\d.]|(?:WIDTH|HEIGHT|POINTS)[ \t]+\d+[ \t\r]*$|"
    rb"(?:SIZE|COUNT)(?:[ \t]+\d+){3}|TYPE(?:[ \t]+[FUI]){3})",
    re.MULTILINE,
)
PTX_HEADER = [1, 1, 3, 3, 3, 3, 4, 4, 4, 4]  # numbers in each line before the points of a scan: size, pose
NUMBER = re.compile(rb"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|nan|inf)", re.IGNORECASE)


def sniff(data: memoryview) -> str | None:
    """The format that the content shows, a key of ``formats.READERS``; None if it shows none (headerless sweeps).

    Raises BadCloud for an empty body or a Git LFS pointer, UnsupportedFormat for a known format that is no point cloud.
    """
    if not len(data):
        raise BadCloud("The file is empty (0 bytes).")
    head = bytes(data[:PREFIX_BYTES])
    refuse_known(head)
    if head.startswith(b"LASF"):
        return "laz" if len(head) > 104 and head[104] & 0xC0 else "las"
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            if name == "npz":
                check_directory(data)
            return "pth" if name == "npz" and _is_torch(data) else name
    if PICKLE.match(head):
        return "pth"
    if PLY.match(head):
        return "ply"
    return _sniff_text(head)


def _is_torch(data: memoryview) -> bool:
    """Whether a zip is one of torch.save."""
    try:
        with zipfile.ZipFile(MemoryFile(data)) as archive:
            return any(name.rpartition("/")[2] == "data.pkl" for name in archive.namelist())
    except Exception:  # a damaged directory makes zipfile raise many things; the reader of NPZ says what is wrong
        return False


def is_text(data: memoryview) -> bool:
    """Whether ``data`` begins with nothing but printable characters."""
    return not bytes(data[:4096]).translate(None, PRINTABLE)


def _sniff_text(head: bytes) -> str | None:
    if PCD.match(head) or PCD_LINES.search(head):
        return "pcd"
    text = head.lstrip()
    if not is_text(memoryview(head)):
        return None
    if text.startswith(LFS_POINTER):
        raise BadCloud("This is a Git LFS pointer, not the file it stands for. Run `git lfs pull` and send the file.")
    refuse_text(text)
    if text[:1] in (b"{", b"["):
        return "json"
    if _is_ptx(text):
        return "ptx"
    return "text" if any(_is_row(line) for line in text.splitlines()[:200]) else None


def _is_ptx(text: bytes) -> bool:
    """Whether the first lines are those of a scan in PTX: two counts, four vectors, a matrix of 4 by 4."""
    lines = [line.split() for line in text[:4096].splitlines()[: len(PTX_HEADER)]]
    if [len(line) for line in lines] != PTX_HEADER:
        return False
    numbers = [field for line in lines for field in line]
    return numbers[0].isdigit() and numbers[1].isdigit() and all(NUMBER.fullmatch(field) for field in numbers)


def _is_row(line: bytes) -> bool:
    fields = re.split(rb"[;,\s]+", line.strip())
    return len(fields) >= 3 and all(NUMBER.fullmatch(field) for field in fields[:3])
