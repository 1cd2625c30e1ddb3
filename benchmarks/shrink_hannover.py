"""Make the radiographs that ship in `wsi_specdec/demo/data/hannover`.

Usage: python benchmarks/shrink_hannover.py FOLDER [--out FOLDER]

FOLDER is the COVID-19 Image Repository's: `metadata.csv`, and images named after `image_id`. One
image is taken of each of 48 patients, half of them projected AP and half PA.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

from PIL import Image

import wsi_specdec

OUT = Path(wsi_specdec.__file__).parent / "demo" / "data" / "hannover"
COLUMNS = ("path", "patient_id", "label", "split")
# Of each projection.
SPLITS = {"train": 14, "validation": 5, "internal": 5}
LONGEST_PX = 128
QUALITY = 85


def main() -> None:
    """Choose, shrink and list the images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    files = {path.stem: path for path in sorted(arguments.folder.rglob("*.jpg"))}
    rows = []
    for projection, chosen in choose(arguments.folder / "metadata.csv", set(files)).items():
        splits = [name for name, count in SPLITS.items() for _ in range(count)]
        for (patient, image_id), split in zip(chosen, splits, strict=True):
            shrink(files[image_id], arguments.out / f"{image_id}.jpg")
            rows.append((f"{image_id}.jpg", patient, projection, split))
    with (arguments.out / "images.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows([COLUMNS, *sorted(rows)])


def choose(table: Path, there: set[str]) -> dict[str, list[tuple[str, str]]]:
    """Choose the first image of each patient who was always projected in one way.

    Returns
    -------
    Projection to patients and image ids.
    """
    with table.open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["image_id"] in there]
    of_patient = defaultdict(list)
    for row in rows:
        of_patient[row["patient_id"]].append((row["projection"].upper(), row["image_id"]))
    chosen: dict[str, list[tuple[str, str]]] = {"AP": [], "PA": []}
    for patient in sorted(of_patient):
        images = sorted(of_patient[patient])
        if len({projection for projection, _ in images}) == 1:
            projection, image_id = images[0]
            chosen[projection].append((patient, image_id))
    return {name: found[: sum(SPLITS.values())] for name, found in chosen.items()}


def shrink(source: Path, target: Path) -> None:
    """Write a small grey copy, without any metadata."""
    with Image.open(source) as image:
        grey = image.convert("L")
    grey.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.LANCZOS)
    grey.save(target, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
