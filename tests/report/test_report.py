"""The HTML report: self-contained, accessible, true to the files."""

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Protocol

import cv2
import jsonschema
import numpy as np
import pytest

from wsi_specdec.config import ReportConfig
from wsi_specdec.errors import RunDirectoryError, StoreError, WsiSpecdecError
from wsi_specdec.evaluation import results_schema
from wsi_specdec.files import write_json
from wsi_specdec.report import read_run, write_report
from wsi_specdec.report.images import read_rgb


class FakeRun(Protocol):
    """What the fixtures of the room's conftest yield."""

    path: Path
    results: dict[str, Any]


VOID = {"meta", "link", "img", "source", "br", "hr"}


class Page(HTMLParser):
    """What a report holds, with its tags checked for balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        """Visible text, spaces collapsed."""
        return " ".join("".join(self.words).split())

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of each element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


@dataclass(frozen=True)
class Reported:
    """A comparison with its report."""

    path: Path
    results: dict[str, Any]
    text: str
    page: Page


@pytest.fixture(scope="module")
def reported(made_comparison: FakeRun) -> Reported:
    settings = ReportConfig(title="A comparison", note="Slides are composed.", max_slides=4)
    text = write_report(made_comparison.path, settings).read_text(encoding="utf-8")
    return Reported(made_comparison.path, made_comparison.results, text, Page(text))


def report_of(run: FakeRun, **settings: str | int) -> tuple[str, Page]:
    text = write_report(run.path, ReportConfig.model_validate(settings)).read_text(encoding="utf-8")
    return text, Page(text)


def test_fixture_is_what_evaluation_writes(results: dict[str, Any]) -> None:
    jsonschema.validate(results, results_schema())


def test_page_is_well_formed_and_loads_nothing(reported: Reported) -> None:
    text, page = reported.text, reported.page
    assert page.open == []
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "action"):
            value = attributes.get(name) or ""
            assert not value or value.startswith(("data:", "#"))
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not page.attributes("script")


def test_page_is_accessible(reported: Reported) -> None:
    page = reported.page
    images = page.attributes("img")
    assert len(images) == 4 * 5 + 4 * 2
    assert all(image["alt"] and (image["src"] or "").startswith("data:image/") for image in images)
    assert page.attributes("html")[0]["lang"] == "en"
    assert len(page.attributes("h1")) == 1
    assert len(page.attributes("caption")) == len(page.attributes("table"))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [(a.get("href") or "")[1:] for a in page.attributes("a")]
    assert set(targets) <= set(ids)
    assert all(th.get("scope") for th in page.attributes("th"))


def test_values_of_the_results_appear_rounded(reported: Reported) -> None:
    page = reported.page
    for arm in reported.results["arms"].values():
        for cohort in arm["cohorts"].values():
            for unit in cohort.values():
                for measure in unit.values():
                    assert f"{measure['value']:.3f}" in page.text
                    interval = f"{measure['ci_low']:.2f}–{measure['ci_high']:.2f}"
                    assert interval in page.text
    assert "+0.031" in page.text
    assert "−0.021 to +0.088" in page.text
    assert "0.042" in page.text
    assert "0.26" in page.text
    assert "DeLong" in page.text


def test_every_section_is_there(reported: Reported) -> None:
    page = reported.page
    for words in (
        "A comparison",
        "Slides are composed.",
        "Cohorts and arms",
        "train.sd_coef",
        "train_seconds",
        "ROC, external cohort",
        "blank",
        "empty: no tissue",
        "git_revision",
        "0123456789ab",
        "inputs.slides.csv",
        "cafe",
        "kind: pipeline",
        "2026-11-24 12:00 UTC",
    ):
        assert words in page.text
    # Settings that all arms share are left out.
    assert "train.lr" not in page.text


def test_slides_show_calls_beside_the_truth(reported: Reported) -> None:
    page = reported.page
    alts = [image["alt"] or "" for image in page.attributes("img")]
    shown = re.findall(r"Thumbnail of slide (\S+)", " ".join(alts))
    assert shown[:2] == ["external-3", "external-1"]
    assert {name.rsplit("-", 1)[0] for name in shown} == {"external", "internal"}
    assert sum("Heatmap of slide external-3 by sd+macenko" in alt for alt in alts) == 1
    assert "Heatmap of slide external-3 by wd: slide score 0.280, call negative" in alts
    assert "✗ negative, wrong" in page.text
    assert "✓ positive, right" in page.text
    assert "threshold 0.432" in page.text


def test_no_slides_are_shown_when_none_are_asked_for(comparison: FakeRun) -> None:
    _, page = report_of(comparison, max_slides=0)
    assert not any("Thumbnail" in (image["alt"] or "") for image in page.attributes("img"))
    assert not any(a["href"] == "#slides" for a in page.attributes("a"))


def test_heatmaps_are_written_for_test_slides_of_the_first_seed(reported: Reported) -> None:
    for arm in ("wd", "sd+macenko"):
        folder = reported.path / "arms" / arm / "seed-0" / "heatmaps"
        names = sorted(path.stem for path in folder.iterdir())
        assert names == [f"{c}-{n}" for c in ("external", "internal") for n in range(4)]
        assert not (reported.path / "arms" / arm / "seed-1" / "heatmaps").exists()
    image = read_rgb(folder / "internal-1.png")
    coloured = np.ptp(image.astype(int), axis=2) > 0
    expected = np.zeros((80, 100), bool)
    expected[10:70, 10:90] = True
    np.testing.assert_array_equal(coloured, expected)


def test_figures_are_written_and_the_same_each_time(
    reported: Reported, comparison: FakeRun
) -> None:
    folder = reported.path / "figures"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(first) == [
        "differences.svg",
        "metrics.svg",
        "roc_external.svg",
        "roc_internal.svg",
    ]
    report_of(comparison, max_slides=0)
    again = comparison.path / "figures"
    assert {path.name: path.read_bytes() for path in again.iterdir()} == first


def test_hostile_text_is_escaped(comparison: FakeRun) -> None:
    hostile = '<script>alert("x")</script>&<img src=x onerror=y>'
    results = comparison.results
    results["differences"][0]["test"] = hostile
    write_json(comparison.path / "results.json", results)
    ledger = comparison.path / "ledger.csv"
    ledger.write_text(ledger.read_text().replace("empty: no tissue", "<b onclick=y>no</b>"))
    text, page = report_of(comparison, title=hostile, note=hostile)
    assert not page.attributes("script")
    assert not any("onerror" in a or "onclick" in a for _, a in page.tags)
    assert "<script" not in text
    assert page.text.count('<script>alert("x")</script>') >= 3
    assert "<b onclick=y>no</b>" in page.text


def test_process_run_shows_calls_without_truth(process_run: FakeRun) -> None:
    _, page = report_of(process_run, title="Calls")
    assert page.open == []
    for words in ("b positive 0.876", "a negative 0.200", "glass no call: no tissue – –"):
        assert words in page.text
    assert page.text.index("b positive") < page.text.index("a negative")
    alts = [image["alt"] or "" for image in page.attributes("img")]
    assert any(alt.startswith("Heatmap of slide b: slide score 0.876") for alt in alts)
    assert not any("Truth" in alt for alt in alts)
    assert "right" not in page.text
    assert (process_run.path / "heatmaps" / "a.png").exists()
    assert not (process_run.path / "figures").exists()


def test_one_seed_one_arm_and_no_differences(comparison: FakeRun) -> None:
    results = comparison.results
    results["arms"] = {"wd": results["arms"]["wd"] | {"seeds": [1]}}
    results["differences"] = []
    write_json(comparison.path / "results.json", results)
    _, page = report_of(comparison)
    assert "1 arm compared" in page.text
    assert "mean over" not in page.text
    assert not any(a["href"] == "#differences" for a in page.attributes("a"))
    assert (comparison.path / "arms" / "wd" / "seed-1" / "heatmaps").exists()


def test_pairs_with_different_baselines_are_told_apart(comparison: FakeRun) -> None:
    results = comparison.results
    first = results["differences"][0]
    results["differences"] = [
        first | {"delta": 0.111, "reason": "percentile interval: few patients"},
        first | {"baseline": "sd+plain", "delta": -0.222},
    ]
    results["cohorts"]["external"]["threshold_chosen_here"] = True
    write_json(comparison.path / "results.json", results)
    _, page = report_of(comparison, max_slides=0)
    assert "sd+macenko − wd +0.111" in page.text
    assert "sd+macenko − sd+plain −0.222" in page.text
    assert "(sd+macenko − wd): percentile interval: few patients" in page.text
    assert "2 positive; threshold chosen here" in page.text
    figure = next(i["alt"] or "" for i in page.attributes("img") if "differences" in str(i["alt"]))
    assert "sd+macenko − wd, internal: +0.111" in figure
    assert "sd+macenko − sd+plain, internal: −0.222" in figure


def test_a_cohort_of_one_class_has_no_curve(comparison: FakeRun) -> None:
    manifest = comparison.path / "slides.csv"
    manifest.write_text(re.sub(r"(p-external-\d),1,", r"\1,0,", manifest.read_text()))
    _, page = report_of(comparison)
    assert "ROC, internal cohort" in page.text
    assert "ROC, external cohort" not in page.text


def test_many_slides_stay_small(comparison: FakeRun) -> None:
    rng = np.random.default_rng(0)
    for path in (comparison.path / "previews").glob("*.thumbnail.jpg"):
        noise = rng.integers(0, 255, (410, 512, 3)).astype(np.uint8)
        cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 2))
    text, _ = report_of(comparison, max_slides=8)
    # 100 slides of four arms in place of 8 of two, at the smaller size they would get.
    assert len(text) / 8 * 100 * 2 * (288 / 400) ** 2 < 15e6


@pytest.mark.parametrize(
    "name",
    [
        "slides.csv",
        "ledger.csv",
        "provenance.json",
        "config.yaml",
        "arms/wd/seed-1",
        "arms/wd/seed-0/calls.csv",
        "arms/wd/seed-0/scores/internal-0.parquet",
        "previews/internal-0.thumbnail.jpg",
        "previews/external-3.tissue.png",
        "slides/external-3.truth.png",
        "tiles/internal-0.zarr",
    ],
)
def test_a_missing_piece_is_named(comparison: FakeRun, name: str) -> None:
    path = comparison.path / name
    path.rename(path.with_name("gone"))
    with pytest.raises(WsiSpecdecError, match=re.escape(path.name)):
        write_report(comparison.path, ReportConfig())
    assert not (comparison.path / "report.html").exists()


def test_an_unfinished_run_is_refused(comparison: FakeRun, tmp_path: Path) -> None:
    (comparison.path / "results.json").unlink()
    with pytest.raises(RunDirectoryError, match=r"results\.json"):
        read_run(comparison.path)
    with pytest.raises(RunDirectoryError, match="not a finished run"):
        read_run(tmp_path / "nowhere")


def test_damaged_files_are_named(comparison: FakeRun) -> None:
    results = comparison.path / "results.json"
    whole = results.read_text()
    for text, words in (("{", "results.json"), ('{"arms": {}}', "'cohorts', 'differences'")):
        results.write_text(text)
        with pytest.raises(RunDirectoryError, match=re.escape(words)):
            read_run(comparison.path)
    broken = json.loads(whole)
    del broken["arms"]["wd"]["seeds"]
    results.write_text(json.dumps(broken))
    with pytest.raises(RunDirectoryError, match="'seeds' in arm 'wd'"):
        read_run(comparison.path)
    results.write_text(whole)
    (comparison.path / "previews" / "internal-0.thumbnail.jpg").write_bytes(b"no image")
    with pytest.raises(RunDirectoryError, match=r"internal-0\.thumbnail\.jpg is not an image"):
        write_report(comparison.path, ReportConfig())


def test_a_slide_without_a_call_is_named(comparison: FakeRun) -> None:
    calls = comparison.path / "arms" / "wd" / "seed-0" / "calls.csv"
    lines = [line for line in calls.read_text().splitlines() if not line.startswith("external-2")]
    calls.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunDirectoryError, match="no row for slide 'external-2'"):
        write_report(comparison.path, ReportConfig())


def test_a_store_that_does_not_state_the_size_is_refused(comparison: FakeRun) -> None:
    file = comparison.path / "tiles" / "internal-0.zarr" / "zarr.json"
    metadata = json.loads(file.read_text())
    del metadata["attributes"]["level0_width"]
    file.write_text(json.dumps(metadata))
    with pytest.raises((RunDirectoryError, StoreError), match=r"internal-0\.zarr"):
        write_report(comparison.path, ReportConfig())
