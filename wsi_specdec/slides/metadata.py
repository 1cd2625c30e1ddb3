"""What the vendors' properties say: pure functions of a mapping of strings."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from wsi_specdec.geometry import PLAUSIBLE_MPP, Box, Size, check_mpp

Properties = Mapping[str, str]

GENERIC = "generic-tiff"
METADATA = "metadata"
# Set by our readers from NDPI tag 65451: the filter's emission in nm, 0 in brightfield.
NDPI_WAVELENGTH = "hamamatsu.wavelength"

_SCANNERS = (
    "aperio.ScanScope ID",
    "hamamatsu.Product",
    "leica.device-model",
    "mirax.GENERAL.SLIDE_SCANNER_NAME",
    "philips.DICOM_MANUFACTURERS_MODEL_NAME",
    "ventana.ScannerModel",
    "dicom.ManufacturerModelName",
    "dicom.Manufacturer",
    "tiff.Model",
    "hamamatsu.Model",
)
_MICROMETRES = {"centimeter": 10_000.0, "inch": 25_400.0}
_WAVELENGTH = re.compile(r"(?:Excitation|Emission)WaveLength=0*[1-9]")
_DICOM_FLUORESCENCE = re.compile(r"fluorescence", re.IGNORECASE)


class MppFound(NamedTuple):
    """µm per pixel and where it is from, both None where unknown."""

    mpp: float | None
    source: str | None


def resolve_mpp(
    properties: Properties,
    vendor: str,
    path: Path,
    override: float | None,
    override_source: str,
) -> MppFound:
    """Return the override, else the vendor's mpp, else that of a generic TIFF's resolution.

    A generic TIFF's resolution is often a printer's (72 dpi): one that no slide can have is taken
    as none.

    Raises
    ------
    ResolutionError
        If the override, or else the vendor's mpp, is not plausible, or its pixels not square.
    """
    if override is not None:
        where = f"the {override_source} for {path}"
        return MppFound(check_mpp(override, override, where), override_source)
    stated = (_number(properties, "openslide.mpp-x"), _number(properties, "openslide.mpp-y"))
    if vendor == GENERIC and None in stated:
        stated = _tiff_mpp(properties)
    mpp_x, mpp_y = stated
    if mpp_x is None or mpp_y is None:
        return MppFound(None, None)
    low, high = PLAUSIBLE_MPP
    if vendor == GENERIC and not (low <= mpp_x <= high and low <= mpp_y <= high):
        return MppFound(None, None)
    return MppFound(check_mpp(mpp_x, mpp_y, str(path)), METADATA)


def objective_power(properties: Properties) -> float | None:
    """Return the objective's magnification where it is a positive number."""
    value = _number(properties, "openslide.objective-power")
    return value if value is not None and value > 0 else None


def scanner(properties: Properties) -> str | None:
    """Return the scanner's model or serial, the most telling one there is."""
    return next((text for name in _SCANNERS if (text := properties.get(name, "").strip())), None)


def bounds(properties: Properties, level0: Size) -> Box:
    """Return the scanned part, cut to the slide; the whole slide where not stated."""
    whole = Box(0, 0, level0.width, level0.height)
    names = ("x", "y", "width", "height")
    values = [_number(properties, f"openslide.bounds-{name}") for name in names]
    if any(value is None for value in values):
        return whole
    x, y, width, height = (int(value) for value in values if value is not None)
    left, top = max(0, x), max(0, y)
    right, bottom = min(level0.width, x + width), min(level0.height, y + height)
    if right <= left or bottom <= top:
        return whole
    return Box(left, top, right - left, bottom - top)


def is_fluorescence(properties: Properties) -> bool:
    """Tell whether a Hamamatsu, Leica or DICOM slide states a fluorescence scan."""
    if (_number(properties, NDPI_WAVELENGTH) or 0) > 0:
        return True
    if properties.get("leica.illumination-source", "").lower() == "fluorescence":
        return True
    for name, value in properties.items():
        # OpenSlide hands the filter cube's lines over as one value of a Hamamatsu property.
        if name.startswith("hamamatsu.") and _WAVELENGTH.search(value):
            return True
        if "IlluminationTypeCodeSequence" in name and _DICOM_FLUORESCENCE.search(value):
            return True
    return False


def _tiff_mpp(properties: Properties) -> tuple[float | None, float | None]:
    unit = _MICROMETRES.get(properties.get("tiff.ResolutionUnit", "").lower())
    per_unit = (_number(properties, "tiff.XResolution"), _number(properties, "tiff.YResolution"))
    mpp = [unit / value if unit and value else None for value in per_unit]
    return mpp[0], mpp[1]


def _number(properties: Properties, name: str) -> float | None:
    try:
        return float(properties[name])
    except (KeyError, ValueError):
        return None
