"""The verb `aggregate`, and attention in a comparison's arm."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from wsi_specdec.aggregation import load_aggregator, read_calls, read_patients
from wsi_specdec.cli.app import make_app
from wsi_specdec.cohort import Slide
from wsi_specdec.config import AggregateConfig, ArmConfig, MilConfig, PipelineConfig, TrainConfig
from wsi_specdec.errors import ConfigError, WsiSpecdecError
from wsi_specdec.store import TileStore, TileStoreWriter, open_store
from wsi_specdec.studies import ArmRun, Cohort, run_arm

MakeScores = Callable[..., Path]
HEADER = "slide_id,patient_id,label,split\n"


def run(*words: str | Path) -> str:
    done = CliRunner().invoke(make_app(("aggregate",)), ["aggregate", *map(str, words), "--quiet"])
    if done.exception is not None and isinstance(done.exception, WsiSpecdecError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def inputs(make_scores: MakeScores, tmp_path: Path) -> list[str | Path]:
    """Twelve validation slides, two a patient, and one to test; a higher score is positive."""
    tiles = {f"v{i}": [i / 12, 0.0] for i in range(12)} | {"t": [0.9, 0.1]}
    rows = [f"v{i},p{i // 2},{int(i > 5)},validation\n" for i in range(12)]
    manifest = tmp_path / "slides.csv"
    manifest.write_text(HEADER + "".join(rows) + "t,pt,1,internal\n")
    return ["--scores", make_scores(tiles), "--manifest", manifest, "--out", tmp_path / "out"]


@pytest.mark.parametrize(
    "pooling",
    [
        "mean",
        "max",
        "topk_mean",
        "quantile",
        "fraction_above",
        "noisy_or",
        "connected_area",
        "logistic",
    ],
)
def test_every_pooling_of_scores_is_fitted_kept_and_applied(
    inputs: Sequence[str | Path], tmp_path: Path, pooling: str
) -> None:
    run(*inputs, "--fit-on", "validation", "--pooling", pooling)
    aggregator = load_aggregator(tmp_path / "out" / "aggregator")
    assert (aggregator.pooling, aggregator.fit_slides) == (pooling, 12)
    calls = read_calls(tmp_path / "out" / "calls.csv")
    assert len(calls) == 13
    # Applied to the same data, it calls the same.
    again = [word if word != tmp_path / "out" else tmp_path / "again" for word in inputs]
    run(*again, "--aggregator", tmp_path / "out" / "aggregator")
    assert read_calls(tmp_path / "again" / "calls.csv") == calls
    assert not (tmp_path / "again" / "aggregator").exists()


def test_flags_reach_the_aggregator(inputs: Sequence[str | Path], tmp_path: Path) -> None:
    run(
        *inputs, "--fit-on", "val", "--threshold-rule", "cost", "--cost-ratio", "5",
        "--prevalence", "0.1", "--calibration", "platt", "--abstain", "band", "--alpha", "0.2",
        "--patient-rule", "any", "--pooling", "quantile", "--quantile", "0.5",
    )  # fmt: skip
    found = load_aggregator(tmp_path / "out" / "aggregator")
    assert (found.threshold_rule, found.cost_ratio, found.prevalence) == ("cost", 5, 0.1)
    assert found.calibration is not None
    assert found.abstention is not None
    assert (found.abstention.method, found.abstention.alpha) == ("band", 0.2)
    assert (found.patient_rule, found.pooling_parameters) == ("any", {"q": 0.5})
    patients = read_patients(tmp_path / "out" / "patients.csv")
    assert [(p.patient_id, p.n_slides) for p in patients[-2:]] == [("p5", 2), ("pt", 1)]


def test_wrong_use_is_said_before_anything_is_written(
    inputs: Sequence[str | Path], tmp_path: Path
) -> None:
    for words, message in (
        ((), "give either --fit-on SPLIT or --aggregator FOLDER"),
        (("--fit-on", "internal"), "'internal' is evaluated"),
        (("--aggregator", tmp_path, "--top-k", "3"), "so --top-k cannot be given with it"),
        (("--fit-on", "val", "--attention"), "'topk_mean' gives tiles no attention"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(*inputs, *words)
    assert not (tmp_path / "out").exists()


def test_leftovers_and_slides_that_are_not_done_are_not_called(
    inputs: Sequence[str | Path], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.csv"
    columns = "slide_id,state,reason,tiles,seconds,peak_rss_mb,params_sha256\n"
    ledger.write_text(columns + "v0,skipped,fluorescence,0,1,1,x\nv11,done,,2,1,1,x\n")
    manifest = tmp_path / "slides.csv"
    manifest.write_text(manifest.read_text().replace("t,pt,1,internal\n", ""))
    run(*inputs, "--fit-on", "validation", "--ledger", ledger)
    with (tmp_path / "out" / "calls.csv").open() as handle:
        rows = {row["slide_id"]: row for row in csv.DictReader(handle)}
    assert "t" not in rows
    assert (rows["v0"]["state"], rows["v0"]["call"]) == ("skipped", "")
    assert load_aggregator(tmp_path / "out" / "aggregator").fit_slides == 11


def test_the_ledger_among_the_scores_is_taken_unless_another_is_given(
    inputs: Sequence[str | Path], tmp_path: Path
) -> None:
    columns = "slide_id,state,reason,tiles,seconds,peak_rss_mb,params_sha256\n"
    own, other = Path(inputs[1]) / "ledger.csv", tmp_path / "other.csv"
    own.write_text(columns + "v0,failed,corrupt,0,1,1,x\n")
    other.write_text(columns + "v1,failed,corrupt,0,1,1,x\n")
    for words, failed in (((), "v0"), (("--ledger", other), "v1")):
        run(*inputs, "--fit-on", "validation", *words)
        calls = {call.slide_id: call for call in read_calls(tmp_path / "out" / "calls.csv")}
        assert [name for name, call in calls.items() if call.state == "failed"] == [failed]


def store_of(folder: Path, name: str, label: int) -> TileStore:
    rng = np.random.default_rng(sum(map(ord, name)))
    tiles = rng.integers(60 * label, 100 + 100 * label, (4, 32, 32, 3)).astype(np.uint8)
    path = folder / "tiles" / f"{name}.zarr"
    attributes = {"slide_id": name, "tile_size_level0_px": 32, "mpp": 0.5, "params_sha256": "p"}
    with TileStoreWriter(
        path, n_tiles=4, tile_size=32, codec="lossless", attributes=attributes
    ) as writer:
        writer.append(tiles)
        coords = np.stack([np.arange(4) * 32, np.zeros(4, int)], axis=1)
        writer.finish(coords, np.ones(4), np.full(4, label), {})
    return open_store(path)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_an_arm_with_attention_embeds_its_training_slides_and_does_not_call_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = ["train"] * 4 + ["validation"] * 4 + ["internal"] * 2
    slides = [Slide(f"s{i}", Path("x"), f"p{i}", i % 2, split) for i, split in enumerate(splits)]
    stores = {s.slide_id: store_of(tmp_path, s.slide_id, s.label or 0) for s in slides}
    mil = MilConfig(hidden=4, attention=2, epochs=2)
    config = PipelineConfig(
        train=TrainConfig(
            model="test_resnet", epochs=1, batch_size=8, tensorboard=False, pictures=False
        ),
        aggregate=AggregateConfig(pooling="mil", mil=mil),
    )
    cohort = Cohort(slides, stores, dict.fromkeys(stores, "done"), tmp_path / "stain")
    arm = ArmRun.within(tmp_path, ArmConfig(name="sd"), 0)
    run_arm(arm, cohort, config)
    assert [call.slide_id for call in read_calls(arm.calls)] == [f"s{i}" for i in range(4, 10)]
    assert len(list((arm.folder / "embeddings").glob("*.zarr"))) == 10
    found = load_aggregator(arm.folder / "aggregator")
    assert (found.pooling, found.fit_slides, len(found.fit_members)) == ("mil", 4, 8)
    assert len(read_patients(arm.folder / "patients.csv")) == 6
    assert "not called" not in capsys.readouterr().err
