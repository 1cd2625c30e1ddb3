import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import pytest
import tifffile
import tiffslide
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide, read_manifest
from wsi_specdec.config import CohortConfig, StainConfig
from wsi_specdec.demo import Patches, compose_cohort, truth_path
from wsi_specdec.demo.scanner import external_scanner
from wsi_specdec.errors import SettingsMismatchError
from wsi_specdec.files import sha256_of_file
from wsi_specdec.stain import StainProfile, fit_macenko, optical_density

PIXELS = 50


def truth_of(slide: Slide) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(truth_path(slide.path, "json").read_text())
    return values


def pixels_of(slides: list[Slide], split: str) -> NDArray[np.uint8]:
    images = [tifffile.imread(s.path, level=0) for s in slides if s.split == split]
    return np.concatenate([image.reshape(-1, 3) for image in images])


def test_manifest_names_every_slide_its_case_and_its_truth(
    cohort_dir: Path, slides: list[Slide]
) -> None:
    read = read_manifest(cohort_dir / "slides.csv")
    assert [(s.slide_id, s.patient_id, s.label, s.split) for s in read] == [
        (s.slide_id, s.patient_id, s.label, s.split) for s in slides
    ]
    assert len({s.patient_id for s in slides}) == len(slides) == 12
    for slide in read:
        assert slide.path.is_file()
        assert slide.annotation_path is not None
        assert slide.annotation_path.is_file()
        assert slide.mpp == 4.0
        external = slide.split == "external"
        assert slide.scanner == ("scanner-B" if external else "scanner-A")
        assert slide.site == ("composed-B" if external else "composed-A")


@pytest.mark.parametrize("reader", [openslide.OpenSlide, tiffslide.TiffSlide])
def test_slides_open_in_both_libraries_with_their_mpp(
    slides: list[Slide], reader: type[Any]
) -> None:
    for path in (slides[0].path, slides[-1].path):
        with reader(path) as slide:
            name = reader.__module__.split(".")[0]
            assert float(slide.properties[f"{name}.mpp-x"]) == 4.0
            assert float(slide.properties[f"{name}.mpp-y"]) == 4.0
            assert slide.level_downsamples == (1.0, 2.0, 4.0)
            assert all(side % (2 * PIXELS) == 0 for side in slide.dimensions)
            size = slide.level_dimensions[2]
            thumbnail = np.asarray(slide.read_region((0, 0), 2, size).convert("RGB"))
        full = tifffile.imread(path, level=0)
        small = cv2.resize(full, size, interpolation=cv2.INTER_AREA)
        assert np.abs(thumbnail.astype(int) - small).mean() < 5
        with tifffile.TiffFile(path) as tiff:
            assert "Composed" in tiff.pages.first.description


def test_truth_agrees_with_the_patches_that_were_placed(
    slides: list[Slide], patches: Patches
) -> None:
    place_of = {
        (str(p), int(x), int(y)): i
        for i, (p, x, y) in enumerate(zip(patches.patient, patches.x, patches.y, strict=True))
    }
    for slide in slides:
        truth = truth_of(slide)
        mask = np.asarray(cv2.imread(str(truth_path(slide.path, "png")), cv2.IMREAD_UNCHANGED))
        rows, columns = truth["grid"]["rows"], truth["grid"]["columns"]
        cells = mask.reshape(rows, 5, columns, 5)
        with tifffile.TiffFile(slide.path) as tiff:
            assert tiff.pages.first.shape[:2] == (rows * PIXELS, columns * PIXELS)
        expected = np.zeros((rows, columns), dtype=np.uint8)
        for row, column, patient, x, y, label in truth["placements"]:
            assert label == patches.label[place_of[patient, x, y]]
            expected[row, column] = 255 * label
        assert (cells == expected[:, None, :, None]).all()
        assert truth["composed"] is True
        assert truth["label"] == slide.label == int(expected.any())


def test_internal_slides_show_the_patches_they_claim(slides: list[Slide], patches: Patches) -> None:
    slide = slides[0]
    image = tifffile.imread(slide.path, level=0).astype(np.float64)
    truth = truth_of(slide)
    index = {
        (str(p), int(x), int(y)): i
        for i, (p, x, y) in enumerate(zip(patches.patient, patches.x, patches.y, strict=True))
    }
    errors = []
    for row, column, patient, x, y, _ in truth["placements"]:
        cell = image[row * 50 : row * 50 + 50, column * 50 : column * 50 + 50]
        errors.append(np.abs(cell - patches.tiles[index[patient, x, y]]).mean())
    assert np.median(errors) < 6


def test_no_patient_and_no_patch_is_shared_between_slides(slides: list[Slide]) -> None:
    truths = [truth_of(slide) for slide in slides]
    patients = [name for truth in truths for name in truth["source_patients"]]
    assert len(set(patients)) == len(patients)
    placed = [tuple(p[2:5]) for truth in truths for p in truth["placements"]]
    assert len(set(placed)) == len(placed)


