"""CAMELYON17, lymph nodes of five centres, five slides a patient: its training part."""

import re
from pathlib import Path
from typing import Final

from wsi_specdec.cohort import Slide
from wsi_specdec.datasets.camelyon16 import ANNOTATIONS
from wsi_specdec.datasets.files import DataFiles

_EXPECTED = (
    "training/center_<0-4>/patient_<nnn>_node_<0-4>.tif  unpacked patient_<nnn>.zip",
    "training/lesion_annotations/patient_<nnn>_node_<n>.xml  unpacked lesion_annotations.zip",
    "training/stage_labels.csv                           patient, stage",
)
_NODE: Final = re.compile(r"^patient_(\d{3})_node_\d\.tif$")
_LABELS: Final = {"negative": 0, "itc": 1, "micro": 1, "macro": 1}
# Patients 0 to 99 are for training, 20 a centre in order; the others' labels were withheld.
_PATIENTS: Final = 100
_A_CENTRE: Final = 20


def camelyon17_slides(folder: Path, *, partial: bool = False) -> list[Slide]:
    """List the slides of the training patients.

    Any tumour is positive, isolated tumour cells (itc) too. The 50 annotated slides have tile
    labels; of the other positive ones only the slide's label is known.

    Raises
    ------
    ManifestError
        If the folder is not laid out so, a slide or all annotations are missing, or a label is
        unknown.
    """
    files = DataFiles.below(folder, "CAMELYON17", _EXPECTED)
    table, rows = files.columns(("stage_labels.csv", "stages.csv"), "patient", "stage")
    slides = []
    for file, stage in rows:
        node = _NODE.match(file)
        if node is None or int(node[1]) >= _PATIENTS:
            continue
        if stage not in _LABELS:
            msg = f"{table}: the stage of {file} is {stage!r}, not {', '.join(_LABELS)}"
            raise files.fail(msg)
        if (path := files.need(file)) is None:
            continue
        name, positive = Path(file).stem, _LABELS[stage]
        slides.append(
            Slide(
                slide_id=name,
                path=path,
                patient_id=f"patient_{node[1]}",
                label=positive,
                site=f"center_{int(node[1]) // _A_CENTRE}",
                annotation_path=files.find(f"{name}.xml", within=ANNOTATIONS) if positive else None,
            )
        )
    files.check(partial=partial)
    if slides and not any(slide.annotation_path for slide in slides):
        msg = f"no outlines (.xml) lie in a folder {' or '.join(ANNOTATIONS)}"
        raise files.fail(msg)
    return slides
