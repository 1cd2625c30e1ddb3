"""What the vendors' properties say: pure functions of a mapping of strings."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from wsi_specdec.geometry import MAX_ANISOTROPY, PLAUSIBLE_MPP, Box, Size, check_mpp
from wsi_specdec.slides.base import SlideInfo

Properties = Mapping[str, str]

GENERIC: Final = "generic-tiff"
PNG: Final = "png"
JPEG: Final = "jpeg"
METADATA: Final = "metadata"
VENDOR: Final = "openslide.vendor"
MPP_X: Final = "openslide.mpp-x"
MPP_Y: Final = "openslide.mpp-y"
# Set by our readers from NDPI tag 65451: the filter's emission in nm, 0 in brightfield.
NDPI_WAVELENGTH: Final = "hamamatsu.wavelength"

# Formats without a scanner's metadata: their resolution is often a printer's or a screen's.
_WITHOUT_VENDOR = frozenset({GENERIC, PNG, JPEG})
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
# A value given that lies further from the metadata's is worth a warning.
_MAX_DISAGREEMENT = 0.10
# µm per pixel × magnification of common scanners: 0.5 at 20 x, 0.25 at 40 x.
_MPP_TIMES_POWER = 10.0
# Cameras with adapters reach 0.24 µm with a 20 x lens; nothing honest reaches 0.5 with 40 x.
_POWER_TOLERANCE = (0.4, 1.6)


class MppFound(NamedTuple):
    """µm per pixel and where it is from, both None where unknown, and what to warn of."""

    mpp: float | None
    source: str | None
    warnings: tuple[str, ...] = ()


class MppGiven(NamedTuple):
    """µm per pixel that the user gives, None where not, and where: "flag" or "manifest"."""

    mpp: float | None
    source: str


class Levels(NamedTuple):
    """Size and downsample of each level, finest first."""

    sizes: tuple[Size, ...]
    downsamples: tuple[float, ...]


def slide_info(
    properties: Properties, reader: str, levels: Levels, path: Path, given: MppGiven
) -> SlideInfo:
    """Gather what a slide states about itself.

    Raises
    ------
    ResolutionError
        As `resolve_mpp`.
    """
    vendor = properties.get(VENDOR) or GENERIC
    found = resolve_mpp(properties, vendor, path, given.mpp, given.source)
    power = objective_power(properties)
    return SlideInfo(
        vendor=vendor,
        reader=reader,
        level_sizes=levels.sizes,
        level_downsamples=levels.downsamples,
        mpp=found.mpp,
        mpp_source=found.source,
        objective_power=power,
        scanner=scanner(properties),
        bounds=bounds(properties, levels.sizes[0]),
        fluorescence=is_fluorescence(properties),
        warnings=(*found.warnings, *_power_warnings(found, power)),
    )


def resolve_mpp(
    properties: Properties,
    vendor: str,
    path: Path,
    override: float | None,
    override_source: str,
) -> MppFound:
    """Return the override, else the vendor's mpp, else that of a picture's resolution.

    The resolution of a generic TIFF, PNG or JPEG is often a printer's (72 dpi): one that no slide
    can have is taken as none. Axes that differ by 5 % or less are averaged.

    Raises
    ------
    ResolutionError
        If the override, or else the vendor's mpp, is not plausible, or its pixels not square.
    """
    stated = _stated_mpp(properties, vendor)
    if override is not None:
        where = f"the {override_source} for {path}"
        mpp = check_mpp(override, override, where)
        return MppFound(mpp, override_source, _disagreement(stated, mpp, override_source))
    if stated is None or (vendor in _WITHOUT_VENDOR and not all(map(_plausible, stated))):
        return MppFound(None, None)
    return MppFound(check_mpp(*stated, str(path)), METADATA)


def objective_power(properties: Properties) -> float | None:
    """Return the objective's magnification where it is a positive number."""
    value = _number(properties, "openslide.objective-power")
    return value if value is not None and 0 < value < math.inf else None


def scanner(properties: Properties) -> str | None:
    """Return the scanner's model or serial, the most telling one there is."""
    return next((text for name in _SCANNERS if (text := properties.get(name, "").strip())), None)


def bounds(properties: Properties, level0: Size) -> Box:
    """Return the scanned part, cut to the slide; the whole slide where not stated."""
    whole = Box(0, 0, level0.width, level0.height)
    names = ("x", "y", "width", "height")
    found = [_number(properties, f"openslide.bounds-{name}") for name in names]
    values = [int(value) for value in found if value is not None and math.isfinite(value)]
    if len(values) < len(names):
        return whole
    x, y, width, height = values
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


def _stated_mpp(properties: Properties, vendor: str) -> tuple[float, float] | None:
    """Return what the file states, x and y, plausible or not."""
    x, y = _number(properties, MPP_X), _number(properties, MPP_Y)
    if vendor == GENERIC and (x is None or y is None):
        x, y = _tiff_mpp(properties)
    return None if x is None or y is None else (x, y)


def _tiff_mpp(properties: Properties) -> tuple[float | None, float | None]:
    unit = _MICROMETRES.get(properties.get("tiff.ResolutionUnit", "").lower())
    per_unit = (_number(properties, "tiff.XResolution"), _number(properties, "tiff.YResolution"))
    mpp = [unit / value if unit and value else None for value in per_unit]
    return mpp[0], mpp[1]


def _plausible(mpp: float) -> bool:
    low, high = PLAUSIBLE_MPP
    return low <= mpp <= high


def _disagreement(stated: tuple[float, float] | None, mpp: float, source: str) -> tuple[str, ...]:
    """Warn where plausible metadata say something else than the user."""
    if stated is None or not all(map(_plausible, stated)):
        return ()
    x, y = stated
    mean = (x + y) / 2
    if abs(x - y) > MAX_ANISOTROPY * max(x, y) or abs(mpp / mean - 1) <= _MAX_DISAGREEMENT:
        return ()
    text = (
        f"mpp {mpp:g} from the {source} is used, but the file states {mean:.4g}: "
        "check which of them is right"
    )
    return (text,)


def _power_warnings(found: MppFound, power: float | None) -> tuple[str, ...]:
    """Warn where the magnification contradicts the mpp, or is all that is known."""
    if power is None:
        return ()
    usual = _MPP_TIMES_POWER / power
    if found.mpp is None:
        text = (
            f"the file states no mpp; its objective of {power:g} x usually means about "
            f"{usual:.3g}: if that is so, give it with --slide-mpp {usual:.3g} or in the "
            "manifest's column 'mpp'"
        )
        return (text,)
    low, high = _POWER_TOLERANCE
    if low <= found.mpp / usual <= high:
        return ()
    text = (
        f"mpp {found.mpp:.4g} (from the {found.source}) does not go with an objective of "
        f"{power:g} x, which usually means about {usual:.3g}: check it, and give the right one "
        "with --slide-mpp or in the manifest's column 'mpp'"
    )
    return (text,)


def _number(properties: Properties, name: str) -> float | None:
    try:
        return float(properties[name])
    except (KeyError, ValueError):
        return None
