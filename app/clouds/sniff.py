"""What a file is, by its first bytes."""

import re

from app.errors import BadCloud, UnsupportedFormat

PREFIX_BYTES = 65536

MAGIC = {
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "npz",
    b"PK\x05\x06": "npz",
    b"ASTM-E57": "e57",
}

UNPACK = "Unpack it and send the file inside."
CHECKPOINT = (
    "a checkpoint, the weights of a network",
    "It goes into an experiment folder beside config.py, which the setting POINTSERVE_MODELS names.",
)
FOREIGN = {
    b"\x1f\x8b\x08": ("gzip data", UNPACK),
    b"BZh91AY": ("bzip2 data", UNPACK),
    b"\xfd7zXZ\x00": ("xz data", UNPACK),
    b"\x28\xb5\x2f\xfd": ("zstandard data", UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK),
    b"Rar!\x1a\x07": ("a RAR archive", UNPACK),
    b"\x89PNG\r\n": ("a PNG image", ""),
    b"\xff\xd8\xff\xe0": ("a JPEG image", ""),
    b"\xff\xd8\xff\xe1": ("a JPEG image", ""),
    b"GIF8": ("a GIF image", ""),
    b"II*\x00": ("a TIFF image", ""),
    b"MM\x00*": ("a TIFF image", ""),
    b"%PDF-": ("a PDF document", ""),
    b"\x89HDF\r\n": ("an HDF5 file", "Send its arrays as NPZ."),
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9": CHECKPOINT,  # before torch 1.6; later ones are zip archives
    b"\x80\x02}q": ("a pickle", "Pickles can run code and are never opened; send NPY or NPZ."),
    b"\x80\x03}q": ("a pickle", "Pickles can run code and are never opened; send NPY or NPZ."),
    b"\x80\x04\x95": ("a pickle", "Pickles can run code and are never opened; send NPY or NPZ."),
    b"\x80\x05\x95": ("a pickle", "Pickles can run code and are never opened; send NPY or NPZ."),
    b"glTF": ("a glTF model", ""),
    b"#ROSBAG": ("a ROS bag", "Send one sweep as PCD."),
    b"\x89MCAP": ("an MCAP recording", "Send one sweep as PCD."),
}

MARKUP = re.compile(rb"<(!doctype|html|\?xml|head|body|svg)", re.IGNORECASE)
PLY = re.compile(rb"ply[ \t]*[\r\n]")
PRINTABLE = bytes(set(range(256)) - set(range(32)) | set(b"\t\n\r\f"))
# These two meet hostile bytes: they match in one way only, so that a miss takes no more than linear time.
PCD = re.compile(rb"(?:\s*#[^\n]*\n)*\s*(?:VERSION|FIELDS|COLUMNS)\s")
NUMBER = re.compile(rb"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|nan|inf)", re.IGNORECASE)


def sniff(data: memoryview) -> str | None:
    """The format that the content shows, a key of ``formats.READERS``; None where it shows none (headerless sweeps).

    Raises BadCloud for an empty body or a Git LFS pointer, UnsupportedFormat for a known format that is no point cloud.
    """
    if not len(data):
        raise BadCloud("The file is empty (0 bytes).")
    head = bytes(data[:PREFIX_BYTES])
    for magic, (what, advice) in FOREIGN.items():
        if head.startswith(magic):
            raise foreign(what, advice)
    if head.startswith(b"LASF"):
        return "laz" if len(head) > 104 and head[104] & 0xC0 else "las"
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    if PLY.match(head):
        return "ply"
    return _sniff_text(head)


def foreign(what: str, advice: str) -> UnsupportedFormat:
    """The error for a file that is no point cloud."""
    return UnsupportedFormat(f"This is {what}, not a point cloud. {advice}".rstrip())


def is_text(data: memoryview) -> bool:
    """Whether ``data`` begins with nothing but printable characters."""
    return not bytes(data[:4096]).translate(None, PRINTABLE)


def _sniff_text(head: bytes) -> str | None:
    if PCD.match(head):
        return "pcd"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not is_text(memoryview(head)):
        return None
    if text.startswith(b"version https://git-lfs"):
        raise BadCloud("This is a Git LFS pointer, not the file it stands for. Run `git lfs pull` and send the file.")
    if MARKUP.match(text):
        raise UnsupportedFormat(
            "This is an HTML or XML page, not a point cloud; was a download link followed to a login?"
        )
    if text[:1] in (b"{", b"["):
        return "json"
    return "text" if any(_is_row(line) for line in text.splitlines()[:200]) else None


def _is_row(line: bytes) -> bool:
    fields = re.split(rb"[;,\s]+", line.strip())
    return len(fields) >= 3 and all(NUMBER.fullmatch(field) for field in fields[:3])
