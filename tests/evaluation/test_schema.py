"""The JSON schema that ships with the package."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from compared import BuildWorld, Results
from jsonschema import Draft202012Validator, ValidationError

from wsi_specdec.cohort import Slide
from wsi_specdec.evaluation import results_schema


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = results_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def as_read_from_disk(results: Results) -> Results:
    return dict(json.loads(json.dumps(results, allow_nan=False)))


def test_real_results_are_valid(results: Results, validator: Draft202012Validator) -> None:
    validator.validate(as_read_from_disk(results))


def test_results_with_little_to_say_are_valid(
    build_world: BuildWorld, validator: Draft202012Validator
) -> None:
    slides = [
        Slide(f"{split}{row}", Path("x.tif"), f"{split}{row}", label, split, site=site)
        for split, label in (("internal", 1), ("external-far", None), ("validation", 0))
        for row, site in enumerate("ab")
    ]
    for empty in ([], ["internal0"], [slide.slide_id for slide in slides]):
        world = build_world(slides, {"wd": 0.5, "sd": 1.0}, empty=empty)
        validator.validate(as_read_from_disk(world.results()))


def test_results_of_before_gaps_and_methods_are_valid_still(
    results: Results, validator: Draft202012Validator
) -> None:
    old = as_read_from_disk(results)
    del old["gaps"]
    for each in old["differences"]:
        each.pop("bootstrap", None)
    for arm in old["arms"].values():
        del arm["robustness"]
        for cohort in arm["cohorts"].values():
            for unit in ("patch", "slide", "patient"):
                for each in cohort[unit].values():
                    del each["interval"]
    validator.validate(old)


def at(results: Results) -> Results:
    return dict.__getitem__(results["arms"]["sd"]["cohorts"]["internal"], "slide")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.update(extra=1),
        lambda r: r.pop("differences"),
        lambda r: r.update(schema_version=2),
        lambda r: r["cohorts"].update(training=r["cohorts"]["internal"]),
        lambda r: r["cohorts"]["internal"].update(slides=-1),
        lambda r: r["arms"]["sd"].pop("cost"),
        lambda r: r["arms"]["sd"]["cohorts"]["internal"].pop("worst_group"),
        lambda r: at(r)["auroc"].update(value=1.2),
        lambda r: at(r)["auroc"].update(value=None, reason=None),
        lambda r: at(r)["auroc"].update(ci_low=None, ci_high=None, reason=None),
        lambda r: at(r)["auroc"].update(ci_low=None, reason="half an interval"),
        lambda r: at(r)["auroc"].update(surprise=1),
        lambda r: at(r).update(auprc=at(r)["auroc"]),
        lambda r: r["arms"]["sd"]["cohorts"]["external"]["worst_group"]["auroc"].pop("group"),
        lambda r: r["arms"]["sd"]["cohorts"]["external"]["worst_group"]["auroc"].update(x=1),
        lambda r: r["differences"][0].update(p=1.5),
        lambda r: r["differences"][0].update(p=None, reason=None),
        lambda r: r["differences"][0].update(unit="tile"),
        lambda r: r["differences"][0].update(bootstrap={"p": 0.1}),
        lambda r: r["gaps"][0].update(gap=-2.5),
        lambda r: r["gaps"][0].update(ci_low=None, reason="half an interval"),
        lambda r: r["gaps"][0].update(gap=None, ci_low=None, ci_high=None, reason=None),
        lambda r: r["gaps"][0].pop("cohort"),
        lambda r: at(r)["auroc"].update(interval=""),
        lambda r: r["arms"]["sd"]["cost"].update(seconds_per_slide=-1),
        lambda r: r["arms"]["sd"]["robustness"].pop("site"),
        lambda r: r["arms"]["sd"]["robustness"]["site"].update(reason=None),
        lambda r: r["arms"]["sd"]["robustness"]["site"].update(value=-0.1),
    ],
)
def test_what_is_wrong_is_refused(
    results: Results, validator: Draft202012Validator, spoil: Callable[[Results], object]
) -> None:
    written = as_read_from_disk(results)
    spoil(written)
    with pytest.raises(ValidationError):
        validator.validate(written)
