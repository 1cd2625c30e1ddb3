from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from wsi_specdec.config import CohortConfig
from wsi_specdec.demo import Patches
from wsi_specdec.demo.cases import Case, assign_cases
from wsi_specdec.errors import NotEnoughDataError


def members(case: Case) -> list[int]:
    return [*case.tumour, *case.normal]


@pytest.mark.parametrize("seed", [0, 1])
def test_no_patch_twice_and_no_patient_in_two_cases(patches: Patches, seed: int) -> None:
    cases = assign_cases(patches, CohortConfig(seed=seed))
    used = [i for case in cases for i in members(case)]
    assert len(set(used)) == len(used)
    patients = [{str(patches.patient[i]) for i in members(case)} for case in cases]
    assert len(set.union(*patients)) == sum(map(len, patients))


def test_full_cohort_has_the_asked_sizes_and_half_with_cancer(patches: Patches) -> None:
    cases = assign_cases(patches, CohortConfig())
    sizes = Counter(case.split for case in cases)
    assert sizes == {"train": 24, "validation": 12, "internal": 20, "external": 20}
    positives = Counter(case.split for case in cases if case.label)
    assert positives == {"train": 12, "validation": 6, "internal": 10, "external": 10}
    assert [case.number for case in cases] == list(range(1, 77))


def test_labels_of_patches_follow_the_case(patches: Patches) -> None:
    for case in assign_cases(patches, CohortConfig()):
        assert (patches.label[list(case.tumour)] == 1).all()
        assert (patches.label[list(case.normal)] == 0).all()


def test_every_split_has_cases_of_one_distribution(patches: Patches) -> None:
    cases = assign_cases(patches, CohortConfig())
    tumours = {
        split: [len(case.tumour) for case in cases if case.split == split and case.label]
        for split in ("train", "validation", "internal", "external")
    }
    assert min(map(min, tumours.values())) >= 35
    means = [np.mean(values) for values in tumours.values()]
    assert max(means) / min(means) < 1.15
    assert all(70 <= len(members(case)) <= 130 for case in cases)


def test_a_small_cohort_is_made_of_cases_like_the_full_ones(
    patches: Patches, small_config: CohortConfig
) -> None:
    cases = assign_cases(patches, small_config)
    assert len(cases) == 12
    assert all(len(case.tumour) >= 35 for case in cases if case.label)
    assert all(70 <= len(members(case)) <= 130 for case in cases)


def test_the_seed_decides_the_groups(patches: Patches) -> None:
    first = assign_cases(patches, CohortConfig(seed=3))
    assert assign_cases(patches, CohortConfig(seed=3)) == first
    assert assign_cases(patches, CohortConfig(seed=4)) != first


def test_too_many_slides_are_refused(patches: Patches) -> None:
    with pytest.raises(NotEnoughDataError, match="ask for fewer slides"):
        assign_cases(patches, CohortConfig(train=300))


@pytest.mark.parametrize("number", [1, 5])
def test_centres_show_external_cases_of_both_labels(number: int) -> None:
    with pytest.raises(ValidationError, match="give 0, or 2 to 4"):
        CohortConfig(external=4, external_centres=number)
