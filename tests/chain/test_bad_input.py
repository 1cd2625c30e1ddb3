"""Bad input gets one clear error and loses nothing."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Program = Callable[..., "subprocess.CompletedProcess[str]"]
MakeSlide = Callable[..., Path]

REPOSITORY = Path(__file__).parents[2]
CMU = REPOSITORY / "tests/data/CMU-1-Small-Region.svs"
FLUORESCENCE = REPOSITORY / "tests/data/stritt_DAPI.ndpi"


def ledger(out: Path) -> dict[str, dict[str, str]]:
    with (out / "ledger.csv").open() as handle:
        return {row["slide_id"]: row for row in csv.DictReader(handle)}


def test_bad_slides_cost_themselves_alone(
    tmp_path: Path, program: Program, make_slide: MakeSlide
) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    make_slide(slides / "good.tif")
    make_slide(slides / "blank.tif", tissue=False)
    (slides / "text.svs").write_text("this is no slide\n")
    whole = CMU.read_bytes()
    (slides / "truncated.svs").write_bytes(whole[: len(whole) // 2])
    (slides / "corrupt.svs").write_bytes(np.random.default_rng(0).bytes(100_000))
    (slides / "empty.svs").touch()
    shutil.copy(FLUORESCENCE, slides)
    out = tmp_path / "out"

    done = program("tile", slides, "--out", out, "--mpp", "1", "--tile-size", "128")

    assert done.returncode == 1, done.stderr
    rows = ledger(out)
    states = {slide_id: row["state"] for slide_id, row in rows.items()}
    assert states == {
        "good": "done",
        "blank": "empty",
        "text": "failed",
        "truncated": "failed",
        "corrupt": "failed",
        "empty": "failed",
        "stritt_DAPI": "skipped",
    }
    assert int(rows["good"]["tiles"]) > 0
    assert "no tissue" in rows["blank"]["reason"]
    assert "fluorescence" in rows["stritt_DAPI"]["reason"]
    for failed in ("text", "truncated", "corrupt", "empty"):
        assert rows[failed]["reason"]
        assert f"failed {failed}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_slide_without_mpp_names_both_remedies(
    tmp_path: Path, in_process: Program, make_slide: MakeSlide
) -> None:
    slide = make_slide(tmp_path / "nompp.tif", mpp=None)
    out = tmp_path / "out"
    done = in_process("tile", slide, "--out", out, "--mpp", "1", "--tile-size", "128")
    assert done.returncode == 1
    assert "--slide-mpp" in done.stderr
    assert "column 'mpp'" in done.stderr

    again = in_process(
        "tile", slide, "--out", tmp_path / "flag", "--mpp", "1", "--tile-size", "128",
        "--slide-mpp", "0.5",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr

    (tmp_path / "slides.csv").write_text("path,mpp\nnompp.tif,0.5\n")
    third = in_process(
        "tile", tmp_path / "slides.csv", "--out", out, "--mpp", "1", "--tile-size", "128"
    )
    assert third.returncode == 0, third.stderr
    assert ledger(out)["nompp"]["tiles"] == ledger(tmp_path / "flag")["nompp"]["tiles"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no slides in the folder"),
        ("path,patient_id,split\na.svs,p1,train\nb.svs,p1,internal\n", "more than one split"),
        ("path,colour\na.svs,red\n", "unknown columns"),
    ],
)
def test_wrong_use_starts_nothing(
    tmp_path: Path, in_process: Program, content: str | None, message: str
) -> None:
    source = tmp_path / "empty"
    source.mkdir()
    if content is not None:
        source = tmp_path / "slides.csv"
        source.write_text(content)
    done = in_process("tile", source, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_other_settings_into_one_folder_are_refused_and_named(
    tmp_path: Path, in_process: Program, make_slide: MakeSlide
) -> None:
    slide = make_slide(tmp_path / "a.tif")
    out = tmp_path / "out"
    assert in_process("tile", slide, "--out", out, "--mpp", "1").returncode == 0
    done = in_process("tile", slide, "--out", out, "--mpp", "2")
    assert done.returncode == 2
    assert "mpp: 1.0 -> 2.0" in done.stderr
    assert "--overwrite" in done.stderr
    assert in_process("tile", slide, "--out", out, "--mpp", "2", "--overwrite").returncode == 0


def test_a_setting_out_of_range_is_named(tmp_path: Path, in_process: Program) -> None:
    done = in_process(
        "tile", CMU, "--out", tmp_path / "out", "--tile-size", "64", "--overlap", "64"
    )
    assert done.returncode == 2
    assert "overlap 64 must be smaller than tile_size 64" in done.stderr


def test_the_vendor_slide_is_tiled_and_described(tmp_path: Path, in_process: Program) -> None:
    out = tmp_path / "out"
    done = in_process("tile", CMU, "--out", out, "--mpp", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tiles"] == int(ledger(out)["CMU-1-Small-Region"]["tiles"]) > 20
    thumbnail = cv2.imread(str(out / "previews/CMU-1-Small-Region.thumbnail.jpg"))
    assert thumbnail is not None
    described = json.loads(in_process("info", CMU, "--json").stdout)
    assert described[0]["mpp"] == pytest.approx(0.499)
    assert described[0]["vendor"] == "aperio"


class TestLabels:
    """Labels and slides that do not fit each other."""

    def test_a_label_for_an_unknown_slide_is_refused(
        self, demo_copy: Path, in_process: Program
    ) -> None:
        manifest = demo_copy / "slides.csv"
        row = manifest.read_text().splitlines()[1].replace("composed-A", "elsewhere")
        fields = row.split(",")
        fields[0], fields[2] = "stranger", "somebody"
        manifest.write_text(manifest.read_text() + ",".join(fields) + "\n")
        done = in_process(
            "train", "--tiles", demo_copy, "--manifest", manifest, "--out", demo_copy / "m"
        )
        assert done.returncode == 2
        assert "stranger" in done.stderr

    def test_a_training_slide_without_any_label_is_refused(
        self, demo_copy: Path, in_process: Program
    ) -> None:
        manifest = demo_copy / "slides.csv"
        with manifest.open() as handle:
            rows = list(csv.DictReader(handle))
        unlabelled = next(row for row in rows if row["split"] == "train")
        unlabelled["label"] = ""
        with manifest.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        done = in_process(
            "train", "--tiles", demo_copy, "--manifest", manifest, "--out", demo_copy / "m",
            "--labels", "slide", "--model", "test_resnet",
        )  # fmt: skip
        assert done.returncode == 2
        assert unlabelled["slide_id"] in done.stderr

    def test_one_patient_in_two_splits_is_refused_before_training(
        self, demo_copy: Path, in_process: Program
    ) -> None:
        manifest = demo_copy / "slides.csv"
        with manifest.open() as handle:
            rows = list(csv.DictReader(handle))
        train = next(row for row in rows if row["split"] == "train")
        test = next(row for row in rows if row["split"] == "internal")
        test["patient_id"] = train["patient_id"]
        with manifest.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        done = in_process(
            "train", "--tiles", demo_copy, "--manifest", manifest, "--out", demo_copy / "m"
        )
        assert done.returncode == 2
        assert train["patient_id"] in done.stderr
        assert not (demo_copy / "m").exists()

    def test_a_run_with_other_settings_is_refused(
        self, demo_copy: Path, in_process: Program
    ) -> None:
        config = demo_copy / "config.yaml"
        config.write_text(config.read_text().replace("epochs: 3", "epochs: 4"))
        done = in_process("demo", "--quick", "--out", demo_copy)
        assert done.returncode == 2
        assert "train.epochs: 4 -> 3" in done.stderr


def test_a_corrupt_slide_costs_a_whole_run_that_slide_alone(
    demo_copy: Path, tmp_path: Path, in_process: Program
) -> None:
    manifest = demo_copy / "slides.csv"
    with manifest.open() as handle:
        rows = list(csv.DictReader(handle))
    broken = {}
    for split in ("train", "external"):
        row = next(row for row in rows if row["split"] == split)
        broken[row["slide_id"]] = split
        slide = demo_copy / row["path"]
        slide.write_bytes(slide.read_bytes()[:2000])
    out = tmp_path / "run"

    done = in_process(
        "run", REPOSITORY / "pipelines/tile_train_aggregate.yaml", "--manifest", manifest,
        "--out", out, "--set", "tile.mpp=4", "--set", "tile.tile_size=50",
        "--set", "train.model=test_resnet", "--set", "train.epochs=1",
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert {k for k, row in ledger(out).items() if row["state"] == "failed"} == set(broken)
    results = json.loads((out / "results.json").read_text())
    assert results["arms"]["sd"]["cohorts"]["external"]["slide"]["auroc"]["n"] == 7
    with (out / "calls.csv").open() as handle:
        calls = list(csv.DictReader(handle))
    assert {row["call"] for row in calls} == {"", "0", "1"}
    with (out / "arms/sd/seed-0/calls.csv").open() as handle:
        assert [{"arm": "sd", "seed": "0", **row} for row in csv.DictReader(handle)] == calls
    states = {row["slide_id"]: row["state"] for row in calls}
    assert states == {
        row["slide_id"]: "failed" if row["slide_id"] in broken else "done"
        for row in rows
        if row["split"] != "train"
    }
    report = (out / "report.html").read_text()
    for slide_id in broken:
        assert f"failed {slide_id}: " in done.stderr
        assert slide_id in report


def test_an_arm_of_other_settings_is_redone_only_when_asked(
    demo_copy: Path, in_process: Program
) -> None:
    model = demo_copy / "arms/sd/seed-0/model/model.json"
    command = (
        "run", demo_copy / "config.yaml", "--out", demo_copy, "--manifest",
        demo_copy / "slides.csv", "--set", "evaluate.baseline=sd",
        "--set", "arms=[{name: sd, sd_coef: 0.2, weight_decay: 0}]",
    )  # fmt: skip
    before = model.read_bytes()

    refused = in_process(*command)
    assert refused.returncode == 2
    assert "sd_coef: 0.05 -> 0.2" in refused.stderr
    assert model.read_bytes() == before

    assert in_process(*command, "--overwrite").returncode == 0
    assert json.loads(model.read_text())["training"]["settings"]["sd_coef"] == 0.2
