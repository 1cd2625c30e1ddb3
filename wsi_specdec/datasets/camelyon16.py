"""CAMELYON16, lymph nodes of Radboud (RUMC) and Utrecht (UMCU).

What is said of single slides is from the data set's own README.md.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wsi_specdec.cohort import Slide
from wsi_specdec.datasets.files import DataFiles
from wsi_specdec.keys import EXTERNAL

_EXPECTED = (
    "training/normal/normal_001.tif … normal_160.tif  (without 086)",
    "training/tumor/tumor_001.tif … tumor_111.tif",
    "training/lesion_annotations/tumor_001.xml …      unpacked lesion_annotations.zip",
    "testing/images/test_001.tif … test_130.tif       (without 049)",
    "testing/lesion_annotations/test_001.xml …        unpacked lesion_annotations.zip",
    "testing/reference.csv                            test_001,Tumor,…",
)
ANNOTATIONS: Final = ("lesion_annotations", "annotations")
# normal_086 was found to hold a tumour, and is tumor_111; test_049 is a duplicate.
_LAST: Final = {"normal": 160, "tumor": 111, "test": 130}
_WITHDRAWN: Final = frozenset({"normal_086", "test_049"})
# The last of RUMC among the training slides; the others are of UMCU (Ehteshami Bejnordi 2017).
_LAST_OF_RUMC: Final = {"normal": 100, "tumor": 70}
# Tumour that nobody outlined: what lies outside the outlines is not known to be normal.
_PARTLY_ANNOTATED: Final = frozenset(
    f"tumor_{number:03d}"
    for number in (
        *(10, 15, 18, 20, 25, 29, 33, 34, 44, 46),
        *(51, 54, 55, 56, 67, 79, 85, 92, 95, 110),
    )
) | {"test_114"}
# Whose centre is not published slide by slide.
_TEST_SPLIT: Final = f"{EXTERNAL}-test"


def camelyon16_slides(folder: Path, *, partial: bool = False) -> list[Slide]:
    """List the slides, each a patient of its own: no patient ids are published.

    The challenge's test slides are of both centres, which is published of none: they have the site
    `test` and are the cohort `external-test`. Slides that are not exhaustively annotated have their
    label, and no tile labels.

    Raises
    ------
    ManifestError
        If the folder is not laid out so, or a file is missing.
    """
    files = DataFiles.below(folder, "CAMELYON16", _EXPECTED)
    truth = _truth(files)
    slides = []
    for kind, number in _published():
        name = f"{kind}_{number:03d}"
        positive = truth[name] if kind == "test" else kind == "tumor"
        path = files.need(f"{name}.tif")
        outlined = positive and name not in _PARTLY_ANNOTATED
        annotation = files.need(f"{name}.xml", within=ANNOTATIONS) if outlined and path else None
        if path is None or (outlined and annotation is None):
            continue
        slides.append(
            Slide(
                slide_id=name,
                path=path,
                patient_id=name,
                label=int(positive),
                split=_TEST_SPLIT if kind == "test" else None,
                site=_site(kind, number),
                annotation_path=annotation,
            )
        )
    files.check(partial=partial)
    return slides


def _truth(files: DataFiles) -> dict[str, bool]:
    """Whether each test slide has a tumour, by the first two columns of the challenge's table."""
    table, rows = files.table("reference.csv")
    kinds = {Path(row[0]).stem.casefold(): row[1].casefold() for row in rows if len(row) > 1}
    wanted = [f"{kind}_{number:03d}" for kind, number in _published() if kind == "test"]
    unclear = [name for name in wanted if kinds.get(name) not in {"tumor", "normal"}]
    if unclear:
        msg = f"{table} does not say Tumor or Normal of {', '.join(unclear[:5])}"
        raise files.fail(msg)
    return {name: kinds[name] == "tumor" for name in wanted}


def _published() -> Iterator[tuple[str, int]]:
    for kind, last in _LAST.items():
        for number in range(1, last + 1):
            if f"{kind}_{number:03d}" not in _WITHDRAWN:
                yield kind, number


def _site(kind: str, number: int) -> str:
    if kind == "test":
        return "test"
    # Once the normal slide 86.
    if (kind, number) == ("tumor", 111):
        return "rumc"
    return "rumc" if number <= _LAST_OF_RUMC[kind] else "umcu"
