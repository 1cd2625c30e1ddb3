"""PANDA, prostate biopsies of Karolinska and Radboud: the layout of its Kaggle competition."""

from pathlib import Path

from wsi_specdec.cohort import Slide
from wsi_specdec.datasets.files import DataFiles

_EXPECTED = (
    "train.csv                               image_id, data_provider, isup_grade, gleason_score",
    "train_images/<image_id>.tiff",
    "train_label_masks/<image_id>_mask.tiff  some are missing in the published set, too",
)
# Karolinska used two, and no table says which for which image.
_SCANNERS = {"radboud": "3DHistech Pannoramic Flash II 250"}


def panda_slides(folder: Path, *, partial: bool = False) -> list[Slide]:
    """List the training images, each a patient of its own: no patient ids are published.

    An image is positive if its ISUP grade is 1 or more. Images of grade 0 come without their mask:
    the grade says of every tile that it is benign.

    Raises
    ------
    ManifestError
        If the folder is not laid out so, an image is missing, or a grade is not 0 to 5.
    """
    files = DataFiles.below(folder, "PANDA", _EXPECTED)
    table, rows = files.columns(("train.csv",), "image_id", "data_provider", "isup_grade")
    slides = []
    for name, site, grade in rows:
        if grade not in {"0", "1", "2", "3", "4", "5"}:
            msg = f"{table}: the isup_grade of {name} is {grade!r}, not 0 to 5"
            raise files.fail(msg)
        if (path := files.need(f"{name}.tiff")) is None:
            continue
        cancer = grade != "0"
        slides.append(
            Slide(
                slide_id=name,
                path=path,
                patient_id=name,
                label=int(cancer),
                site=site,
                scanner=_SCANNERS.get(site),
                annotation_path=files.find(f"{name}_mask.tiff") if cancer else None,
            )
        )
    files.check(partial=partial)
    return slides
