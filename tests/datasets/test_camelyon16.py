"""CAMELYON16: two centres by number, ASAP outlines, a table of the test slides."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from miniatures import CANCER, TISSUE, settings, tiles_within, write_asap, write_slide

from wsi_specdec.cohort import Slide
from wsi_specdec.config import DatasetConfig, TileConfig
from wsi_specdec.datasets import dataset_slides
from wsi_specdec.errors import ManifestError

SHARES = {"train": 0.6, "validation": 0.15, "internal": 0.25}
CONFIG = DatasetConfig(name="camelyon16", internal=("rumc",))
TileLabels = Callable[[Sequence[Slide], TileConfig], Mapping[str, Mapping[tuple[int, int], int]]]


def write_camelyon16(folder: Path) -> Path:
    """Write the published files, all 399 slides, without content."""
    names = [("training/normal", "normal", n) for n in range(1, 161) if n != 86]
    names += [("training/tumor", "tumor", n) for n in range(1, 112)]
    names += [("testing/images", "test", n) for n in range(1, 131) if n != 49]
    paths = [folder / place / f"{kind}_{n:03d}.tif" for place, kind, n in names]
    paths += [folder / f"training/lesion_annotations/tumor_{n:03d}.xml" for n in range(1, 112)]
    paths += [folder / f"testing/lesion_annotations/test_{n:03d}.xml" for n in range(1, 131, 3)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    kinds = [f"test_{n:03d},{'Tumor' if n % 3 == 1 else 'Normal'},x,y" for n in range(1, 131)]
    (folder / "testing/reference.csv").write_text("\n".join(kinds))
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_camelyon16(tmp_path_factory.mktemp("camelyon16"))


def test_rows_of_the_manifest(published: Path) -> None:
    slides = dataset_slides(CONFIG, published, SHARES)
    assert len(slides) == 399
    assert Counter((slide.site, slide.label) for slide in slides) == {
        ("rumc", 0): 99,
        ("rumc", 1): 71,
        ("umcu", 0): 60,
        ("umcu", 1): 40,
        ("test", 0): 86,
        ("test", 1): 43,
    }
    assert {slide.split for slide in slides if slide.site == "umcu"} == {"external"}
    assert {slide.split for slide in slides if slide.site == "test"} == {"external-test"}
    inner = Counter(slide.split for slide in slides if slide.site == "rumc")
    assert set(inner) == set(SHARES)
    by_id = {slide.slide_id: slide for slide in slides}
    assert by_id["tumor_111"].site == "rumc"
    outlines = published / "training" / "lesion_annotations" / "tumor_071.xml"
    assert (by_id["tumor_071"].site, by_id["tumor_071"].annotation_path) == ("umcu", outlines)
    # Not exhaustively annotated, says the data set's README.
    assert (by_id["tumor_010"].label, by_id["tumor_010"].annotation_path) == (1, None)
    assert by_id["normal_001"].annotation_path is None


def test_both_centres_may_be_trained_on(published: Path) -> None:
    both = CONFIG.model_copy(update={"internal": ("rumc", "umcu")})
    splits = Counter(slide.split for slide in dataset_slides(both, published, SHARES))
    assert splits["external-test"] == 129
    assert "external" not in splits
    assert splits["train"] + splits["validation"] + splits["internal"] == 270


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_camelyon16(tmp_path)
    (folder / "training/lesion_annotations/tumor_002.xml").unlink()
    (folder / "training/normal/normal_003.tif").unlink()
    with pytest.raises(ManifestError, match=r"2 files .*normal_003\.tif, tumor_002\.xml"):
        dataset_slides(CONFIG, folder, SHARES)
    partial = CONFIG.model_copy(update={"partial": True})
    left = {slide.slide_id for slide in dataset_slides(partial, folder, SHARES)}
    assert len(left) == 397
    assert "tumor_002" not in left
    (folder / "testing/reference.csv").write_text("test_001,Tumor\n")
    with pytest.raises(ManifestError, match=r"does not say Tumor or Normal of test_002"):
        dataset_slides(CONFIG, folder, SHARES)


def test_outlines_of_other_things_do_not_count(published: Path, tmp_path: Path) -> None:
    """The cloud copy has outlines of tissue under the same names."""
    folder = write_camelyon16(tmp_path)
    (folder / "background_tissue").mkdir()
    (folder / "background_tissue" / "tumor_001.xml").touch()
    slides = dataset_slides(CONFIG, folder, SHARES)
    found = next(s.annotation_path for s in slides if s.slide_id == "tumor_001")
    assert found == folder / "training" / "lesion_annotations" / "tumor_001.xml"


def test_tiles_are_labelled_as_outlined(tmp_path: Path, tile_labels: TileLabels) -> None:
    hole = (192, 128, 320, 192)
    write_slide(tmp_path / "training/normal/normal_001.tif")
    write_slide(tmp_path / "training/tumor/Tumor_001.tif", cancer=True)
    write_asap(
        tmp_path / "training/lesion_annotations/tumor_001.xml", [("_0", CANCER), ("_2", hole)]
    )
    kinds = "".join(f"test_{n:03d},Normal\n" for n in range(1, 131))
    (tmp_path / "reference.csv").write_text(kinds)
    partial = CONFIG.model_copy(update={"partial": True})
    slides = dataset_slides(partial, tmp_path, {"train": 1.0})
    assert [slide.slide_id for slide in slides] == ["normal_001", "tumor_001"]
    found = tile_labels(slides, settings("camelyon16").tile)
    assert set(found["normal_001"].values()) == {-1}
    labels = found["tumor_001"]
    assert {corner for corner, label in labels.items() if label == 1} == (
        tiles_within(CANCER) - tiles_within(hole)
    )
    assert tiles_within(TISSUE) <= labels.keys()
