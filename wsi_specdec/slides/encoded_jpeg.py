"""Abbreviated JPEG streams of a TIFF made complete, their scan data untouched.

TIFF (Technical Note 2) keeps quantisation and Huffman tables apart from the tiles and states the
colour space in a tag. A complete JPEG (ITU-T T.81) has its tables in it, and decoders guess the
colours: YCbCr after a JFIF marker, by Adobe's APP14 marker where there is one, else by the ids of
the components.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsi_specdec.geometry import Size

SOI: Final = b"\xff\xd8"
EOI: Final = b"\xff\xd9"
_SOS, _DQT, _DHT, _APP0, _APP14 = 0xDA, 0xDB, 0xC4, 0xE0, 0xEE
_MARK, _RST0, _RST7 = 0xFF, 0xD0, 0xD7
# Sequential ones; a progressive one has several scans, and slides are never of these.
_FRAMES: Final = frozenset({0xC0, 0xC1})
# APP14: length, name, version 100, flags 0; the colour transform follows, 0 RGB and 1 YCbCr.
_ADOBE: Final = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
_COMPONENTS: Final = 3
_RGB_IDS: Final = b"RGB"
# Of the standard luminance table, in the order of the file (zigzag): ITU-T T.81, table K.1.
_STANDARD = np.array(
    [16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35,
     37, 29, 40, 58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109,
     81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99]
)  # fmt: skip


class Segment(NamedTuple):
    """One marker segment: its code, and where it and its payload begin and where it ends."""

    marker: int
    start: int
    payload: int
    end: int


@dataclass(frozen=True, slots=True)
class JpegForm:
    """What the streams of one level have in common.

    Attributes
    ----------
    prefix
        What stands in for a stream's first two bytes: SOI, a colour marker where the stream needs
        one, and the tables.
    head
        What a stream holds from there to the end of its scan header; others may differ.
    frame
        The frame header of every stream.
    quality
        libjpeg's quality whose standard luminance table is nearest to the level's.
    """

    prefix: bytes
    head: bytes
    frame: bytes
    quality: int


def form_of(sample: bytes, tables: bytes, tile: Size, *, is_rgb: bool) -> JpegForm:
    """Learn from one stream how those of its level become complete.

    Parameters
    ----------
    sample
        One tile's bytes.
    tables
        The tag JPEGTables: a stream of tables alone; may be empty.
    tile
        Size that every frame must have.
    is_rgb
        Whether the tag says that the components are red, green and blue; else YCbCr.

    Raises
    ------
    ValueError
        If the streams are none that decoders would read alike: the message is the reason.
    """
    shared = _inside(tables)
    own = list(segments(sample))
    frame = _frame(sample, own)
    _check_frame(frame, tile)
    if sample[own[-1].payload] != _COMPONENTS:
        msg = "its JPEGs hold their colours one after another"
        raise ValueError(msg)
    merged = SOI + shared + sample[2 : own[-1].end]
    found = list(segments(merged))
    if not {_DQT, _DHT} <= {segment.marker for segment in found}:
        msg = "its JPEG tables are missing"
        raise ValueError(msg)
    marker = _colour_marker(merged, found, is_rgb=is_rgb)
    return JpegForm(SOI + marker + shared, sample[2 : own[-1].end], frame, _quality(merged, found))


def completed(stream: bytes, form: JpegForm) -> bytes:
    """Return one tile's stream as a complete JPEG.

    Raises
    ------
    ValueError
        If it is truncated, or is of another size or colour layout than its level's.
    """
    return form.prefix + stream[2 : checked_end(stream, form)]


def count_markers(
    data: bytes | memoryview, begins: ArrayLike, ends: ArrayLike
) -> NDArray[np.int64]:
    """Count the markers in each of n parts of `data`, at which decoders leave off decoding pixels.

    Within a scan, bytes of 0xFF are followed by 0 (a sample's) or by the number of a restart; all
    else after one is a marker, but for more 0xFF, which fill up.
    """
    values = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(values[:-1] == _MARK)
    following = values[at + 1]
    is_sample = (following == 0) | (following == _MARK)
    at = at[~is_sample & ((following < _RST0) | (following > _RST7))]
    counts: NDArray[np.int64] = np.searchsorted(at, np.asarray(ends) - 1) - np.searchsorted(
        at, begins
    )
    return counts


def checked_end(stream: bytes, form: JpegForm) -> int:
    """Return where a stream ends, padding left out.

    Raises
    ------
    ValueError
        As `completed`.
    """
    end = len(stream.rstrip(b"\0"))
    if stream[:2] != SOI or stream[end - 2 : end] != EOI:
        msg = "it is no whole JPEG: its start or end is missing"
        raise ValueError(msg)
    if stream[2 : 2 + len(form.head)] != form.head:
        own = list(segments(stream))
        if _frame(stream, own) != form.frame or _marked(stream) != _marked(SOI + form.head):
            msg = "its size or colours are not those of the other tiles"
            raise ValueError(msg)
    return end


def check_scan(stream: bytes) -> None:
    """Check that decoders find their way through a stream's scan to its end.

    Raises
    ------
    ValueError
        If a marker stands within the scan.
    """
    (*_, scan) = segments(stream)
    if count_markers(stream, [scan.end], [len(stream) - 1])[0]:
        msg = "a marker stands within its compressed pixels"
        raise ValueError(msg)


def _marked(stream: bytes) -> list[bytes]:
    """Segments by which decoders tell the colours."""
    return [stream[s.start : s.end] for s in segments(stream) if s.marker in {_APP0, _APP14}]


def segments(data: bytes) -> Iterator[Segment]:
    """Yield a stream's marker segments, up to and with the header of its scan.

    Raises
    ------
    ValueError
        If the stream is damaged.
    """
    position = 2
    while data[:2] == SOI and position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
        if marker == 0xFF:
            position += 1
            continue
        if end > len(data) or end < position + 4:
            break
        yield Segment(marker, position, position + 4, end)
        if marker == _SOS:
            return
        position = end
    msg = "it is no JPEG"
    raise ValueError(msg)


def _inside(tables: bytes) -> bytes:
    """Segments of a stream of tables, without its SOI and EOI."""
    if not tables:
        return b""
    end = len(tables.rstrip(b"\0"))
    if tables[:2] != SOI or tables[end - 2 : end] != EOI:
        msg = "its JPEG tables are damaged"
        raise ValueError(msg)
    return tables[2 : end - 2]


def _frame(data: bytes, found: list[Segment]) -> bytes:
    frames = [data[s.start : s.end] for s in found if s.marker in _FRAMES]
    if len(frames) != 1:
        msg = "it is a JPEG of a kind that is not decoded directly"
        raise ValueError(msg)
    return frames[0]


def _check_frame(frame: bytes, tile: Size) -> None:
    height, width = int.from_bytes(frame[5:7]), int.from_bytes(frame[7:9])
    if frame[4] != 8 or len(frame) != 19 or (width, height) != (tile.width, tile.height):
        msg = f"its JPEGs are not of 8-bit colour and {tile.width} x {tile.height} px"
        raise ValueError(msg)


def _colour_marker(data: bytes, found: list[Segment], *, is_rgb: bool) -> bytes:
    """Return the marker that makes decoders take the colours for what the tag says."""
    payloads = {s.marker: data[s.payload : s.end] for s in reversed(found)}
    adobe = payloads.get(_APP14, b"")
    if payloads.get(_APP0, b"")[:5] == b"JFIF\0":
        is_guessed_rgb, is_fixed = False, True
    elif adobe[:5] == b"Adobe" and len(adobe) >= 12:
        is_guessed_rgb, is_fixed = adobe[11] == 0, True
    else:
        frame = _frame(data, found)
        is_guessed_rgb, is_fixed = bytes((frame[10], frame[13], frame[16])) == _RGB_IDS, False
    if is_fixed and is_guessed_rgb != is_rgb:
        msg = "the JPEGs' own colour marker contradicts the TIFF's"
        raise ValueError(msg)
    # Where nothing is marked, RGB always is: not every decoder looks at the components' ids.
    needs = not is_fixed and (is_rgb or is_guessed_rgb)
    return _ADOBE + (b"\0" if is_rgb else b"\1") if needs else b""


def _quality(data: bytes, found: list[Segment]) -> int:
    """Quality by libjpeg's rule: a table is the standard one, scaled, rounded and cut to 1-255."""
    first = next(data[s.payload : s.end] for s in found if s.marker == _DQT)
    wide = first[0] >> 4
    table = np.frombuffer(first, ">u2" if wide else "u1", 64, 1).astype(np.int64)
    qualities = np.arange(1, 101)
    scales = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    scaled = np.clip((_STANDARD * scales[:, np.newaxis] + 50) // 100, 1, 255)
    return int(qualities[np.abs(scaled - table).sum(axis=1).argmin()])
