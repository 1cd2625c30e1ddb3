"""DICOM slides: many files, one slide."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsi_specdec.errors import SlideReadError
from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides import dicom as dicom_files
from wsi_specdec.slides import open_slide, slide_file
from wsi_specdec.slides.dicom import Series, group_series

WriteInstance = Callable[..., Path]

SERIES = "1.3.6.1.4.1.11129.5.7.0.1.517182092386.24422120.1688792467737634"
UNDEFINED = 0xFFFF_FFFF


def element(tag: int, kind: bytes, value: bytes, length: int | None = None) -> bytes:
    """Encode an element with explicit value representation, little endian."""
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind
    if kind in (b"SQ", b"OB", b"UN"):
        return head + struct.pack("<HI", 0, size) + value
    return head + struct.pack("<H", size) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, size) + value


def item(value: bytes, *, defined: bool) -> bytes:
    if defined:
        return implicit(0xFFFEE000, value)
    return implicit(0xFFFEE000, value, UNDEFINED) + implicit(0xFFFEE00D, b"")


def header(path: Path, data: bytes, syntax: bytes = b"1.2.840.10008.1.2.1") -> Path:
    meta = element(0x0002_0010, b"UI", syntax + b"\0" * (len(syntax) % 2))
    path.write_bytes(bytes(128) + b"DICM" + meta + data)
    return path


def series_of(path: Path) -> str | None:
    """Return the series as grouping sees it; None where the file stands alone."""
    try:
        return dicom_files._read_header(path)[0]
    except ValueError:
        return None


def test_a_dicom_slide_is_read(dicom: Path) -> None:
    with open_slide(dicom) as slide:
        info = slide.info
        pixels = slide.read_region(0, 0, 0, Size(1152, 700))
    assert (info.vendor, info.reader) == ("dicom", "openslide")
    assert info.level_sizes == (Size(1152, 700),)
    # 28.969 by 28.968: averaged.
    assert info.mpp == pytest.approx(28.9685)
    assert info.mpp_source == "metadata"
    assert info.bounds == Box(0, 0, 1152, 700)
    assert not info.fluorescence
    # A stained section on white glass.
    assert np.percentile(pixels, 90) > 200
    assert np.percentile(pixels, 1) < 150


def test_the_instances_of_a_series_are_one_slide(write_instance: WriteInstance) -> None:
    label = write_instance("s/1.dcm", kind="LABEL", padding=5000)
    coarse = write_instance("s/2.dcm")
    fine = write_instance("s/3.dcm", padding=1000)
    other = write_instance("s/4.dcm", series="1.2.3.4")
    assert group_series([label, coarse, fine, other]) == [Series(fine, 3), Series(other, 1)]
    # Elsewhere, the same series is another copy.
    copy = write_instance("t/1.dcm")
    assert group_series([label, copy]) == [Series(label, 1), Series(copy, 1)]


def test_a_folder_of_instances_opens_as_its_slide(write_instance: WriteInstance) -> None:
    write_instance("s/1.dcm", kind="LABEL", padding=5000)
    fine = write_instance("s/2.dcm")
    assert slide_file(fine.parent) == fine
    with open_slide(fine.parent) as slide:
        assert slide.path == fine
        assert slide.info.level_sizes == (Size(1152, 700),)


def test_a_folder_of_several_series_is_not_one_slide(write_instance: WriteInstance) -> None:
    folder = write_instance("s/1.dcm").parent
    write_instance("s/2.dcm", series="1.2.3.4")
    with pytest.raises(SlideReadError, match=r"holds 2 DICOM series.*1\.dcm, 2\.dcm"):
        open_slide(folder)


def test_what_cannot_be_parsed_stands_alone(tmp_path: Path, dicom: Path) -> None:
    bad = [tmp_path / f"{name}.dcm" for name in ("empty", "text", "cut", "missing")]
    bad[0].touch()
    bad[1].write_text("no slide" * 50)
    bad[2].write_bytes(dicom.read_bytes()[:400])
    assert group_series(bad) == [Series(path, 1) for path in bad]


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("sequence_defined", [True, False])
def test_sequences_before_the_series_are_skipped(
    tmp_path: Path, *, defined: bool, sequence_defined: bool
) -> None:
    # A referenced series, nested twice, must not be taken for the slide's own.
    decoy = element(0x0020_000E, b"UI", b"9.9.9.")
    inner = item(decoy, defined=defined)
    nested = element(0x0008_1199, b"SQ", inner + implicit(0xFFFEE0DD, b""), UNDEFINED)
    items = item(nested + decoy, defined=defined) * 2
    if sequence_defined:
        sequence = element(0x0008_1115, b"SQ", items)
    else:
        sequence = element(0x0008_1115, b"SQ", items + implicit(0xFFFEE0DD, b""), UNDEFINED)
    long = element(0x0018_9999, b"OB", bytes(5000))
    own = element(0x0020_000E, b"UI", b"1.2.3\0")
    assert series_of(header(tmp_path / "a.dcm", sequence + long + own)) == "1.2.3"


def test_implicit_value_representation(tmp_path: Path) -> None:
    nested = item(implicit(0x0020_000E, b"9.9.9."), defined=False)
    sequence = implicit(0x0008_1115, nested + implicit(0xFFFEE0DD, b""), UNDEFINED)
    data = implicit(0x0008_0008, b"A\\B\\VOLUME") + sequence + implicit(0x0020_000E, b"1.2.3\0")
    path = header(tmp_path / "a.dcm", data, b"1.2.840.10008.1.2")
    assert dicom_files._read_header(path) == ("1.2.3", True)


@pytest.mark.parametrize("syntax", [b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2"])
def test_encodings_that_are_not_read_stand_alone(tmp_path: Path, syntax: bytes) -> None:
    own = element(0x0020_000E, b"UI", b"1.2.3\0")
    assert series_of(header(tmp_path / "a.dcm", own, syntax)) is None


@settings(
    max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_headers_never_stop_the_others(
    tmp_path: Path, dicom: Path, data: st.DataObject
) -> None:
    content = bytearray(dicom.read_bytes()[:3000])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, 2999))] = data.draw(st.integers(0, 255))
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(content[: data.draw(st.integers(0, 3000))])
    (tmp_path / "good.dcm").write_bytes(dicom.read_bytes())
    files = {series.file for series in group_series([bad, tmp_path / "good.dcm"])}
    assert tmp_path / "good.dcm" in files
