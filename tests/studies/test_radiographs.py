"""The study of chest radiographs: its listing, its arms, and a small run from end to end."""

import ast
import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.config import (
    ArmConfig,
    AugmentConfig,
    EvaluateConfig,
    RadiographsConfig,
    StudyData,
    TrainConfig,
)
from wsi_specdec.errors import ConfigError, ManifestError, NotEnoughDataError
from wsi_specdec.studies.radiographs import sets as chest_sets
from wsi_specdec.studies.radiographs.listing import list_collections, patient_by_name
from wsi_specdec.studies.radiographs.sets import find_fields, region_sets
from wsi_specdec.studies.radiographs.study import chest_arms, run
from wsi_specdec.studies.sets.files import open_set, read_truth
from wsi_specdec.studies.sets.prepare import prepare_set

PX = 96


def radiograph(positive: bool, seed: int) -> NDArray[np.uint8]:
    """Draw a body with dark lungs; disease is a bright spot in one of them."""
    image = np.full((PX, PX), 20, np.uint8)
    cv2.ellipse(image, (48, 60), (44, 57), 0, 0, 360, 180, -1)
    for across in (29, 67):
        cv2.ellipse(image, (across, 43), (14, 27), 0, 0, 360, 70, -1)
    if positive:
        cv2.circle(image, (29, 50), 5, 150, -1)
    noise = np.random.default_rng(seed).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def write_images(folder: Path, names: list[str], *, positive: bool) -> None:
    folder.mkdir(parents=True)
    for seed, name in enumerate(names):
        assert cv2.imwrite(str(folder / f"{name}.png"), radiograph(positive, seed))


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of the four collections, with a few made images of each class."""
    root = tmp_path_factory.mktemp("chest")
    normal = [f"{number:08d}_{visit:03d}" for number in range(12) for visit in range(2)]
    write_images(root / "internal_talo" / "normal", normal, positive=False)
    write_images(root / "internal_talo" / "COVID", [f"case-{n}" for n in range(16)], positive=True)
    there = root / "external_actualmed"
    write_images(there / "normal", ["n1.2", "n3.4"], positive=False)
    write_images(there / "COVID", ["c1.2", "c3.4", "c5.6"], positive=True)
    rows = [("n1.2.png", "A", "PA"), ("n3.4.png", "B", "AP"), ("c1.2.png", "C", "PA")]
    rows += [("c3.4.png", "C", "AP"), ("c5.6.png", "D", "AP")]
    _table(there / "metadata.csv", ("imagename", "patientid", "view"), rows)
    away = root / "external_hannover"
    write_images(away / "COVID", ["h1", "h2", "h3"], positive=True)
    told = [("h1", "p1", "ap"), ("h2", "p1", "pa"), ("h3", "p2", "ap")]
    _table(away / "metadata.csv", ("image_id", "patient_id", "projection"), told)
    names = [f"chest_{n}" for n in range(4)]
    write_images(root / "external_kermany_paediatric" / "normal", names, positive=False)
    return root


def _table(path: Path, header: tuple[str, ...], rows: list[tuple[str, str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])


def settings(source: Path | None) -> RadiographsConfig:
    return RadiographsConfig(
        title="Made radiographs",
        data=StudyData(source=source, classes=("normal", "COVID"), size=64),
        size=32,
        explained=6,
        steps=4,
        strong=None,
        train=TrainConfig(
            model="test_resnet",
            classes=("normal", "COVID"),
            epochs=1,
            batch_size=8,
            device="cpu",
            augment=AugmentConfig(flips=False),
        ),
        arms=(
            ArmConfig(name="wd", weight_decay=0.1, sd_coef=0.0),
            ArmConfig(name="sd", weight_decay=0.0, sd_coef=0.01),
        ),
        seeds=(0, 1),
        evaluate=EvaluateConfig(bootstrap=100),
    )


def listed(folder: Path, out: Path) -> list[dict[str, str]]:
    with list_collections(folder, out / "images.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_listing_knows_patients_views_and_splits(collections: Path, tmp_path: Path) -> None:
    rows = {row["image_id"]: row for row in listed(collections, tmp_path)}
    assert len(rows) == 24 + 16 + 5 + 3 + 4
    internal = [row for row in rows.values() if row["split"] == "train"]
    assert len({row["patient_id"] for row in internal if row["label"] == "normal"}) == 12
    external = rows["actualmed_COVID_c3.4"]
    assert (external["patient_id"], external["view"]) == ("actualmed_C", "AP")
    assert external["split"] == "external"
    hannover = [row for row in rows.values() if row["split"] == "external-hannover"]
    assert sorted(row["patient_id"] for row in hannover) == [
        "hannover_p1",
        "hannover_p1",
        "hannover_p2",
    ]
    assert {row["view"] for row in hannover} == {"AP", "PA"}
    assert sum(row["split"] == "external-paediatric" for row in rows.values()) == 4


@pytest.mark.parametrize(
    ("names", "patient"),
    [
        (("00001684_003", "00001684_000"), "00001684"),
        (("report-24-day12", "report-24-day6"), "report-24"),
        (("1-s2.0-S09-gr2_lrg-a", "1-s2.0-S09-gr2_lrg-b"), "1-s2.0-S09"),
        (("paper.pdf-001-fig1a", "paper.pdf-002-fig3b"), "paper"),
        (("nejmoa2001191_f1-PA", "nejmoa2001191_f4"), "nejmoa2001191"),
    ],
    ids=["nih", "days", "figure", "pdf", "view"],
)
def test_pictures_of_one_report_are_kept_together(names: tuple[str, str], patient: str) -> None:
    assert {patient_by_name(name) for name in names} == {patient}


def test_other_names_are_patients_of_their_own() -> None:
    names = ("01E392EE-69F9-4E33-BFCE-E5C968654078", "covid-19-pneumonia-12", "chest_1")
    assert [patient_by_name(name) for name in names] == list(names)


def test_another_folder_is_refused(collections: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="internal_talo, external_actualmed"):
        list_collections(collections / "internal_talo", tmp_path / "images.csv")


def test_image_without_a_patient_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "internal_talo" / "normal", ["a"], positive=False)
    write_images(tmp_path / "internal_talo" / "COVID", ["b"], positive=True)
    write_images(tmp_path / "external_hannover" / "COVID", ["h1", "h9"], positive=True)
    header = ("image_id", "patient_id", "projection")
    _table(tmp_path / "external_hannover" / "metadata.csv", header, [("h1", "p1", "ap")])
    with pytest.raises(ManifestError, match=r"whose image h9\.png is"):
        list_collections(tmp_path, tmp_path / "images.csv")


def test_lung_sets_hold_the_square_around_the_fields(collections: Path, tmp_path: Path) -> None:
    config = settings(list_collections(collections, tmp_path / "images.csv"))
    base = prepare_set(config.data, tmp_path, 1)
    fields = find_fields(base, tmp_path / "fields.npz")
    assert fields.found.all()
    whole, lungs = region_sets(config, base, fields, tmp_path / "data")
    store = open_set(lungs.tests["external"])
    assert store.tile_size == config.size
    row = read_truth(base).image_id.index(read_truth(lungs.tests["external"]).image_id[0])
    box = fields.box(row, config.margin)
    cut = open_set(base).read([row])[0, box.top : box.bottom, box.left : box.right]
    expected = cv2.resize(cut, (config.size, config.size), interpolation=cv2.INTER_AREA)
    assert np.array_equal(store.read([0])[0], expected)
    # Fields fill more of the image once it is cut, and masks are cut with it.
    inside = [each.fields["external"].mask.mean() for each in (whole, lungs)]
    assert inside[1] > 1.2 * inside[0]
    assert read_truth(whole.training).image_id == read_truth(lungs.training).image_id


def test_fields_are_found_once(
    collections: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(list_collections(collections, tmp_path / "images.csv"))
    base = prepare_set(config.data, tmp_path, 1)
    first = find_fields(base, tmp_path / "fields.npz")
    monkeypatch.setattr(chest_sets, "lung_fields", None)
    again = find_fields(base, tmp_path / "fields.npz")
    assert np.array_equal(first.mask, again.mask)
    assert np.array_equal(first.found, again.found)


def test_study_needs_external_images(collections: Path, tmp_path: Path) -> None:
    config = settings(collections / "internal_talo")
    base = prepare_set(config.data, tmp_path, 1)
    fields = find_fields(base, tmp_path / "fields.npz")
    with pytest.raises(NotEnoughDataError, match="external"):
        region_sets(config, base, fields, tmp_path / "data")


def test_arms_cross_augmentation_and_region() -> None:
    config = settings(None).model_copy(update={"strong": AugmentConfig(flips=False)})
    arms = {each.arm.name: each for each in chest_arms(config)}
    assert len(arms) == 8
    assert arms["sd+strong-lungs"].region == "lungs"
    assert arms["sd+strong-lungs"].arm.augment == config.strong
    assert arms["sd+lungs"].arm.augment is None
    assert arms["sd+strong"].region == "image"


def test_small_study_runs_from_end_to_end(collections: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum")
    page = run(settings(collections), tmp_path, 1).read_text(encoding="utf-8")
    results = json.loads((tmp_path / "results.json").read_text())["conditions"][""]
    cohorts = results["arms"]["sd+lungs"]["cohorts"]
    assert cohorts["external-hannover"]["patch"]["auroc"]["value"] is None
    assert cohorts["external-hannover"]["patch"]["sensitivity"]["value"] is not None
    assert cohorts["external-paediatric"]["patch"]["specificity"]["value"] is not None
    assert set(cohorts["external"]["by_view"]) == {"AP", "PA"}
    assert results["cohorts"]["external-hannover"]["patients"] == 2
    compared = {(row["arm"], row["baseline"]) for row in results["differences"]}
    assert {("sd", "wd"), ("sd+lungs", "wd+lungs")} <= compared
    told = json.loads((tmp_path / "attribution.json").read_text())
    shares = {(r["arm"], r["cohort"], r["label"]): r["value"] for r in told["shares"]}
    assert len(shares) == 4 * 6
    assert all(0 < value < 1 for value in shares.values())
    pairs = {(row["arm"], row["baseline"]) for row in told["differences"]}
    assert pairs == {("sd", "wd"), ("sd+lungs", "wd+lungs")}
    assert told["fields"]["external"] == {
        "COVID": {"found": 3, "fallback": 0},
        "normal": {"found": 2, "fallback": 0},
    }
    for title in ("By view", "Lung fields", "Attribution outside of the lung fields"):
        assert f"## {title}" in page
    assert (tmp_path / "figures" / "attribution.png").is_file()


def test_names_of_arms_leave_the_plus_to_the_study() -> None:
    with pytest.raises(ValueError, match="added by the study"):
        RadiographsConfig(arms=(ArmConfig(name="wd+x"),))


def test_baseline_must_be_an_arm(tmp_path: Path) -> None:
    config = settings(tmp_path).model_copy(update={"evaluate": EvaluateConfig(baseline="none")})
    with pytest.raises(ConfigError, match="baseline"):
        run(config, tmp_path, 1)


@pytest.mark.parametrize("module", ["study", "sets", "listing", "lungs"])
def test_radiographs_have_no_loop_of_their_own(module: str) -> None:
    """What trains and scores them is what trains and scores slides: no torch, no optimiser."""
    path = Path(chest_sets.__file__).with_name(f"{module}.py")
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module)
    assert not {name for name in imported if name.partition(".")[0] in {"torch", "timm"}}
    assert not {name for name in imported if name.startswith("wsi_specdec.training")}
    if module == "study":
        assert "wsi_specdec.studies.grid" in imported
