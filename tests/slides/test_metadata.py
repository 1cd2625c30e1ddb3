from pathlib import Path

import pytest

from wsi_specdec.errors import ResolutionError
from wsi_specdec.geometry import Box, Size
from wsi_specdec.slides import metadata

PATH = Path("s.tif")
CUBE = "0004\r;ID={}\r;ExcitationWaveLength={}\r;EmissionWaveLength={}\r;Date=2017"


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, False),
        ({"hamamatsu.;NDP Shading Data\r;Version": CUBE.format(4, 387, 455)}, True),
        ({"hamamatsu.;NDP Shading Data\r;Version": CUBE.format(4, 0, 0)}, False),
        # A brightfield scanner's calibration names fluorescence too.
        ({"hamamatsu.AHEX[0].fluorescence": "000F010700"}, False),
        ({metadata.NDPI_WAVELENGTH: "455.0"}, True),
        ({metadata.NDPI_WAVELENGTH: "0"}, False),
        ({"leica.illumination-source": "fluorescence"}, True),
        ({"leica.illumination-source": "brightfield"}, False),
        (
            {
                "dicom.OpticalPathSequence[0].IlluminationTypeCodeSequence[0].CodeMeaning": (
                    "Epifluorescence illumination"
                )
            },
            True,
        ),
        (
            {
                "dicom.OpticalPathSequence[0].IlluminationTypeCodeSequence[0].CodeMeaning": (
                    "Transmission illumination"
                )
            },
            False,
        ),
        ({"aperio.Comment": "no fluorescence here"}, False),
    ],
)
def test_fluorescence(properties: dict[str, str], *, expected: bool) -> None:
    assert metadata.is_fluorescence(properties) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((10, 20, 300, 400), Box(10, 20, 300, 400)),
        ((-5, -5, 2000, 2000), Box(0, 0, 1000, 800)),
        ((900, 700, 300, 300), Box(900, 700, 100, 100)),
        ((2000, 0, 10, 10), Box(0, 0, 1000, 800)),
        ((10, 20, 300, None), Box(0, 0, 1000, 800)),
        ((10, 20, 300, "?"), Box(0, 0, 1000, 800)),
        ((10, 20, 300, "inf"), Box(0, 0, 1000, 800)),
    ],
)
def test_bounds_are_cut_to_the_slide(values: tuple[object, ...], expected: Box) -> None:
    names = ("x", "y", "width", "height")
    properties = {
        f"openslide.bounds-{name}": str(value)
        for name, value in zip(names, values, strict=True)
        if value is not None
    }
    assert metadata.bounds(properties, Size(1000, 800)) == expected


@pytest.mark.parametrize(
    ("properties", "vendor", "expected"),
    [
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.26"}, "leica", 0.255),
        ({"openslide.mpp-x": "0.25"}, "leica", None),
        ({}, "aperio", None),
        (
            {
                "tiff.XResolution": "40000",
                "tiff.YResolution": "40000",
                "tiff.ResolutionUnit": "centimeter",
            },
            "generic-tiff",
            0.25,
        ),
        # What Aperio writes into these tags is not the scan's resolution.
        (
            {
                "tiff.XResolution": "40000",
                "tiff.YResolution": "40000",
                "tiff.ResolutionUnit": "centimeter",
            },
            "aperio",
            None,
        ),
        (
            {"tiff.XResolution": "0", "tiff.YResolution": "0", "tiff.ResolutionUnit": "inch"},
            "generic-tiff",
            None,
        ),
        ({"openslide.mpp-x": "nan", "openslide.mpp-y": "nan"}, "generic-tiff", None),
    ],
)
def test_mpp(properties: dict[str, str], vendor: str, expected: float | None) -> None:
    found = metadata.resolve_mpp(properties, vendor, PATH, None, "flag")
    assert found.mpp == (None if expected is None else pytest.approx(expected))
    assert found.source == (None if expected is None else "metadata")


@pytest.mark.parametrize("vendor", ["png", "jpeg"])
def test_mpp_of_a_picture_is_its_density_where_plausible(vendor: str) -> None:
    for stated, expected in (("0.5", 0.5), ("352.8", None), ("0.01", None)):
        properties = {"openslide.mpp-x": stated, "openslide.mpp-y": stated}
        assert metadata.resolve_mpp(properties, vendor, PATH, None, "flag").mpp == expected


