"""What a study writes: files, their schema, tables and the page."""

import base64
import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError
from PIL import Image

from wsi_specdec.config import EvaluateConfig
from wsi_specdec.errors import RunDirectoryError
from wsi_specdec.evaluation import PatchRun, PatchTruth, evaluate_patches
from wsi_specdec.files import read_json
from wsi_specdec.store import write_scores
from wsi_specdec.studies.grid import Choice
from wsi_specdec.studies.judging import CurvePoint
from wsi_specdec.studies.outcome import (
    Outcome,
    choices_json,
    curves_json,
    read_outcome,
    study_schema,
    write_outcome,
)
from wsi_specdec.studies.pages.figures import by_condition_figure, curves_figure, difference_figure
from wsi_specdec.studies.pages.page import Picture, Section, standard_sections, write_page
from wsi_specdec.studies.pages.tables import (
    choices_table,
    cost_table,
    data_table,
    differences_table,
    metrics_table,
)

CONDITIONS = {"corner/p-0.5": 0.8, "corner/p-0.98": 0.2}
VALUES = (0.01, 0.1, 1.0)


def results_of(folder: Path, quality: float) -> dict[str, Any]:
    """Evaluate two arms on three cohorts, one of which has positives alone."""
    truths = {
        "validation": truth("v", [0, 1] * 10),
        "internal": truth("i", [0, 1] * 10),
        "external-sick": truth("s", [1] * 12),
    }
    runs: dict[str, list[PatchRun]] = {}
    for arm, gain in (("wd", 1.0), ("sd", 1.5)):
        for seed in (0, 1):
            paths = {}
            for cohort, known in truths.items():
                rng = np.random.default_rng([seed, len(cohort)])
                logits = gain * quality * (2 * known.label - 1) + rng.normal(size=len(known.label))
                probs = (1 / (1 + np.exp(-logits))).astype(np.float32)[:, None]
                paths[cohort] = folder / arm / f"{seed}" / f"{cohort}.parquet"
                rows = np.arange(len(probs))
                write_scores(paths[cohort], np.stack([rows, rows], 1), probs, probs, ["x"], {})
            runs.setdefault(arm, []).append(PatchRun(seed, paths, 0.5))
    cost = {"sd": {"train_seconds": 12.5}}
    return evaluate_patches(runs, truths, EvaluateConfig(bootstrap=100), {}, {}, cost)


