"""Folds for cross-validation: patients whole, labels balanced, test slides untouched."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_specdec.cohort import Slide, assign_folds, fold_slides
from wsi_specdec.errors import ConfigError, LeakError, NotEnoughDataError

labels = st.sampled_from([None, 0, 1, 2])
# Of each patient, the labels of the slides.
patients_of = st.lists(st.lists(labels, min_size=1, max_size=3), min_size=2, max_size=40)


def slides_of(patients: list[list[int | None]]) -> list[Slide]:
    return [
        Slide(f"s{p}-{n}", Path(f"s{p}-{n}.svs"), f"p{p}", label, ("train", "validation")[p % 2])
        for p, own in enumerate(patients)
        for n, label in enumerate(own)
    ]


def highest(own: list[int | None]) -> int:
    return max(-1 if label is None else label for label in own)


@given(patients_of, st.integers(2, 6), st.integers(0, 99))
def test_folds_have_as_many_patients_of_each_label(
    patients: list[list[int | None]], folds: int, seed: int
) -> None:
    slides = slides_of(patients)
    if len(patients) < folds:
        with pytest.raises(NotEnoughDataError, match=f"cannot fill {folds} folds"):
            assign_folds(slides, folds, seed)
        return
    of_patient = assign_folds(slides, folds, seed)
    assert set(of_patient) == {slide.patient_id for slide in slides}
    every = [Counter(of_patient.values())]
    for label in (-1, 0, 1, 2):
        own = [f"p{p}" for p, found in enumerate(patients) if highest(found) == label]
        every.append(Counter(of_patient[p] for p in own))
    for counts in every:
        sizes = [counts[fold] for fold in range(1, folds + 1)]
        assert max(sizes) - min(sizes) <= 1


@given(patients_of.filter(lambda p: len(p) >= 3), st.integers(0, 9))
def test_every_patient_validates_once_and_never_trains_then(
    patients: list[list[int | None]], seed: int
) -> None:
    slides = slides_of(patients)
    validated: list[str] = []
    for fold in (1, 2, 3):
        changed = fold_slides(slides, fold, 3, seed)
        assert [replace(s, split=None) for s in changed] == [replace(s, split=None) for s in slides]
        of_split = {name: {s.patient_id for s in changed if s.split == name} for name in SPLITS}
        assert not of_split["train"] & of_split["validation"]
        assert of_split["train"] | of_split["validation"] == {s.patient_id for s in slides}
        validated += of_split["validation"]
    assert sorted(validated) == sorted({slide.patient_id for slide in slides})


SPLITS = ("train", "validation")


def test_other_splits_stay_as_they_are() -> None:
    slides = slides_of([[0], [1], [0], [1]])
    tested = [
        Slide("t", Path("t.svs"), "pt", 1, "internal"),
        Slide("e", Path("e.svs"), "pe", 0, "external-north"),
        # A slide that nobody assigned, of a patient who takes part.
        Slide("u", Path("u.svs"), "p0", 0, None),
    ]
    assert fold_slides([*slides, *tested], 2, 2)[len(slides) :] == tested
    assert "pt" not in assign_folds([*slides, *tested], 2)


def test_folds_depend_on_the_seed_not_on_the_order_of_rows() -> None:
    slides = slides_of([[n % 2] for n in range(20)])
    assert assign_folds(slides[::-1], 4, 1) == assign_folds(slides, 4, 1)
    assert assign_folds(slides, 4, 2) != assign_folds(slides, 4, 1)


def test_a_patient_in_two_splits_is_a_leak() -> None:
    slides = slides_of([[0], [1], [0], [1]])
    leaking = [*slides, Slide("t", Path("t.svs"), "p0", 0, "internal")]
    with pytest.raises(LeakError, match="p0 in internal and train"):
        fold_slides(leaking, 1, 2)


@pytest.mark.parametrize(("fold", "folds"), [(0, 5), (6, 5), (1, 1)])
def test_folds_are_counted_from_one(fold: int, folds: int) -> None:
    with pytest.raises(ConfigError, match="folds"):
        fold_slides(slides_of([[0]] * 9), fold, folds)


def test_a_manifest_without_splits_is_told_what_lacks() -> None:
    slides = [replace(slide, split=None) for slide in slides_of([[0]] * 9)]
    with pytest.raises(NotEnoughDataError, match=r"0 patients .* column 'split'"):
        fold_slides(slides, 1, 5)