@pytest.mark.parametrize("vendor", ["aperio", "generic-tiff"])
@pytest.mark.parametrize(
    ("x", "y", "given", "warns"),
    [
        ("0.5", "0.5", 0.25, True),
        ("0.5", "0.5", 0.54, False),
        ("0.5", "0.5", 0.46, False),
        ("0.5", "0.5", 0.56, True),
        ("0.5", "0.5", 0.44, True),
        ("0.49", "0.51", 0.54, False),
        # No reason to trust these more than the user.
        ("352.8", "352.8", 0.5, False),
        ("0.5", "0.6", 0.25, False),
        ("0.5", "?", 0.25, False),
    ],
)
def test_an_mpp_given_against_plausible_metadata_warns(
    vendor: str, x: str, y: str, given: float, *, warns: bool
) -> None:
    properties = {"openslide.mpp-x": x, "openslide.mpp-y": y}
    found = metadata.resolve_mpp(properties, vendor, PATH, given, "manifest")
    assert (found.mpp, found.source) == (given, "manifest")
    assert bool(found.warnings) is warns
    if warns:
        assert f"mpp {given:g} from the manifest is used, but the file states" in found.warnings[0]


@pytest.mark.parametrize(
    ("power", "mpp", "warning"),
    [
        ("20", 0.5, ""),
        ("20", 0.243, ""),  # a camera adapter
        ("20", 0.75, ""),
        ("40", 0.25, ""),
        ("40", 0.16, ""),
        ("5", 2.0, ""),
        ("40", 0.5, "mpp 0.5 (from the metadata) does not go with an objective of 40 x"),
        ("20", 1.0, "does not go with an objective of 20 x, which usually means about 0.5"),
        ("10", 0.25, "does not go with an objective of 10 x"),
        ("40", None, "objective of 40 x usually means about 0.25: if that is so"),
        ("?", 0.5, ""),
        ("?", None, ""),
    ],
)
def test_an_objective_that_contradicts_the_mpp_warns(
    power: str, mpp: float | None, warning: str
) -> None:
    properties = {"openslide.vendor": "aperio", "openslide.objective-power": power}
    if mpp is not None:
        properties |= {"openslide.mpp-x": str(mpp), "openslide.mpp-y": str(mpp)}
    levels = metadata.Levels((Size(10, 10),), (1.0,))
    info = metadata.slide_info(
        properties, "openslide", levels, PATH, metadata.MppGiven(None, "flag")
    )
    # An objective alone is a hint, never taken for the resolution.
    assert info.mpp == mpp
    assert len(info.warnings) == bool(warning)
    assert warning in "".join(info.warnings)


def test_both_warnings_are_kept() -> None:
    properties = {
        "openslide.objective-power": "40",
        "openslide.mpp-x": "0.25",
        "openslide.mpp-y": "0.25",
    }
    levels = metadata.Levels((Size(10, 10),), (1.0,))
    info = metadata.slide_info(
        properties, "openslide", levels, PATH, metadata.MppGiven(0.5, "flag")
    )
    assert [text.partition(" (")[0].partition(" is")[0] for text in info.warnings] == [
        "mpp 0.5 from the flag",
        "mpp 0.5",
    ]


@pytest.mark.parametrize("mpp", ["0", "nan", "1000"])
def test_a_vendors_nonsense_is_refused(mpp: str) -> None:
    with pytest.raises(ResolutionError, match=r"from s\.tif is not plausible"):
        metadata.resolve_mpp(
            {"openslide.mpp-x": mpp, "openslide.mpp-y": mpp}, "aperio", PATH, None, "flag"
        )


def test_scanner_is_the_most_telling_name() -> None:
    both = {"tiff.Model": "model", "hamamatsu.Product": "C9600-12", "aperio.ScanScope ID": " "}
    assert metadata.scanner(both) == "C9600-12"
    assert metadata.scanner({"tiff.Model": "model"}) == "model"
    assert metadata.scanner({}) is None


@pytest.mark.parametrize(
    ("text", "expected"), [("40", 40.0), ("0", None), ("x40", None), ("inf", None)]
)
def test_objective_power(text: str, expected: float | None) -> None:
    assert metadata.objective_power({"openslide.objective-power": text}) == expected
