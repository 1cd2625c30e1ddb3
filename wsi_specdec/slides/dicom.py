"""Which files make one DICOM slide: the instances of one series, told by their headers.

A DICOM slide is a folder of instances (levels, label, thumbnail, ...). OpenSlide, opened on any of
them, finds the others in its folder. Only the first elements of each header are read here, up to
the series: DICOM PS3.5, sections 7.1 (elements), 7.5 (sequences), and PS3.10, 7.1 (file header).
"""

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from wsi_specdec.errors import SlideReadError

SUFFIX: Final = ".dcm"

_TRANSFER_SYNTAX: Final = 0x0002_0010
_IMAGE_TYPE: Final = 0x0008_0008
_SERIES: Final = 0x0020_000E
_ITEM: Final = 0xFFFE_E000
_ITEM_END: Final = 0xFFFE_E00D
_SEQUENCE_END: Final = 0xFFFE_E0DD
_IMPLICIT: Final = "1.2.840.10008.1.2"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
_UNDEFINED: Final = 0xFFFF_FFFF
_LONG_LENGTHS: Final = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_LONGEST_VALUE: Final = 1024
_DEEPEST: Final = 32


@dataclass(frozen=True, slots=True)
class Series:
    """The instances of one slide.

    Attributes
    ----------
    file
        The largest instance that holds the slide's pixels: the finest level.
    instances
        Number of files.
    """

    file: Path
    instances: int


def group_series(files: Iterable[Path]) -> list[Series]:
    """Group DICOM files by folder and series, in order of first appearance.

    A file whose header cannot be read stands alone, so that opening it says what is wrong.
    """
    groups: dict[tuple[Path, str], list[tuple[bool, Path]]] = {}
    for file in files:
        try:
            series, is_volume = _read_header(file)
        except (OSError, ValueError):
            series, is_volume = f"\0{file.name}", False
        groups.setdefault((file.parent, series), []).append((is_volume, file))
    return [Series(_finest(group), len(group)) for group in groups.values()]


def files_in(folder: Path) -> list[Path]:
    """Return the DICOM files directly within a folder, by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == SUFFIX and not path.name.startswith(".")
    )


def slide_file(folder: Path) -> Path:
    """Return the file to open for a folder that holds one DICOM slide.

    Raises
    ------
    SlideReadError
        If the folder cannot be read, or holds no series or several.
    """
    try:
        found = group_series(files_in(folder))
    except OSError as error:
        msg = f"cannot read the folder {folder}: {error.strerror}"
        raise SlideReadError(msg) from error
    if not found:
        msg = f"{folder} is a folder without DICOM files ({SUFFIX}), not a slide"
        raise SlideReadError(msg)
    if len(found) > 1:
        names = ", ".join(series.file.name for series in found[:3])
        msg = f"{folder} holds {len(found)} DICOM series; name one file of the slide, as in {names}"
        raise SlideReadError(msg)
    return found[0].file


def _finest(group: list[tuple[bool, Path]]) -> Path:
    """Return the largest file, of the volume where there is one; the first by name of equals."""
    volume = [file for is_volume, file in group if is_volume]
    ordered = sorted(volume or [file for _, file in group])
    return max(ordered, key=lambda file: file.stat().st_size if file.exists() else 0)


def _read_header(path: Path) -> tuple[str, bool]:
    """Return the series' identifier, and whether the instance holds pixels of the slide itself.

    Raises
    ------
    ValueError
        If it is no DICOM file, or of a transfer syntax that is not read here.
    """
    with path.open("rb") as handle:
        handle.seek(128)
        if handle.read(4) != b"DICM":
            msg = "not a DICOM file"
            raise ValueError(msg)
        image_type = ""
        for tag, value in _elements(handle):
            if tag == _IMAGE_TYPE:
                image_type = value
            if tag == _SERIES and value:
                return value, "VOLUME" in image_type.split("\\")
            if tag > _SERIES:
                break
    msg = "no SeriesInstanceUID"
    raise ValueError(msg)


def _elements(handle: BinaryIO) -> Iterator[tuple[int, str]]:
    """Yield tag and value of the elements of the file's header, then of the data set."""
    explicit = True
    syntax = ""
    while (tag := _peek_tag(handle)) is not None:
        if tag >> 16 > 2:
            if syntax in (_DEFLATED, _BIG_ENDIAN):
                msg = f"transfer syntax {syntax}"
                raise ValueError(msg)
            explicit = syntax != _IMPLICIT
        tag, length = _element_header(handle, explicit=explicit)
        if length == _UNDEFINED:
            _skip_sequence(handle, explicit=explicit)
            value = ""
        elif length <= _LONGEST_VALUE:
            value = _take(handle, length).decode("latin-1").rstrip("\0 ")
        else:
            handle.seek(length, os.SEEK_CUR)
            value = ""
        if tag == _TRANSFER_SYNTAX:
            syntax = value
        yield tag, value


def _peek_tag(handle: BinaryIO) -> int | None:
    data = handle.read(4)
    if len(data) < 4:
        return None
    handle.seek(-4, os.SEEK_CUR)
    group, element = struct.unpack("<HH", data)
    return int(group) << 16 | int(element)


def _element_header(handle: BinaryIO, *, explicit: bool) -> tuple[int, int]:
    """Read tag and length; items and delimiters never have a value representation."""
    group, element = struct.unpack("<HH", _take(handle, 4))
    tag = int(group) << 16 | int(element)
    if not explicit or group == _ITEM >> 16:
        return tag, int.from_bytes(_take(handle, 4), "little")
    kind, short = struct.unpack("<2sH", _take(handle, 4))
    if kind in _LONG_LENGTHS:
        return tag, int.from_bytes(_take(handle, 4), "little")
    return tag, int(short)


def _skip_sequence(handle: BinaryIO, *, explicit: bool, depth: int = 0) -> None:
    """Skip the items of a sequence of undefined length, and its end."""
    if depth > _DEEPEST:
        msg = "sequences nested too deeply"
        raise ValueError(msg)
    while True:
        tag, length = _element_header(handle, explicit=explicit)
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            msg = f"tag {tag:08X} where an item should be"
            raise ValueError(msg)
        if length != _UNDEFINED:
            handle.seek(length, os.SEEK_CUR)
            continue
        while True:
            tag, length = _element_header(handle, explicit=explicit)
            if tag == _ITEM_END:
                break
            if length == _UNDEFINED:
                _skip_sequence(handle, explicit=explicit, depth=depth + 1)
            else:
                handle.seek(length, os.SEEK_CUR)


def _take(handle: BinaryIO, length: int) -> bytes:
    data = handle.read(length)
    if len(data) < length:
        msg = "the header is truncated"
        raise ValueError(msg)
    return data
