"""The multipart form of a prediction: one file, and fields with options."""

from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from app.engine.body import Spool
from app.errors import BadRequest, TooLarge, quoted, some_of
from app.http.inflate import Readable
from app.options import LONG

MAX_PARTS = 100
FIELDS_BYTES = 1 << 21  # of all fields together
HEAD_BYTES = 1 << 18  # of what stands before a part's content
CHUNK_BYTES = 1 << 17
FILENAME_CHARS = 255
HOW_TO_SEND = (
    "Send a file as the raw body (curl --data-binary @tile.laz), as the part 'file' of a form "
    "(curl -F file=@tile.laz), or points as application/json."
)


class Form:
    """A form as it arrives: ``file`` gets the content of the first part that has a filename, ``fields`` the others.

    A part named as an option that may be long (``app.options.LONG``) is a field even if it has a filename (curl -F
    within=@area.geojson). Memory for fields is bounded by ``FIELDS_BYTES`` in all, however they were compressed on
    their way. ``files`` are the names of the other parts that have a filename.
    """

    max_parts = MAX_PARTS

    def __init__(self, file: Spool | None = None):
        self.file = file
        self.filename = ""
        self.fields: MultiDict[str, str] = MultiDict()
        self.files: list[str] = []
        self._num_bytes = 0

    def receive(self, stream: Readable, boundary: str) -> None:
        """Read ``stream`` to its end.

        Raises:
            BadRequest: it is malformed, or ends early.
            TooLarge: too many parts, or too long fields.
        """
        if not boundary:
            raise BadRequest(f"The form is malformed: its Content-Type states no boundary. {HOW_TO_SEND}")
        decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), HEAD_BYTES, max_parts=self.max_parts)
        part: Field | File | None = None
        content: list[bytes] = []
        try:
            while not isinstance(event := decoder.next_event(), Epilogue):
                if isinstance(event, NeedData):
                    decoder.receive_data(stream.read(CHUNK_BYTES) or None)
                elif isinstance(event, Field | File):
                    is_field = isinstance(event, Field) or event.name in LONG
                    part, content = Field(name=event.name, headers=event.headers) if is_field else event, []
                    self.begin(part)
                elif isinstance(event, Data) and isinstance(part, File):
                    self.take(event.data)
                elif isinstance(event, Data) and part is not None:
                    self._count(event.data)
                    content.append(event.data)
                    if not event.more_data:
                        self.fields.add(part.name or "", b"".join(content).decode("utf-8", "replace"))
        except RequestEntityTooLarge:
            raise TooLarge(
                f"The form has more than {self.max_parts} parts, or a part with {HEAD_BYTES} bytes before its content. "
                f"{HOW_TO_SEND}"
            ) from None
        except ValueError as error:
            raise BadRequest(f"The form is malformed or cut short. {HOW_TO_SEND}") from error

    def check(self) -> None:
        """Raise BadRequest unless the form holds one file, as the part 'file'."""
        if self.files == ["file"]:
            return
        if (num_files := self.files.count("file")) > 1:
            raise BadRequest(
                f"The form holds {num_files} parts 'file'; a request takes one cloud: send each in a request of its "
                "own (curl -F file=@tile.laz)."
            )
        if "file" in self.fields and not self.files:
            raise BadRequest(
                f"The part 'file' is the text {quoted(self.fields['file'])}, not a file: put @ before the file's name "
                "(curl -F file=@tile.laz)."
            )
        names = list(dict.fromkeys([*self.files, *self.fields]))
        parts = some_of([quoted(name) for name in names])
        raise BadRequest(
            f"The form needs exactly one part 'file' that has a filename; it holds {parts or 'no parts'}. {HOW_TO_SEND}"
        )

    def begin(self, part: Field | File) -> None:
        """A part begins, of which ``take`` gets the content if it is a file."""
        self._count((part.name or "").encode("utf-8", "replace"))
        if isinstance(part, File):
            self.files.append(part.name or "")
            if len(self.files) == 1:
                self.filename = part.filename[-FILENAME_CHARS:]

    def take(self, data: bytes | bytearray) -> None:
        """Content of the file that has begun last."""
        if len(self.files) == 1 and self.file:
            self.file.write(memoryview(data))

    def _count(self, data: bytes | bytearray) -> None:
        self._num_bytes += len(data)
        if self._num_bytes > FIELDS_BYTES:
            raise TooLarge(
                f"The fields of the form, without the file, have more than {FIELDS_BYTES} bytes. {HOW_TO_SEND}"
            )
