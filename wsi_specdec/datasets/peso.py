"""PESO, prostatectomies of Radboud with masks of epithelium: its training part."""

import re
from pathlib import Path
from typing import Final

from wsi_specdec.cohort import Slide
from wsi_specdec.datasets.files import DataFiles
from wsi_specdec.keys import INTERNAL

_EXPECTED = (
    "pds_<n>_HE.tif                          from peso_training_wsi_<1-6>.zip",
    "pds_<n>_HE_training_mask.tif            from peso_training_masks.zip",
    "pds_<n>_HE_training_mask_corrected.tif  from peso_training_masks_corrected.zip",
)
_MASK: Final = re.compile(r"^(pds_\d+)_he_training_mask(_corrected)?\.tif$")


def peso_slides(folder: Path, *, partial: bool = False) -> list[Slide]:
    """List the training slides, each a patient of its own, without a slide label.

    Slides whose masks were corrected by hand are the internal test; the others, whose masks a
    network made from immunohistochemistry, are for training and validation. Without any
    corrected mask, or without any other, the slides have no split yet.

    Raises
    ------
    ManifestError
        If the folder is not laid out so, or a slide is missing.
    """
    files = DataFiles.below(folder, "PESO", _EXPECTED)
    found = [match for name in files.names if (match := _MASK.match(name))]
    if not found:
        msg = f"{folder} holds no masks"
        raise files.fail(msg)
    corrected = {match[1] for match in found if match[2]}
    stems = sorted({match[1] for match in found}, key=lambda stem: int(stem.split("_")[1]))
    mixed = 0 < len(corrected) < len(stems)
    slides = []
    for stem in stems:
        suffix = "_corrected" if stem in corrected else ""
        if (path := files.need(f"{stem}_HE.tif")) is None:
            continue
        slides.append(
            Slide(
                slide_id=stem,
                path=path,
                patient_id=stem,
                split=INTERNAL if mixed and stem in corrected else None,
                site="radboud",
                annotation_path=files.find(f"{stem}_HE_training_mask{suffix}.tif"),
            )
        )
    files.check(partial=partial)
    return slides
