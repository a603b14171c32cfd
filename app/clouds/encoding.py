"""Text in other encodings to UTF-8, which is what the readers of text know."""

import codecs

UTF8_MARK = codecs.BOM_UTF8
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
SHOWN_BYTES = 4096
LEAST_ZEROS = 0.8  # share of the upper bytes of characters that are mostly ASCII
PRINTABLE = bytes(set(range(256)) - set(range(32)) | set(b"\t\n\r\f"))


def is_text(head: bytes) -> bool:
    """Whether a file that begins with ``head`` begins with nothing but printable characters."""
    return not head[:SHOWN_BYTES].translate(None, PRINTABLE)


def utf8(data: memoryview) -> memoryview:
    """``data`` as UTF-8 without a byte order mark, if it is UTF-16 or UTF-32 text; else unchanged."""
    head = bytes(data[:SHOWN_BYTES])
    if head.startswith(UTF8_MARK):
        return data[len(UTF8_MARK) :]
    for mark, encoding in MARKS:
        if head.startswith(mark) and _is_encoded(head[len(mark) :], encoding):
            return _decoded(data[len(mark) :], encoding)
    for encoding in ("utf-16-le", "utf-16-be"):
        if _is_encoded(head, encoding):
            return _decoded(data, encoding)
    return data


def _is_encoded(head: bytes, encoding: str) -> bool:
    """Whether ``head`` is text of mostly ASCII characters in ``encoding``; numbers, spaces and names are."""
    width = 4 if "32" in encoding else 2
    ends = head[width - 1 :: width] if encoding.endswith("le") else head[::width]
    if ends.count(0) < LEAST_ZEROS * len(ends):
        return False
    text = head[: len(head) // width * width].decode(encoding, "replace")
    if len(text) < 2:
        return False
    ascii_share = sum(" " <= char <= "~" or char in "\t\r\n" for char in text) / len(text)
    return ascii_share > 0.9 and "\0" not in text


def _decoded(data: memoryview, encoding: str) -> memoryview:
    return memoryview(codecs.decode(data, encoding, "replace").encode())


def as_text(line: bytes) -> str:
    """``line`` of a file that may be of any 8-bit encoding: what is no UTF-8 is taken for Latin-1."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")
