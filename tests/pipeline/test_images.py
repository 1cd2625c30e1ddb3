"""The shipped radiographs from a pipeline file to results and a report, by the code of slides."""

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from wsi_specdec.cohort import read_manifest, write_manifest
from wsi_specdec.config import ExportConfig, PipelineConfig, load_config, override
from wsi_specdec.errors import (
    ConfigError,
    ManifestError,
    NotEnoughDataError,
    RunDirectoryError,
    WsiSpecdecError,
)
from wsi_specdec.pipeline import run_pipeline
from wsi_specdec.report import export_run, print_results, read_run
from wsi_specdec.runner import read_states
from wsi_specdec.store import read_scores
from wsi_specdec.store.calls import read_calls

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "wsi_specdec" / "demo" / "data" / "hannover"
FAST = (
    "train.epochs=2",
    "train.pictures=false",
    "train.tensorboard=false",
    "seeds=[0]",
    "evaluate.bootstrap=100",
)
Make = Callable[..., PipelineConfig]


@dataclass(frozen=True)
class Ran:
    """A finished run and its config."""

    config: PipelineConfig
    out: Path
    results: dict[str, Any]
    page: str


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Tiny tensors are slowed by threads, and on a busy machine by much."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """List the shipped images at two sites, with their views, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    with (SHIPPED / "images.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    lines = ["path,patient_id,label,split,view,site"]
    for number, row in enumerate(rows):
        path, site = SHIPPED / row["path"], "ab"[number % 2]
        lines.append(
            f"{path},{row['patient_id']},{row['label']},{row['split']},{row['label']},{site}"
        )
    (folder / "broken.png").write_bytes(b"broken")
    lines.append("broken.png,nobody,AP,internal,AP,a")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    return folder / "images.csv"


@pytest.fixture(scope="module")
def make(images: Path) -> Make:
    """Make the shipped pipeline small enough for a test."""

    def config(out: Path, *settings: str, **changes: object) -> PipelineConfig:
        loaded = load_config(ROOT / "pipelines" / "radiographs_view.yaml")
        assert isinstance(loaded, PipelineConfig)
        placed = loaded.model_copy(update={"manifest": images, "out": out, **changes})
        return override(placed, [*FAST, *settings])

    return config


@pytest.fixture(scope="module")
def ran(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    out = tmp_path_factory.mktemp("view") / "run"
    config = make(out)
    done = run_pipeline(config)
    assert done.results is not None
    assert [name for name, _ in done.tiling.failures] == ["broken"]
    return Ran(config, out, done.results, done.report.read_text(encoding="utf-8"))


def test_images_are_measured_by_image_patient_site_and_view(ran: Ran) -> None:
    assert json.loads((ran.out / "results.json").read_text()) == ran.results
    for arm in ("wd", "sd"):
        found = ran.results["arms"][arm]["cohorts"]["internal"]
        assert {unit: found[unit]["auroc"]["n"] for unit in ("slide", "patient")} == {
            "slide": 10,
            "patient": 10,
        }
        assert found["patch"]["auroc"] == found["slide"]["auroc"]
        assert found["by_view"].keys() == {"AP", "PA"}
        assert found["by_site"].keys() == {"a", "b"}
    assert {d["arm"] for d in ran.results["differences"]} == {"sd"}
    out = io.StringIO()
    print_results(ran.results, Console(file=out, width=80), of_images=True)
    assert "Internal: 11 images of 11 patients, 6 positive" in out.getvalue()
    assert "Patch" not in out.getvalue()


def test_every_image_has_a_call_and_a_score_named_after_its_class(ran: Ran) -> None:
    seed = ran.out / "arms" / "sd" / "seed-0"
    calls = {call.slide_id: call for call in read_calls(seed / "calls.csv")}
    assert len(calls) == 21
    assert calls["broken"].state == "failed"
    assert {call.n_tiles for name, call in calls.items() if name != "broken"} == {1}
    table = read_scores(seed / "scores" / "1479fa94.parquet")
    assert list(table.columns) == ["x", "y", "logit_AP", "prob_AP"]
    assert calls["1479fa94"].score == pytest.approx(float(table["prob_AP"][0]))


def test_the_report_shows_images_where_slides_have_heatmaps(ran: Ran) -> None:
    words = re.sub(r"<style>.*?</style>|<pre.*?</pre>|<[^>]+>", " ", ran.page, flags=re.DOTALL)
    text = " ".join(words.split())
    assert "2 arms compared on 49 images" in text
    assert "Internal 11 images of 11 patients, 6 positive" in text
    for words in ("Image AUROC", "Internal, by view", "Internal, by site", "Most wrong with AP"):
        assert words in text
    for words in ("Heatmap", "Tissue", "tissue", "Patch", "Slide", "tumour"):
        assert words not in text
    said = text.partition("What this was made with")[0].replace("tiles_gb", "")
    assert not re.findall(r"\bslides?\b|\btiles?\b", said)
    assert "broken" in text.split("Not analysed")[-1]
    alts = re.findall(r'alt="([^"]*)"', ran.page)
    shown = {alt for alt in alts if re.fullmatch(r"Image \w+, truth (positive|negative)", alt)}
    assert len(shown) == 10
    assert all(re.search(r"Image \w+, score 0\.\d{3}", alt) for alt in alts if ", score" in alt)
    files = {path.name for path in ran.out.iterdir()}
    assert not files & {"previews", "exports", "coords", "tile.json"}
    assert not (ran.out / "arms" / "sd" / "seed-0" / "heatmaps").exists()
    with pytest.raises(RunDirectoryError, match="packed images"):
        export_run(read_run(ran.out), ExportConfig())


def test_the_same_run_again_does_nothing_twice(ran: Ran) -> None:
    def times() -> dict[str, int]:
        kept = [*ran.out.glob("arms/*/*/model/weights*"), *ran.out.glob("arms/*/*/scores/*")]
        return {str(path): path.stat().st_mtime_ns for path in [*kept, *ran.out.glob("tiles/*")]}

    before = times()
    again = run_pipeline(ran.config)
    assert times() == before
    assert again.results is not None
    assert again.results["arms"]["sd"]["cohorts"] == ran.results["arms"]["sd"]["cohorts"]


def test_a_packed_folder_is_run_on_as_it_is(ran: Ran, make: Make, tmp_path: Path) -> None:
    """With sites left out, each fold runs on what is packed already; so it does here."""
    slides = [replace(slide, split=None) for slide in read_manifest(ran.out / "slides.csv")]
    write_manifest(slides, tmp_path / "slides.csv")
    config = make(
        tmp_path / "out",
        "arms=[{name: sd, sd_coef: 0.01}]",
        "evaluate.baseline=sd",
        manifest=tmp_path / "slides.csv",
        pack=None,
        packed=ran.out,
        leave_out="site",
    )
    done = run_pipeline(config)
    assert done.joined is not None
    assert (tmp_path / "out" / "tiles").resolve() == (ran.out / "tiles").resolve()
    for site in ("a", "b"):
        fold = tmp_path / "out" / "folds" / site
        assert (fold / "report.html").is_file()
        assert len(read_states(fold)) == 49
        results = json.loads((fold / "results.json").read_text())
        assert results["arms"]["sd"]["cohorts"][f"external-{site}"]["slide"]["auroc"]["n"] == 24


@pytest.mark.parametrize(
    ("settings", "changes", "error", "message"),
    [
        (["tile.mpp=1"], {}, ConfigError, "about slides: leave them out"),
        (["packed=somewhere"], {}, ConfigError, "either pack, to pack images, or packed"),
        (["train.classes=[AP, PA]"], {}, ConfigError, "classes are AP, PA, and the images' are PA"),
        (["pack.classes=[PA, AP, LL]"], {}, ConfigError, "two classes"),
        (["pack=null", "packed=OUT"], {}, ConfigError, "choose another out"),
        (["leave_out=site", "pack.splits={train: 1.0}"], {}, WsiSpecdecError, "splits"),
        ([], {"manifest": None}, ConfigError, "'manifest' is missing"),
    ],
)
def test_what_cannot_be_run_is_refused_first(
    make: Make,
    tmp_path: Path,
    settings: list[str],
    changes: dict[str, object],
    error: type[WsiSpecdecError],
    message: str,
) -> None:
    out = tmp_path / "out"
    with pytest.raises(error, match=message):
        run_pipeline(make(out, *(s.replace("OUT", str(out)) for s in settings), **changes))
    assert not out.exists()


def test_images_that_are_not_packed_are_named(ran: Ran, make: Make, tmp_path: Path) -> None:
    text = (ran.out / "slides.csv").read_text().replace("broken,", "stranger,")
    (tmp_path / "slides.csv").write_text(text)
    packed = {"pack": None, "packed": ran.out, "manifest": tmp_path / "slides.csv"}
    with pytest.raises(ManifestError, match="stranger"):
        run_pipeline(make(tmp_path / "out", **packed))


def test_grey_images_have_no_stains_to_normalise(ran: Ran, make: Make, tmp_path: Path) -> None:
    config = make(
        tmp_path / "out", "train.stain.method=macenko", pack=None, packed=ran.out, manifest=None
    )
    with pytest.raises(NotEnoughDataError, match="profile"):
        run_pipeline(config)
