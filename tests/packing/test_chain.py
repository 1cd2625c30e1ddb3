"""Packed images go through training, scoring, calls and evaluation as slides do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import ramp, write_dicom
from PIL import Image

from wsi_specdec.aggregation import fit_aggregator, make_calls
from wsi_specdec.cohort import read_manifest
from wsi_specdec.config import (
    AggregateConfig,
    EvaluateConfig,
    PackConfig,
    PipelineConfig,
    ScoreConfig,
    TrainConfig,
)
from wsi_specdec.errors import ManifestError
from wsi_specdec.evaluation import SeedRun, evaluate
from wsi_specdec.intake import listed, stores_of, take_in, with_classes, with_splits
from wsi_specdec.runner import LedgerSummary, read_states
from wsi_specdec.scoring import score_stores
from wsi_specdec.steps.train import train_model
from wsi_specdec.store import open_stores
from wsi_specdec.store.calls import write_calls

SPLITS = ("train",) * 8 + ("validation",) * 4 + ("internal",) * 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slowed by threads, and on a busy machine by much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def packed(tmp_path: Path, pack: Callable[..., LedgerSummary]) -> Path:
    """Bright and dark images, two of each of 16 patients; one image is broken."""
    rng = np.random.default_rng(0)
    rows = ["path,patient_id,label,split,view"]
    for patient, split in enumerate(SPLITS):
        for number in range(2):
            label = patient % 2
            level = 70 + 110 * label
            pixels = rng.normal(level, 20, (24, 20)).clip(0, 255).astype(np.uint8)
            name = f"{patient}-{number}.png"
            Image.fromarray(pixels).save(tmp_path / name)
            rows.append(f"{name},p{patient},{['dark', 'bright'][label]},{split},AP")
    (tmp_path / "15-1.png").write_bytes(b"broken")
    (tmp_path / "images.csv").write_text("\n".join(rows))
    summary = pack(tmp_path / "images.csv", size=32, classes=["dark", "bright"])
    assert [name for name, _ in summary.failures] == ["15-1"]
    return tmp_path / "out"


def test_images_take_the_way_of_slides(packed: Path) -> None:
    config = TrainConfig(
        model="test_resnet", epochs=6, batch_size=8, lr=3e-3, sd_coef=0.01, weight_decay=0.0
    )
    model = train_model(packed, packed / "slides.csv", packed / "model", config)
    stores, slides = open_stores(packed), read_manifest(packed / "slides.csv")
    states = read_states(packed / "ledger.csv")
    scores = packed / "scores"
    score_stores(stores, model, scores, ScoreConfig(batch_size=8), packed / "stain")
    fitted = fit_aggregator(scores, slides, AggregateConfig(), states=states)
    assert (fitted.fit_cohort, fitted.fit_slides, fitted.fit_positives) == ("validation", 8, 4)
    calls = make_calls(scores, slides, fitted, states)
    assert len(calls) == 32
    assert {call.slide_id: call.state for call in calls}["15-1"] == "failed"
    assert sum(call.n_tiles for call in calls) == 31
    write_calls(packed / "calls.csv", calls)
    results = evaluate(
        {"sd": [SeedRun(0, packed / "calls.csv", scores)]},
        slides,
        stores,
        EvaluateConfig(bootstrap=100, baseline="sd"),
        provenance={},
        settings={},
        cost={},
    )
    found = results["arms"]["sd"]["cohorts"]["internal"]
    assert {unit: found[unit]["auroc"]["n"] for unit in ("patch", "slide", "patient")} == {
        "patch": 7,
        "slide": 7,
        "patient": 4,
    }
    assert found["patch"]["auroc"]["value"] == found["slide"]["auroc"]["value"]
    assert found["patient"]["auroc"]["value"] > 0.9


def test_an_image_that_was_never_packed_is_named(packed: Path) -> None:
    with (packed / "slides.csv").open("a") as handle:
        handle.write("stranger,stranger.png,px,1,train,,,,,,AP\n")
    with pytest.raises(ManifestError, match="stranger"):
        train_model(packed, packed / "slides.csv", packed / "model", TrainConfig())


@pytest.mark.usefixtures("pack")
def test_a_run_draws_splits_by_the_patients_that_headers_name(tmp_path: Path) -> None:
    for number in range(12):
        patient, name = number // 2, f"MRN{number // 2:04d}"
        folder = tmp_path / "in" / ["normal", "COVID"][patient % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write_dicom(folder / f"{number}.dcm", ramp(), PatientID=name)
    config = PipelineConfig(
        manifest=tmp_path / "in",
        out=tmp_path / "out",
        pack=PackConfig(size=16),
        splits={"train": 0.34, "validation": 0.33, "internal": 0.33},
    )
    stated = with_splits(listed(config), config)
    assert len({slide.patient_id for slide in stated}) == 12
    slides, summary = take_in(stated, with_classes(config))
    assert summary.ok
    splits: dict[str, set[str | None]] = {}
    for slide in with_splits(slides, config):
        splits.setdefault(slide.patient_id, set()).add(slide.split)
    assert len(splits) == 6
    assert sorted(len(each) for each in splits.values()) == [1] * 6
    assert with_classes(config).train.classes == ("normal", "COVID")
    assert stores_of(slides, tmp_path / "out", images=True).keys() == {s.slide_id for s in slides}
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [path for path in written if b"MRN" in path.read_bytes()]
