"""Folds that leave a site out: who is external, who is divided, and what is refused."""

from pathlib import Path

import pytest

from wsi_specdec.cohort import Slide, check_leaks
from wsi_specdec.errors import LeakError, ManifestError, NotEnoughDataError, WsiSpecdecError
from wsi_specdec.metrics import Estimate, mean_of_sites
from wsi_specdec.studies.joined import join_folds, joined_page
from wsi_specdec.studies.sites import Fold, leave_one_out, share_tiles

MINUS = "\N{MINUS SIGN}"
SHARES = {"train": 0.5, "validation": 0.25, "internal": 0.25}


def slide(name: str, site: str | None, label: int = 0, **changes: object) -> Slide:
    made = {"patient_id": f"p-{name}", "label": label, "site": site, "scanner": f"s-{site}"}
    return Slide(name, Path(f"{name}.svs"), **{**made, **changes})  # type: ignore[arg-type]


def cohort() -> list[Slide]:
    sites = ("Turku", "Århus", "St. Olav")
    return [slide(f"{k}-{i}", site, i % 2) for k, site in enumerate(sites) for i in range(8)]


def test_each_site_is_external_once_and_the_others_are_divided_by_patient() -> None:
    slides = cohort()
    slides.append(slide("again", "Turku", 1, patient_id="p-0-1"))
    folds = leave_one_out(slides, "site", SHARES, seed=0)
    assert [(f.site, f.name, f.cohort) for f in folds] == [
        ("St. Olav", "St._Olav", "external-St._Olav"),
        ("Turku", "Turku", "external-Turku"),
        ("Århus", "_rhus", "external-_rhus"),
    ]
    for fold in folds:
        assert [s.slide_id for s in fold.slides] == [s.slide_id for s in slides]
        check_leaks(fold.slides)
        outside = {s.slide_id for s in fold.slides if s.split == fold.cohort}
        assert outside == {s.slide_id for s in slides if s.site == fold.site}
        for split, share in SHARES.items():
            own = [s for s in fold.slides if s.split == split]
            assert len({s.patient_id for s in own}) == 16 * share
            assert {s.label for s in own} == {0, 1}


def test_the_deal_follows_the_seed() -> None:
    first = leave_one_out(cohort(), "site", SHARES, seed=0)
    assert leave_one_out(cohort(), "site", SHARES, seed=0) == first
    assert leave_one_out(cohort(), "site", SHARES, seed=1) != first


def test_two_sites_suffice_and_scanners_count_as_well() -> None:
    two = [s for s in cohort() if s.site != "Turku"]
    folds = leave_one_out(two, "scanner", SHARES, seed=0)
    assert [f.site for f in folds] == ["s-St. Olav", "s-Århus"]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (slide("x", None), ManifestError, "without a site .*: x"),
        (slide("x", "Turku", split="train"), ManifestError, "column 'split'.*: x"),
        (slide("x", "Oslo", patient_id="p-0-1"), LeakError, "p-0-1 at Oslo and Turku;"),
        (slide("x", "_rhus"), ManifestError, "the same as a folder"),
    ],
    ids=["no-site", "split-given", "patient-at-two-sites", "same-folder"],
)
def test_what_cannot_be_dealt_is_named(
    changed: Slide, error: type[WsiSpecdecError], message: str
) -> None:
    with pytest.raises(error, match=message):
        leave_one_out([*cohort(), changed], "site", SHARES, seed=0)


def test_one_site_alone_is_refused() -> None:
    with pytest.raises(NotEnoughDataError, match="one site alone, 'Turku'"):
        leave_one_out([slide("a", "Turku"), slide("b", "Turku")], "site", SHARES, seed=0)


def test_folds_share_tiles_by_links_that_can_be_moved(tmp_path: Path) -> None:
    fold = leave_one_out(cohort(), "site", SHARES, seed=0)[1]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tile.json").write_text("{}")
    share_tiles(tmp_path / "run", fold)
    (tmp_path / "run" / "tiles" / "a").write_text("tiles")
    (tmp_path / "run" / "tile.json").write_text("[]")
    share_tiles(tmp_path / "run", fold)
    assert (tmp_path / "run" / "folds" / "Turku" / "tile.json").read_text() == "[]"
    (tmp_path / "run").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "folds" / "Turku" / "tiles" / "a").read_text() == "tiles"


def measure(value: float | None, reach: float = 0.1) -> dict[str, object]:
    ends = (None, None) if value is None else (value - reach, value + reach)
    reason = None if value is not None else "one class only"
    return {"value": value, "ci_low": ends[0], "ci_high": ends[1], "n": 8, "reason": reason}


def fold_of(site: str, auroc: dict[str, float | None], delta: float, p: float) -> tuple[Fold, dict]:  # type: ignore[type-arg]
    fold = Fold(site, site, ())
    row = {"arm": "sd", "baseline": "wd", "unit": "slide", "metric": "auroc", "test": "t", "p": p}
    row |= {"delta": delta, "ci_low": delta - 0.1, "ci_high": delta + 0.1}
    arms = {
        arm: {
            "cohorts": {
                fold.cohort: {
                    "patch": {},
                    "slide": {"auroc": measure(value), "brier": measure(0.1 + 0.1 * len(site))},
                    "patient": {},
                },
                "internal": {"slide": {"auroc": measure(0.99)}},
            }
        }
        for arm, value in auroc.items()
    }
    sizes = {"slides": 8, "patients": 8, "positives": 4, "threshold_chosen_here": False}
    rows = [row | {"cohort": "internal", "delta": 0.9}, row | {"cohort": fold.cohort}]
    return fold, {"arms": arms, "cohorts": {fold.cohort: sizes}, "differences": rows}


def test_joined_folds_give_means_the_worst_site_and_differences_outside_alone() -> None:
    folds = [
        fold_of("A", {"wd": 0.7, "sd": 0.9}, 0.2, 0.01),
        fold_of("BB", {"wd": 0.8, "sd": 0.7}, -0.1, 0.2),
        fold_of("CCC", {"wd": 0.9, "sd": None}, 0.2, 0.01),
    ]
    joined = join_folds(folds, "site", 0.95)
    wd, sd = (joined["arms"][arm]["slide"] for arm in ("wd", "sd"))
    expected = mean_of_sites([Estimate(v, v - 0.1, v + 0.1) for v in (0.7, 0.8, 0.9)])
    assert wd["auroc"]["mean"]["value"] == pytest.approx(0.8)
    assert wd["auroc"]["mean"]["ci_low"] == pytest.approx(expected.ci_low)
    assert wd["auroc"]["worst_site"] == "A"
    # Less is better: the worst is the highest.
    assert wd["brier"]["worst_site"] == "CCC"
    assert sd["auroc"]["mean"]["n_sites"] == 2
    assert sd["auroc"]["worst_site"] == "BB"
    (difference,) = joined["differences"]
    assert difference["delta"] == pytest.approx(0.1)
    assert difference["by_site"] == {"A": 0.2, "BB": -0.1, "CCC": 0.2}
    assert difference["p_adjusted"] == difference["p"] < 0.1

    page = joined_page(joined)
    assert "| wd | 0.700 (0.60–0.80) | 0.800 (0.70–0.90) | 0.900 (0.80–1.00) | 0.800 " in page
    assert f"| sd {MINUS} wd | Slide AUROC | +0.100 (+0.042 to +0.158) |" in page
    assert "[folds/BB](folds/BB/report.html)" in page
