"""Files of any format to clouds and answers to files: ``read`` and ``write``, and what memory each will take."""

import logging
import pickle
import struct
from collections.abc import Collection, Sequence
from dataclasses import replace

from app.clouds import overwritten, zip_directory
from app.clouds.catalog import READERS, WRITERS, function, keeps_source, keeps_whole
from app.clouds.checks import bounded, check_cloud, check_num_points
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.columns import is_kept
from app.clouds.columns_option import parse_wanted
from app.clouds.encoding import SHOWN_BYTES, UTF8_MARK, utf8
from app.clouds.georeference import settle
from app.clouds.needs import HEAD_BYTES, Keep, Needs
from app.clouds.sniff import find_format
from app.errors import BadCloud, BadRequest, Problem, UnsupportedFormat

log = logging.getLogger(__name__)

MEMORY = "The file needs more memory than a reader may use. Cut it into tiles or thin it out."
DAMAGE = (  # what estimates raise of files that contradict themselves
    *(Problem, ArithmeticError, LookupError, TypeError, ValueError, StopIteration),
    *(struct.error, pickle.UnpicklingError, *zip_directory.DAMAGE),
)


def read(
    data: memoryview,
    *,
    filename: str = "",
    format: str | None = None,
    columns: tuple[str, ...] | None = None,
    max_points: int | None = None,
    crs: str = "",
    units: str = "",
    keep: Collection[str] | None = None,
    output: str = "",
) -> Cloud:
    """The cloud in ``data``, N points in the file's order.

    The content shows the format; if it does not, ``format`` (a key of ``READERS`` or a suffix), then ``filename``, then
    ``columns`` (a raw sweep) say it. ``crs`` and ``units`` are those of the coordinates, whatever the
    file says: a coordinate system as pyproj takes it, and units as ``app.clouds.units.parse_units`` does. ``keep`` are
    the columns wanted beside those that are used anyway (``columns.is_kept``); None for all of them. ``output``, a key
    of ``WRITERS``, says what the answer will be: if that has a place for all columns, ``keep`` applies only if it is
    the file itself.

    Raises:
        UnsupportedFormat: not a format of ``READERS``, or the content is another format than ``format`` says.
        BadCloud: damaged, cut short, empty, or out of memory; whatever a decoder raised ends so.
        BadRequest: ``columns``, ``crs`` or ``units`` that make no sense.
        TooLarge: more than ``max_points``.
    """
    wanted = parse_wanted(columns) if columns else None
    data = utf8(data)
    name = find_format(data, filename, format, wanted)
    reader, keep = READERS[name], kept(keep, name, output)
    if isinstance(wanted, tuple) and not reader.takes_columns:
        raise BadRequest(
            f"columns= does not apply to {name}: the format names its own columns. Leave it out, or say which of them "
            "feeds what: columns=intensity:amplitude."
        )
    try:
        decode = function(reader, reader.read)
        cloud = decode(data, wanted, max_points, keep) if reader.takes_keep else decode(data, wanted, max_points)
        settle(cloud, crs, units)
    except (Problem, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except ImportError as error:
        raise UnsupportedFormat(f"{reader.text}: not installed on this server ({error}).") from None
    except MemoryError:
        raise BadCloud(MEMORY) from None
    except BaseException as error:  # lazrs and pye57 raise what is no Exception
        log.warning("reading %s failed: %s: %.300s", name, type(error).__name__, " ".join(str(error).split()))
        raise BadCloud(
            f"The file cannot be read as {name}: it is damaged, or written in a way that is not known here. Open it in "
            "the program that it comes from and export it again."
        ) from error
    check_num_points(len(cloud), max_points)
    cloud.warnings = bounded(cloud.warnings)
    if keep is not None:
        cloud.extra = {name: values for name, values in cloud.extra.items() if is_kept(name, keep)}
    return check_cloud(cloud)


def kept(keep: Keep, name: str, output: str) -> Keep:
    """The columns to keep of a file in format ``name`` whose answer is ``output``: ``keep``, or None for all."""
    return None if output and WRITERS[output].keeps_columns and not keeps_whole(output, name) else keep


def write(output: str, cloud: Cloud, segmentation: Segmentation, source: memoryview | None = None) -> bytes:
    """As ``write_parts``, in one piece."""
    parts = write_parts(output, cloud, segmentation, source)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)


def write_parts(
    output: str, cloud: Cloud, segmentation: Segmentation, source: memoryview | None = None
) -> Sequence[bytes | memoryview]:
    """``segmentation`` of ``cloud`` in the format ``output``, a key of ``WRITERS``; nothing of its context.

    The file is the parts one after the other, so arrays that are in memory already need no copy. ``source`` is the file
    that the cloud was read from; it is kept if ``keeps_source`` says so, else not looked at.
    """
    if output not in WRITERS:
        raise UnsupportedFormat(f"Unknown output '{output:.40}'; known are {', '.join(WRITERS)}.")
    writer = WRITERS[output]
    cloud = cloud.answered()
    segmentation.meta.warnings[:] = bounded(segmentation.meta.warnings)
    keeps = keeps_source(output, cloud.format) and source is not None
    segmentation.meta.warnings += overwritten.of_cloud(output, cloud, segmentation)
    if segmentation.meta.label_column and not (writer.keeps_columns or writer.names_labels):
        segmentation.meta.warnings.append(
            f"classification_to changes nothing in {output}, whose labels have a place of their own."
        )
    given = utf8(source) if keeps and source is not None else None
    written: bytes | Sequence[bytes | memoryview] = function(writer, writer.write)(cloud, segmentation, given)
    segmentation.meta.warnings[:] = bounded(segmentation.meta.warnings)
    return [written] if isinstance(written, bytes) else written


def reading_needs(
    data: memoryview,
    *,
    filename: str = "",
    format: str | None = None,
    columns: tuple[str, ...] | None = None,
    max_points: int | None = None,
    keep: Keep = None,
    output: str = "",
    **others: str,
) -> Needs:
    """What ``read`` of these arguments will take; raises what it raises, as far as that shows at once.

    ``others`` are arguments of ``read`` that change nothing in that.
    """
    wanted = parse_wanted(columns) if columns else None
    is_encoded = utf8(data[:SHOWN_BYTES]) not in (data[:SHOWN_BYTES], data[len(UTF8_MARK) : SHOWN_BYTES])
    # text of two or four bytes a character holds the marks of ASCII, too
    name = "text" if is_encoded else find_format(data, filename, format, wanted)
    reader = READERS[name]
    try:
        needs: Needs = function(reader, reader.needs)(data, wanted, kept(keep, name, output))
    except DAMAGE:
        return Needs(0, 0, 0)  # the reader says what is wrong with it
    if is_encoded:
        return replace(needs, work_bytes=needs.work_bytes + 2 * len(data))
    if needs.is_exact and needs.num_points > 0:
        check_num_points(needs.num_points, max_points)
    return needs


def writing_needs(output: str, cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """Bytes of the process that writes, at its highest, and of them those of the finished file.

    Both count beside the cloud, the segmentation and ``source``, which are in memory already.
    """
    writer = WRITERS[output]
    work_bytes, size_bytes = function(writer, writer.needs)(cloud.answered(), segmentation, source)
    return work_bytes + 2 * HEAD_BYTES, size_bytes + HEAD_BYTES
