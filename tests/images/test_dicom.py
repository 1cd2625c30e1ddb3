from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from image_files import BIRTH_DATE, PATIENT_ID, PATIENT_NAME, dicom_dataset, ramp, write_dicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array

from wsi_specdec.errors import ImageError
from wsi_specdec.images import open_image

RAMP = ramp()


def shown(low: float, high: float, values: NDArray[Any]) -> NDArray[np.uint16]:
    """What a straight ramp from `low` to `high` makes of values."""
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.rint(share * 65535).astype(np.uint16)


def near(pixels: NDArray[Any], expected: NDArray[Any], tolerance: int = 1) -> bool:
    """Whether 16-bit values are equal but for the rounding of float32."""
    return bool((np.abs(pixels.astype(np.int64) - expected.astype(np.int64)) <= tolerance).all())


def encapsulated(
    path: Path, frame: bytes | bytearray, syntax: str, pixels: NDArray[Any], **more: object
) -> Path:
    dataset = dicom_dataset(pixels, **more)
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    dataset.PixelData = encapsulate([bytes(frame)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_without_a_window_values_are_stretched(tmp_path: Path) -> None:
    picture = open_image(write_dicom(tmp_path / "a.dcm", RAMP, BitsStored=12, HighBit=11))
    assert picture.pixels.dtype == np.uint16
    assert near(picture.pixels, shown(0, 4095, RAMP))


def test_the_first_window_is_applied_after_the_rescale(tmp_path: Path) -> None:
    header = {"WindowCenter": [1000.5, 0.5], "WindowWidth": [2001, 2]}
    header |= {"RescaleSlope": 2, "RescaleIntercept": -1000}
    picture = open_image(write_dicom(tmp_path / "a.dcm", RAMP, **header))
    # LINEAR: from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2.
    assert near(picture.pixels, shown(0, 2000, RAMP * 2.0 - 1000))


def test_exact_windows_are_exact(tmp_path: Path) -> None:
    header = {"WindowCenter": 1000, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"}
    picture = open_image(write_dicom(tmp_path / "a.dcm", RAMP, **header))
    assert near(picture.pixels, shown(0, 2000, RAMP))


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    header = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    picture = open_image(write_dicom(tmp_path / "a.dcm", RAMP, **header))
    assert near(picture.pixels, 65535 - shown(0, 4095, RAMP).astype(np.int64))


def test_signed_values_below_zero_are_dark(tmp_path: Path) -> None:
    values = RAMP.astype(np.int16) - 2000
    picture = open_image(write_dicom(tmp_path / "a.dcm", values))
    assert near(picture.pixels, shown(-2000, 2095, values))


def test_bits_above_the_stored_ones_are_left_out(tmp_path: Path) -> None:
    overlaid = RAMP | np.uint16(0x5000)
    overlaid[0] = RAMP[0]
    path = write_dicom(tmp_path / "a.dcm", overlaid, BitsStored=12, HighBit=11)
    assert near(open_image(path).pixels, shown(0, 4095, RAMP))


def test_a_table_for_display_is_looked_up(tmp_path: Path) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.LUTData = [4, 0, 8], [0, 255, 51, 102]
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    values = np.array([[0, 1], [2, 3], [9, 0]], np.uint16)
    header = {"VOILUTSequence": [table], "WindowCenter": 1, "WindowWidth": 2}
    picture = open_image(write_dicom(tmp_path / "a.dcm", values, **header))
    assert picture.pixels.tolist() == [[0, 65535], [13107, 26214], [26214, 0]]


def test_padding_is_black_and_does_not_count(tmp_path: Path) -> None:
    values = RAMP.astype(np.int16)
    values[:, :3] = -2000
    values[:, 3] = -1990
    header: dict[str, object] = {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1990}
    header["PhotometricInterpretation"] = "MONOCHROME1"
    picture = open_image(write_dicom(tmp_path / "a.dcm", values, **header))
    inside = values[:, 4:]
    assert (picture.pixels[:, :4] == 0).all()
    lowest, highest = int(inside.min()), int(inside.max())
    assert near(picture.pixels[:, 4:], 65535 - shown(lowest, highest, inside).astype(np.int64))


def test_eight_bit_colour_is_kept(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    assert np.array_equal(open_image(write_dicom(tmp_path / "a.dcm", rgb)).pixels, rgb)


def test_orientation_aspect_and_view_are_read(tmp_path: Path) -> None:
    header = {"PatientOrientation": ["F", "L"], "ImagerPixelSpacing": [0.2, 0.1]}
    picture = open_image(write_dicom(tmp_path / "a.dcm", RAMP, ViewPosition="PA", **header))
    assert near(picture.pixels, shown(0, 4095, RAMP.T))
    # Pixels twice as high as wide lie on their side now.
    assert picture.pixel_aspect == pytest.approx(0.5)
    assert picture.view == "PA"


def test_aspect_ratio_goes_before_spacing(tmp_path: Path) -> None:
    header = {"PixelAspectRatio": [3, 2], "PixelSpacing": [1, 1]}
    picture = open_image(write_dicom(tmp_path / "a.dcm", RAMP, **header))
    assert picture.pixel_aspect == pytest.approx(1.5)


def test_only_terms_of_the_standard_are_views(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, ViewPosition="DOE")
    assert open_image(path).view is None


def test_the_patient_is_read_but_not_shown(tmp_path: Path) -> None:
    picture = open_image(write_dicom(tmp_path / "a.dcm", RAMP))
    assert picture.patient_id == PATIENT_ID
    assert PATIENT_ID not in repr(picture)
    assert open_image(write_dicom(tmp_path / "b.dcm", RAMP, PatientID="")).patient_id is None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"NumberOfFrames": 3}, "has 3 frames"),
        ({"BurnedInAnnotation": "YES"}, "burnt-in annotations"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 bits a value"),
        ({"BitsAllocated": 1, "BitsStored": 1}, "1 bits a value"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "photometric interpretation"),
        ({"PhotometricInterpretation": None}, "photometric interpretation"),
        ({"Rows": None}, "holds no image"),
        ({"Rows": 60000, "Columns": 60000}, "60000 by 60000 pixels"),
        ({"PixelAspectRatio": [9, 1]}, "9 times as high as wide"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "cannot be read"),
        ({"PixelData": b"\0" * 20}, "corrupt or cut off"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    tmp_path: Path, header: dict[str, Any], message: str
) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, **header)
    with pytest.raises(ImageError, match=message) as caught:
        open_image(path)
    assert "a.dcm" in str(caught.value)


def test_burnt_in_annotations_can_be_allowed(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, BurnedInAnnotation="YES")
    assert near(open_image(path, burnt_in="keep").pixels, shown(0, 4095, RAMP))


def test_messages_and_causes_do_not_quote_the_header(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, WindowWidth=100, WindowCenter=50)
    data = path.read_bytes()
    # A number that is a name: pydicom's own message would quote it.
    path.write_bytes(data.replace(b"50", b"Do").replace(b"100", b"Doe"))
    with pytest.raises(ImageError, match="cannot be read") as caught:
        open_image(path)
    assert "Doe" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


CODED: dict[uid.UID, Callable[[NDArray[Any]], bytes | bytearray]] = {
    uid.JPEGBaseline8Bit: lambda p: imagecodecs.jpeg8_encode(p, level=98),
    uid.JPEGLosslessSV1: imagecodecs.ljpeg_encode,
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: lambda p: imagecodecs.jpeg2k_encode(p, codecformat="j2k", level=0),
}


@pytest.mark.parametrize("syntax", CODED, ids=lambda syntax: uid.UID(syntax).name)
def test_compressed_grey_is_decoded(tmp_path: Path, syntax: uid.UID) -> None:
    baseline = syntax == uid.JPEGBaseline8Bit
    values: NDArray[Any] = (ramp(16, 16) >> 4).astype(np.uint8) if baseline else ramp(16, 16)
    frame = CODED[syntax](values)
    more = {} if baseline else {"BitsStored": 12, "HighBit": 11}
    path = encapsulated(tmp_path / "a.dcm", frame, syntax, values, **more)
    expected = shown(float(values.min()), float(values.max()), values)
    assert near(open_image(path).pixels, expected, 2000 if baseline else 1)


def test_compressed_pixels_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    frame = imagecodecs.jpeg8_encode(noise, level=90)
    path = encapsulated(tmp_path / "a.dcm", frame[: len(frame) // 2], uid.JPEGBaseline8Bit, noise)
    with pytest.raises(ImageError, match="corrupt or cut off"):
        open_image(path)


def test_compressed_pixels_of_another_size_are_refused(tmp_path: Path) -> None:
    frame = imagecodecs.jpeg8_encode(np.zeros((32, 32), np.uint8))
    path = encapsulated(
        tmp_path / "a.dcm", frame, uid.JPEGBaseline8Bit, np.zeros((64, 64), np.uint8)
    )
    with pytest.raises(ImageError, match="cannot be read"):
        open_image(path)


def test_compression_without_a_decoder_is_named(tmp_path: Path) -> None:
    path = encapsulated(tmp_path / "a.dcm", b"\0\0\1\xba", uid.MPEG2MPML, RAMP)
    with pytest.raises(ImageError, match="MPEG2"):
        open_image(path)


def shipped(name: str) -> Path:
    """One of pydicom's own files, of those that come with its wheel."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), name
    return Path(path)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_padded.dcm",
        "image_dfl.dcm",
    ],
)
def test_grey_files_of_pydicom_are_read_whole(name: str) -> None:
    picture = open_image(shipped(name))
    reference = shipped("MR_small.dcm") if name.startswith("MR_") else shipped(name)
    header = pydicom.dcmread(shipped(name))
    assert picture.pixels.shape == (header.Rows, header.Columns)
    # The same pixels, whichever way they are stored.
    assert np.array_equal(picture.pixels, open_image(reference).pixels)
    assert picture.pixels.std() > 1000


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_rle.dcm",
        "SC_rgb_small_odd.dcm",
        "SC_rgb_small_odd_jpeg.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "examples_ybr_color.dcm",
        "examples_rgb_color.dcm",
    ],
)
def test_colour_files_of_pydicom_are_those_it_shows(name: str) -> None:
    dataset = pydicom.dcmread(shipped(name))
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        with pytest.raises(ImageError, match="frames"):
            open_image(shipped(name))
        return
    picture = open_image(shipped(name), burnt_in="keep")
    reference = pixel_array(dataset)
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.astype(int) - reference).mean() < 2


def test_lossless_jpeg_colour_is_that_of_other_lossless_files() -> None:
    # pydicom itself has no decoder for the first here.
    first, second = (shipped(f"SC_rgb_{name}.dcm") for name in ("jpeg_gdcm", "rle"))
    assert np.array_equal(open_image(first).pixels, open_image(second).pixels)


@pytest.mark.parametrize(
    "name", ["SC_rgb_rle_2frame.dcm", "rtplan.dcm", "test-SR.dcm", "waveform_ecg.dcm"]
)
def test_other_files_of_pydicom_are_refused(name: str) -> None:
    with pytest.raises(ImageError, match=r"frames|holds no image"):
        open_image(shipped(name))


def test_no_error_names_the_patient(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP)
    whole = path.read_bytes()
    for end in range(140, len(whole), 97):
        path.write_bytes(whole[:end])
        with pytest.raises(ImageError) as caught:
            open_image(path)
        for secret in (PATIENT_NAME, PATIENT_ID, BIRTH_DATE, "Doe"):
            assert secret not in str(caught.value)
