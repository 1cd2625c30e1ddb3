"""The HTML report: self-contained, accessible, true to the files."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
import zarr
from fake_runs import FakeRun, make_comparison
from numpy.typing import NDArray
from report_pages import Page, report_of

from wsi_specdec.config import ReportConfig
from wsi_specdec.evaluation import results_schema
from wsi_specdec.files import write_json
from wsi_specdec.report import read_run, write_report
from wsi_specdec.report.gallery import Card, make_cards
from wsi_specdec.report.heatmaps import write_heatmaps
from wsi_specdec.report.images import read_rgb
from wsi_specdec.report.tile_gallery import make_tile_shelves
from wsi_specdec.report.views import question_text

TESTED = [(cohort, number) for cohort in ("internal", "external") for number in range(4)]


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


def scores_of(run: Path, slide_id: str, arm: str = "wd") -> NDArray[np.float64]:
    return read_run(run).arms[arm][0].tile_scores(slide_id)[1]


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
    # Cards, figures for light and dark pages, and two rows of tiles an arm.
    assert len(images) == 4 * 5 + 9 * 2 + 2 * 2 * 10
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


def test_truth_is_that_of_the_tiles(comparison: FakeRun) -> None:
    """A mask's values mean what the settings say, and it may be far too large to be drawn."""

    def card_of(slide_id: str) -> Card:
        run = read_run(comparison.path)
        write_heatmaps(run)
        cards = make_cards(run, 8)
        return next(card for card in cards if card.slide_id == slide_id)

    store = comparison.path / "tiles" / "external-3.zarr"
    array = zarr.open_group(store, mode="r+")["label"]
    assert isinstance(array, zarr.Array)
    labels = np.zeros(array.shape, np.int16)
    labels[:3], labels[-5:] = 1, -1
    array[:] = labels
    (comparison.path / "slides" / "external-3.truth.png").unlink()
    share = 100 * 3 / (len(labels) - 5)
    assert card_of("external-3").truth_caption == f"tumour in {share:.1f} % of the tiles"
    array[:] = -1
    assert card_of("external-3").truth_picture is None


def test_tiles_are_the_highest_and_the_most_wrong(comparison: FakeRun) -> None:
    """Every tile is labelled tumour: the lowest scores are the most wrong."""
    shelves = make_tile_shelves(read_run(comparison.path), 6)
    rows = [row for shelf in shelves for row in shelf.rows]
    alts = [tile.picture.alt for row in rows for tile in row.tiles]
    assert [len(row.tiles) for row in rows] == [6, 0, 6] * 2
    scores = {f"{c}-{n}": scores_of(comparison.path, f"{c}-{n}") for c, n in TESTED}
    best = sorted((float(v) for s in scores.values() for v in np.sort(s)[-2:]), reverse=True)
    worst = sorted(float(v) for s in scores.values() for v in np.sort(s)[:2])
    shown = [float(alt.rsplit(" ", 1)[1]) for alt in alts[:12]]
    np.testing.assert_allclose(shown[:6], best[:6], atol=5e-4)
    np.testing.assert_allclose(shown[6:], worst[:6], atol=5e-4)
    for name in scores:
        assert sum(f"slide {name} at" in alt for alt in alts[:6]) <= 2
    assert make_tile_shelves(read_run(comparison.path), 0) == []


def test_tiles_without_labels_are_called_neither_right_nor_wrong(process_run: FakeRun) -> None:
    for store in (process_run.path / "tiles").glob("*.zarr"):
        labels = zarr.open_group(store, mode="r+")["label"]
        labels[:] = -1  # type: ignore[index]
    _, page = report_of(process_run)
    assert "Highest scores" in page.text
    assert "Most wrong" not in page.text


def test_the_question_is_asked_first(reported: Reported) -> None:
    page = reported.page
    asked = (
        "Question. Which of wd and sd+macenko calls slides best on the internal and external "
        "cohorts"
    )
    assert asked in page.text
    assert page.text.index("Question") < page.text.index("Cohorts and arms")
    assert "No tile without tumour scored 0.5 or more." in page.text
    own = ReportConfig(question="Does it work?")
    assert question_text(read_run(reported.path), own) == "Does it work?"


def test_the_flow_of_slides_is_a_table(reported: Reported) -> None:
    assert "Patient flow" in reported.page.text
    assert "Train 2 (2) 0 1 0 0 1 (1) 0" in reported.page.text
    assert "External 4 (4) 0 0 0 0 4 (4) 2" in reported.page.text


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_on_light_and_on_dark_pages(reported: Reported) -> None:
    blocks = re.findall(r":root \{(.*?)\}", reported.text, re.DOTALL)[:2]
    assert len(blocks) == 2
    for block in blocks:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))
        for ink in ("ink", "muted", "accent", "right", "wrong"):
            for paper in ("page", "panel", "note"):
                assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def test_keyboard_and_print_are_thought_of(reported: Reported) -> None:
    page = reported.page
    first = page.attributes("a")[0]
    assert (first["class"], first["href"]) == ("skip", "#main")
    scrolled = [a for _, a in page.tags if "scroll" in (a.get("class") or "").split()]
    assert scrolled
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in scrolled)
    assert "@media print" in reported.text
    assert "prefers-color-scheme: dark" in reported.text
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


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
        "external_internal.svg",
        "metrics.svg",
        "pr_external.svg",
        "pr_internal.svg",
        "reliability_external.svg",
        "reliability_internal.svg",
        "roc_external.svg",
        "roc_internal.svg",
    ]
    write_json(comparison.path / "results.json", reported.results)
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
    text, page = report_of(comparison, title=hostile, note=hostile, question=hostile)
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
    _, page = report_of(comparison, max_slides=0, max_tiles=0)
    alts = [image["alt"] or "" for image in page.attributes("img")]
    assert not any(alt.startswith(("Thumbnail", "Tile ")) for alt in alts)
    assert not {"#slides", "#tiles"} & {a["href"] for a in page.attributes("a")}
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


@pytest.mark.slow
def test_a_hundred_slides_stay_small(tmp_path: Path) -> None:
    """Four arms, every slide shown, thumbnails as busy as tissue."""
    cohorts = (("train", 1), ("validation", 1), ("internal", 50), ("external", 50))
    run = make_comparison(tmp_path / "run", cohorts, ("wd", "sd", "wd+macenko", "sd+macenko"), (0,))
    rng = np.random.default_rng(0)
    for path in (run.path / "previews").glob("*.thumbnail.jpg"):
        noise = rng.integers(0, 255, (410, 512, 3)).astype(np.uint8)
        cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 2))
    text, page = report_of(run, max_slides=100)
    assert sum("Thumbnail of" in (i["alt"] or "") for i in page.attributes("img")) == 100
    assert len(text.encode()) < 15e6