def test_external_slides_carry_the_measured_stains(slides: list[Slide]) -> None:
    config = StainConfig(method="macenko")
    profiles = {}
    for split in ("internal", "external"):
        pixels = pixels_of(slides, split)
        tissue = pixels[optical_density(pixels).min(axis=1) > config.min_od]
        profiles[split] = fit_macenko(tissue, config)
    target = external_scanner().restaining
    assert target is not None
    wanted = np.asarray(target.target)

    def angle(profile: StainProfile) -> float:
        cosines = (profile.matrix() * wanted).sum(axis=1)
        return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())

    assert angle(profiles["external"]) < 7
    assert angle(profiles["internal"]) > 12


def test_external_pixels_are_softer_than_the_same_ones_inside(slides: list[Slide]) -> None:
    def roughness(split: str) -> float:
        values = []
        for slide in (s for s in slides if s.split == split):
            grey = tifffile.imread(slide.path, level=0).mean(axis=2)
            values.append(cv2.Laplacian(grey, cv2.CV_64F).var() / grey.var())
        return float(np.mean(values))

    assert roughness("external") < 0.7 * roughness("internal")


def test_same_seed_gives_the_same_bytes(
    tmp_path: Path, slides: list[Slide], small_config: CohortConfig
) -> None:
    again = compose_cohort(tmp_path, small_config)
    for first, second in zip(slides, again, strict=True):
        assert sha256_of_file(first.path) == sha256_of_file(second.path)
        assert truth_of(first) == truth_of(second)


def test_only_what_is_missing_is_composed_again(
    cohort_dir: Path, slides: list[Slide], small_config: CohortConfig
) -> None:
    kept, lost = slides[0], slides[1]
    before = (kept.path.stat().st_mtime_ns, sha256_of_file(lost.path))
    truth_path(lost.path, "json").unlink()
    lost.path.write_bytes(b"cut short")
    leftover = lost.path.with_name(".0123abcd.partial.composed.tif")
    leftover.write_bytes(b"")
    compose_cohort(cohort_dir, small_config)
    assert (kept.path.stat().st_mtime_ns, sha256_of_file(lost.path)) == before
    assert not leftover.exists()


def test_other_settings_are_refused_and_nothing_is_lost(
    cohort_dir: Path, slides: list[Slide]
) -> None:
    before = sorted(path.name for path in (cohort_dir / "slides").iterdir())
    with pytest.raises(SettingsMismatchError, match=r"internal: 4 -> 2; cohort.seed: 0 -> 7"):
        compose_cohort(
            cohort_dir, CohortConfig(train=2, validation=2, internal=2, external=4, seed=7)
        )
    assert sorted(path.name for path in (cohort_dir / "slides").iterdir()) == before
    assert len(read_manifest(cohort_dir / "slides.csv")) == len(slides)


@pytest.fixture(scope="module")
def by_centres(tmp_path_factory: pytest.TempPathFactory) -> list[Slide]:
    config = CohortConfig(train=2, validation=2, internal=2, external=4, external_centres=2)
    return compose_cohort(tmp_path_factory.mktemp("centres"), config)


def test_every_centre_shows_the_same_external_cases(by_centres: list[Slide]) -> None:
    cohorts = {f"external-centre-{k}" for k in range(5)}
    assert {s.split for s in by_centres} == {
        *("train", "validation", "internal", "external"),
        *cohorts,
    }
    external = {s.patient_id: s for s in by_centres if s.split == "external"}
    for cohort in cohorts:
        own = {s.patient_id: s for s in by_centres if s.split == cohort}
        assert sorted(s.label or 0 for s in own.values()) == [0, 1]
        assert own.keys() < external.keys()
        for patient, slide in own.items():
            first, again = truth_of(external[patient]), truth_of(slide)
            assert first["placements"] == again["placements"]
            assert slide.site == again["scanner"]["site"] == f"composed-{cohort[9:]}"
    # The manifest is read back: shared among external cohorts alone, no patient leaks.
    manifest = by_centres[0].path.parents[1] / "slides.csv"
    assert [s.split for s in read_manifest(manifest)] == [s.split for s in by_centres]


def test_centres_differ_in_their_pixels_alone(by_centres: list[Slide]) -> None:
    case = next(s.patient_id for s in by_centres if s.split == "external-centre-0")
    same = [s for s in by_centres if s.patient_id == case]
    images = {str(s.split): tifffile.imread(s.path, level=0).astype(float) for s in same}
    assert len({image.shape for image in images.values()}) == 1
    means = np.array([image[image.min(axis=2) < 200].mean(axis=0) for image in images.values()])
    differences = np.abs(means[:, None] - means[None]).max(axis=2)
    assert differences[~np.eye(len(means), dtype=bool)].min() > 1.0


def test_slides_without_centres_are_those_of_a_folder_from_before(
    cohort_dir: Path, small_config: CohortConfig
) -> None:
    settings = json.loads((cohort_dir / "slides" / "composed.json").read_text())
    assert "external_centres" not in settings["cohort"]
    assert settings["composer_version"] == 1
    with pytest.raises(SettingsMismatchError, match="external_centres"):
        compose_cohort(cohort_dir, small_config.model_copy(update={"external_centres": 2}))
