"""ASAP's XML, as the CAMELYON data have it."""

from pathlib import Path

import pytest

from wsi_specdec.annotations import Regions, asap, read_regions
from wsi_specdec.errors import ManifestError
from wsi_specdec.geometry import Box, Size

LEVEL0 = Size(100_000, 200_000)
SQUARE = ((1000.5, 2000.25), (3000, 2000.25), (3000, 4000), (1000.5, 4000))


def annotation(
    group: str = "Tumor",
    kind: str = "Polygon",
    points: tuple[tuple[float, float], ...] = SQUARE,
    name: str = "Annotation 0",
) -> str:
    # Written last to first: Order decides, not the place in the file.
    corners = "".join(
        f'<Coordinate Order="{i}" X="{x}" Y="{y}" />' for i, (x, y) in [*enumerate(points)][::-1]
    )
    return (
        f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{corners}</Coordinates></Annotation>"
    )


def document(*annotations: str, head: str = '<?xml version="1.0"?>') -> str:
    return (
        f"{head}<ASAP_Annotations><Annotations>{''.join(annotations)}</Annotations>"
        '<AnnotationGroups><Group Name="Tumor" PartOfGroup="None" Color="#00ff00"><Attributes />'
        "</Group></AnnotationGroups></ASAP_Annotations>"
    )


def read(folder: Path, text: str) -> Regions:
    (folder / "tumor_001.xml").write_text(text, encoding="utf-8")
    return read_regions(folder / "tumor_001.xml", LEVEL0)


def test_groups_and_shapes(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        document(
            annotation("_0"),
            annotation("_2", "Rectangle", name="hole"),
            annotation("None", "Spline"),
            annotation("metastases", "Dot", ((5, 5),)),
            annotation("x", "PointSet", ((5, 5), (6, 6))),
            annotation("x", "Measurement", ((5, 5), (6, 6))),
            annotation("x", "Polygon", ((5, 5), (6, 6))),
        ),
    )
    assert [region.class_name for region in found.regions] == ["_0", "_2", None]
    assert [region.name for region in found.regions] == ["Annotation 0", "hole", "Annotation 0"]
    assert found.skipped == {"points": 2, "lines": 1, "empty": 1}
    assert found.classes == ("_0", "_2")
    assert found.regions[0].polygons[0][0].tolist() == [list(point) for point in SQUARE]


def test_coordinates_count_from_the_slides_corner(tmp_path: Path) -> None:
    read(tmp_path, document(annotation()))
    path = tmp_path / "tumor_001.xml"
    (region,) = read_regions(path, LEVEL0, Box(500, 600, 1000, 1000)).regions
    assert region.polygons[0][0][0].tolist() == [1000.5, 2000.25]


def test_an_annotation_without_any_region_is_fine(tmp_path: Path) -> None:
    assert read(tmp_path, document()).regions == ()


BOMB = "<!DOCTYPE b [" + '<!ENTITY a0 "ha">'
BOMB += "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10)) + "]>"
QUADRATIC = f'<!DOCTYPE b [<!ENTITY a "{"ha" * 50_000}">]>'
OUTSIDE = '<!DOCTYPE b [<!ENTITY a9 SYSTEM "file:///etc/hostname">]>'
DTD = '<!DOCTYPE b SYSTEM "http://127.0.0.1:9/b.dtd">'


@pytest.mark.parametrize("head", [BOMB, QUADRATIC, OUTSIDE, DTD])
def test_entities_and_dtds_are_refused(head: str, tmp_path: Path) -> None:
    text = document(annotation("&a9;"), head=head)
    with pytest.raises(ManifestError, match=r"tumor_001\.xml: declares a DTD or entities"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not XML that can be read"),
        ("<ASAP_Annotations><Annotations>", "is not XML that can be read"),
        ("\x00\x01", "is not XML that can be read"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "is not XML that can be read"),
        ("<Annotations/>", "its root is <Annotations>, not ASAP's"),
        (document(annotation(), annotation(kind="Blob", name="Annotation 7")), "Type 'Blob'"),
        (document(annotation(kind="")), "annotation 0 .Annotation 0.: its Type ''"),
        (document(annotation()).replace('X="3000"', 'X="3000,5"'), "its coordinate 1"),
        (document(annotation()).replace('X="3000"', ""), "its coordinate 1"),
        (document(annotation()).replace('X="3000"', 'X="nan"'), "NaN, infinite"),
        (document(annotation()).replace('Order="2"', 'Order="second"'), "its coordinate 1"),
        (document(annotation(points=((-9, -9), (-5, -9), (-5, -5)))), "no region touches"),
    ],
)
def test_bad_input_gets_one_error_that_names_the_place(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        read(tmp_path, text)
    assert "tumor_001.xml" in str(caught.value)


def test_too_large_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asap, "MAX_TEXT_BYTES", 1 << 10)
    with pytest.raises(ManifestError, match="is larger than 0 MiB"):
        read(tmp_path, document(*[annotation()] * 9))
