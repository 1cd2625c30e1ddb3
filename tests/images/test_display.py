import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_windowing

from wsi_specdec.images.display import (
    WindowFunction,
    ranged,
    sixteen_bit,
    stored_values,
    upright,
    windowed,
)

VALUES = np.arange(-50, 300, dtype=np.float32)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(100, 60), (127.5, 255), (40, 2)])
def test_windows_are_those_of_pydicom(
    function: WindowFunction, centre: float, width: float
) -> None:
    dataset = Dataset()
    dataset.WindowCenter, dataset.WindowWidth = centre, width
    dataset.VOILUTFunction = function
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.PixelRepresentation = 8, 0
    reference = apply_windowing(VALUES, dataset) / 255
    assert windowed(VALUES, centre, width, function) == pytest.approx(reference, abs=1e-5)


def test_a_linear_window_of_width_one_is_a_step() -> None:
    # DICOM PS3.3 C.11.2.1.2.1: lowest where x <= c - 0.5, else highest.
    values = np.array([98, 99.5, 99.6, 100], np.float32)
    assert windowed(values, 100, 1, "LINEAR").tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("function", "width"), [("LINEAR", 0.5), ("LINEAR_EXACT", 0), ("SIGMOID", -3)]
)
def test_windows_that_cannot_be_are_refused(function: WindowFunction, width: float) -> None:
    with pytest.raises(ValueError, match=f"{function} window"):
        windowed(VALUES, 100, width, function)


@given(
    stored=st.integers(2, 16),
    above=st.integers(0, 14),
    signed=st.booleans(),
    garbage=st.integers(0, 2**16 - 1),
    data=st.data(),
)
def test_values_are_found_among_other_bits(
    stored: int, above: int, signed: bool, garbage: int, data: st.DataObject
) -> None:
    above = min(above, 16 - stored)
    below = 16 - stored - above
    low = -(1 << (stored - 1)) if signed else 0
    value = data.draw(st.integers(low, low + (1 << stored) - 1))
    mask = ((1 << stored) - 1) << below
    cell = ((value << below) & mask) | (garbage & ~mask & 0xFFFF)
    raw = np.array([[cell]], np.uint16)
    assert stored_values(raw, stored, stored - 1 + below, signed=signed).tolist() == [[value]]


def test_eight_bit_cells_hold_signs_too() -> None:
    raw = np.array([[0x00, 0x7F, 0x80, 0xFF]], np.uint8)
    assert stored_values(raw, 8, 7, signed=True).tolist() == [[0, 127, -128, -1]]


def test_range_is_that_of_the_values_used() -> None:
    values = np.array([-2000, 10, 20, 30], np.float32)
    used = values > -2000
    assert ranged(values, used).tolist() == [0, 0, 0.5, 1]
    assert ranged(values, np.zeros(4, np.bool_)).tolist() == [0, 0, 0, 0]
    assert ranged(np.full(4, 7, np.float32), used).tolist() == [0, 0, 0, 0]


def test_white_is_the_highest_of_sixteen_bits() -> None:
    assert sixteen_bit(np.array([0, 0.5, 1], np.float32)).tolist() == [0, 32768, 65535]


# Seen by its reader: head up, the patient's left at the right.
UPRIGHT: NDArray[np.uint8] = np.arange(6, dtype=np.uint8).reshape(2, 3)


@pytest.mark.parametrize(
    ("orientation", "stored", "exchanged"),
    [
        (("L", "F"), UPRIGHT, False),
        (("LA", "FP"), UPRIGHT, False),
        (("R", "F"), UPRIGHT[:, ::-1], False),
        (("L", "H"), UPRIGHT[::-1], False),
        (("R", "H"), UPRIGHT[::-1, ::-1], False),
        (("F", "L"), UPRIGHT.T, True),
        (("F", "R"), UPRIGHT[:, ::-1].T, True),
        (("H", "L"), UPRIGHT[::-1].T, True),
        (("A", "F"), UPRIGHT, False),
        (("P", "H"), UPRIGHT[::-1], False),
        ((), UPRIGHT, False),
        (("L", "P"), UPRIGHT, False),
        (("", "F"), UPRIGHT, False),
    ],
)
def test_images_are_turned_upright(
    orientation: tuple[str, ...], stored: NDArray[np.uint8], exchanged: bool
) -> None:
    turned, swapped = upright(stored, orientation)
    assert turned.tolist() == UPRIGHT.tolist()
    assert swapped is exchanged


def test_colour_is_turned_with_its_channels() -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    turned, _ = upright(pixels, ("R", "F"))
    assert turned.tolist() == pixels[:, ::-1].tolist()