def truth(name: str, labels: list[int]) -> PatchTruth:
    ids = tuple(f"{name}{row}" for row in range(len(labels)))
    none = ("",) * len(labels)
    return PatchTruth(ids, np.array(labels, np.int64), ids, none, none, none)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Two conditions, in which two arms have three values each."""
    out = tmp_path_factory.mktemp("outcome")
    choices = {
        (condition, arm): Choice(setting, value, dict.fromkeys(VALUES, 0.75))
        for condition in CONDITIONS
        for arm, setting, value in (("wd", "weight_decay", 0.1), ("sd", "sd_coef", 1.0))
    }
    points = [
        CurvePoint(
            *key, choice.setting, value, seed, cohort, 0.5 + value / 4, 0.5, choice.value == value
        )
        for key, choice in choices.items()
        for value in VALUES
        for seed in (0, 1)
        for cohort in ("validation", "internal")
    ]
    return Outcome(
        study="spurious",
        title="Marks",
        config={"evaluate": {"confidence": 0.95}},
        provenance={"command": ["/a/wsi-specdec", "study", "x y"], "git_revision": "abc"},
        seeds=(0, 1),
        conditions={name: results_of(out / name, quality) for name, quality in CONDITIONS.items()},
        choices=choices_json(choices),
        curves=curves_json(points),
        notes=("Nothing is a patient's.",),
    )


def test_a_study_and_its_conditions_are_written_and_read(outcome: Outcome, tmp_path: Path) -> None:
    path = write_outcome(tmp_path, outcome)
    Draft202012Validator.check_schema(study_schema())
    Draft202012Validator(study_schema()).validate(read_json(path))
    for name, results in outcome.conditions.items():
        assert read_json(tmp_path / "conditions" / name / "results.json") == results
    assert read_outcome(tmp_path).to_json() == outcome.to_json()


def test_one_condition_without_a_name_has_a_file_too(outcome: Outcome, tmp_path: Path) -> None:
    (results, *_) = outcome.conditions.values()
    write_outcome(tmp_path, replace(outcome, conditions={"": results}))
    assert read_json(tmp_path / "conditions" / "results.json") == results


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.pop("curves"),
        lambda r: r.update(extra=1),
        lambda r: r.update(conditions={}),
        lambda r: r["conditions"]["corner/p-0.5"].pop("differences"),
        lambda r: r["conditions"]["corner/p-0.5"]["arms"]["sd"]["cohorts"]["internal"]["patch"][
            "auroc"
        ].update(value=1.5),
        lambda r: r["curves"][0].update(auroc=1.5),
        lambda r: r["curves"][0].update(cohort="training"),
        lambda r: r["choices"][0].pop("at_edge"),
        lambda r: r["choices"][0].update(means=[]),
    ],
)
def test_what_is_wrong_is_refused(outcome: Outcome, spoil: Callable[[Any], object]) -> None:
    written = json.loads(json.dumps(outcome.to_json(), allow_nan=False))
    spoil(written)
    with pytest.raises(ValidationError):
        Draft202012Validator(study_schema()).validate(written)


def test_what_is_no_study_is_said_to_be_none(tmp_path: Path) -> None:
    for text in (None, "{", "[1]", '{"study": "x"}'):
        if text is not None:
            (tmp_path / "results.json").write_text(text)
        with pytest.raises(RunDirectoryError, match="holds no results of a study"):
            read_outcome(tmp_path)


def test_metrics_have_a_row_for_each_condition_cohort_and_arm(outcome: Outcome) -> None:
    head, _, *rows = metrics_table(outcome.conditions)
    assert head.startswith("| Condition | Cohort | Arm | AUROC | Accuracy | Balanced accuracy |")
    assert len(rows) == 2 * 2 * 2
    found = outcome.conditions["corner/p-0.98"]["arms"]["sd"]["cohorts"]["internal"]["patch"]
    (row,) = [r for r in rows if r.startswith("| corner/p-0.98 | Internal | sd |")]
    auroc = found["auroc"]
    assert f"| {auroc['value']:.3f} ({auroc['ci_low']:.2f}–{auroc['ci_high']:.2f}) |" in row
    (row,) = [r for r in rows if r.startswith("| corner/p-0.98 | External (sick) | sd |")]
    cells = [cell.strip() for cell in row.split("|")[4:-1]]
    assert [cell == "–" for cell in cells] == [True, False, True, False, True]


def test_one_condition_needs_no_column(outcome: Outcome) -> None:
    alone = {"only": outcome.conditions["corner/p-0.5"]}
    assert metrics_table(alone, ["internal"])[0] == (
        "| Cohort | Arm | AUROC | Accuracy | Balanced accuracy |"
    )
    assert data_table(alone)[2] == "| Internal | 20 | 20 | 10 |"
    assert data_table(outcome.conditions) == data_table(alone)
    assert cost_table(alone)[2:] == ["| wd | – |", "| sd | 12.5 |"]


def test_only_defined_differences_are_listed(outcome: Outcome) -> None:
    rows = differences_table(outcome.conditions)[2:]
    defined = [
        row
        for results in outcome.conditions.values()
        for row in results["differences"]
        if row["delta"] is not None
    ]
    assert (
        len(rows) == len(defined) < sum(len(r["differences"]) for r in outcome.conditions.values())
    )
    assert not [row for row in rows if "External (sick) | AUROC" in row]
    assert [row for row in rows if "External (sick) | Sensitivity | sd − wd |" in row]
    chosen = differences_table(outcome.conditions, ["internal"], ["auroc"])[2:]
    assert len(chosen) == 2


def test_chosen_values_at_the_edge_of_the_grid_are_said_to_be_there(outcome: Outcome) -> None:
    rows = choices_table(outcome)[2:]
    assert rows[0] == (
        "| corner/p-0.5 | wd | weight decay | 0.1 | 0.01: 0.750, 0.1: 0.750, 1: 0.750 | no |"
    )
    assert "| sd | λ | 1 |" in rows[1]
    assert rows[1].endswith("| yes |")


def test_the_page_says_how_it_was_made_and_shows_everything(
    outcome: Outcome, tmp_path: Path
) -> None:
    picture = Picture(tmp_path / "figures" / "a.png", "What [it] shows.")
    difference_figure(picture.path, outcome.conditions)
    text = write_page(tmp_path, outcome, [picture]).read_text()
    assert text.startswith("# Marks\n\n```bash\nwsi-specdec study 'x y'\n```\n\nRevision abc, ")
    assert "seeds 0, 1." in text
    assert "![What (it) shows.](figures/a.png)" in text
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["Data", "Results", "Differences", "Chosen values", "Cost", "Notes"]
    for lines in (metrics_table(outcome.conditions), differences_table(outcome.conditions)):
        assert "\n".join(lines) in text


def test_the_page_in_html_needs_no_other_file_and_says_the_same(
    outcome: Outcome, tmp_path: Path
) -> None:
    picture = Picture(tmp_path / "a.png", "What it <shows>.")
    difference_figure(picture.path, outcome.conditions)
    odd = Section(
        "Odd",
        ["Of `code`, **bold** & *a* [link](x.md), 2 * 3 * 4:", "", "- one", "  more", "- two"],
    )
    sections = [*standard_sections(outcome), odd, Section("Empty", [])]
    plain = write_page(tmp_path, outcome, [picture], sections).read_text()
    page = (tmp_path / "page.html").read_text()
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert {each[:5] for each in loaded if not each.startswith("#")} == {"data:"}
    assert {each[1:] for each in loaded if each.startswith("#")} <= set(
        re.findall(r'id="([^"]*)"', page)
    )
    assert base64.b64encode(picture.path.read_bytes()).decode() in page
    assert page.count('alt="What it &lt;shows&gt;."') == 1
    assert "<p>Of <code>code</code>, <b>bold</b> &amp; <i>a</i> link, 2 * 3 * 4:</p>" in page
    assert "<ul><li>one more</li><li>two</li></ul>" in page
    assert "Empty" not in page
    rows = [line for line in plain.splitlines() if line.startswith("| ")]
    assert page.count('<tr role="row">') == len(rows)
    found = re.findall(r"<t[dh] (?:scope=.row. )?role=.(?:cell|rowheader).[^>]*>([^<]*)<", page)
    cells = {cell.strip() for row in rows for cell in row.strip("|").split(" | ")}
    assert {html.unescape(cell) for cell in found} <= cells
    assert len(found) > 50


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert path.stat().st_size < 120_000
        return np.asarray(picture.convert("RGB"))


def test_the_figure_of_values_stars_the_chosen_one(outcome: Outcome, tmp_path: Path) -> None:
    first, again, other = (tmp_path / f"{name}.png" for name in "abc")
    curves_figure(first, outcome.curves, condition="corner/p-0.5")
    curves_figure(again, outcome.curves, condition="corner/p-0.5")
    assert first.read_bytes() == again.read_bytes()
    moved = [{**point, "selected": point["value"] == 0.01} for point in outcome.curves]
    curves_figure(other, moved, condition="corner/p-0.5")
    assert (pixels(first) != pixels(other)).any()
    fixed = [point for point in outcome.curves if point["value"] == 0.1]
    with pytest.raises(ValueError, match="no arm of which several values"):
        curves_figure(first, fixed)


def test_figures_of_differences_and_conditions_are_small_pictures(
    outcome: Outcome, tmp_path: Path
) -> None:
    path = tmp_path / "figures" / "differences.png"
    difference_figure(path, outcome.conditions)
    assert pixels(path).shape[1] == 864
    by_number = dict(zip((0.5, 0.98), outcome.conditions.values(), strict=True))
    by_condition_figure(path, by_number, "Probability", "accuracy")
    two_panels = pixels(path)
    by_condition_figure(path, by_number, "Probability", "accuracy", ["internal"])
    assert two_panels.shape == pixels(path).shape
    with pytest.raises(ValueError, match="no difference of brier"):
        difference_figure(path, outcome.conditions, "brier")
    with pytest.raises(ValueError, match="no cohort with auroc"):
        by_condition_figure(path, by_number, "Probability", "auroc", ["external-sick"])
