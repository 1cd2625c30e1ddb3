"""Which images of a source a study takes, and the split of each."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from wsi_specdec.cohort import Slide
from wsi_specdec.config import StudyData
from wsi_specdec.errors import ConfigError, LeakError, NotEnoughDataError
from wsi_specdec.studies.sets.choosing import choose_images


def slides_of(splits: Sequence[str | None], each: int = 1) -> list[Slide]:
    """Make slides of these splits, `each` of one patient after another."""
    return [
        Slide(f"s{number}", Path(f"{number}.png"), f"p{number // each}", split=split)
        for number, split in enumerate(splits)
    ]


def alternating(count: int, each: int = 1) -> list[int | None]:
    return [number // each % 2 for number in range(count)]


def test_splits_are_drawn_by_patient_where_there_are_none() -> None:
    slides = slides_of([None] * 160, each=4)
    taken = choose_images(slides, alternating(160, each=4), StudyData())
    assert list(taken) == list(range(160))
    assert Counter(taken.values()) == {"train": 96, "validation": 24, "internal": 40}
    of_patient = {(slides[row].patient_id, name) for row, name in taken.items()}
    assert len(of_patient) == 40
    assert taken != choose_images(slides, alternating(160, each=4), StudyData(seed=1))


def test_train_is_divided_by_patient_where_the_source_has_no_validation() -> None:
    slides = slides_of(["train"] * 80 + ["internal"] * 10, each=2)
    data = StudyData(split_names={"test": "external"})
    taken = choose_images(slides, alternating(90, each=2), data)
    assert Counter(taken.values()) == {
        "train": 48,
        "validation": 12,
        "internal": 20,
        "external": 10,
    }
    assert {name for row, name in taken.items() if row >= 80} == {"external"}
    of_patient = {(slides[row].patient_id, name) for row, name in taken.items()}
    assert len(of_patient) == 45


def test_a_test_split_of_the_source_is_not_drawn_again() -> None:
    slides = slides_of(["train"] * 50 + ["internal"] * 10)
    taken = choose_images(slides, alternating(60), StudyData())
    # 0.6 and 0.15 of 50, scaled to their sum.
    assert Counter(taken.values()) == {"train": 40, "validation": 10, "internal": 10}
    assert {name for row, name in taken.items() if row >= 50} == {"internal"}


def test_splits_that_are_whole_stay_and_images_without_one_are_left_out() -> None:
    splits = ["train", "train", None, "validation", "external-b", None]
    taken = choose_images(slides_of(splits), alternating(6), StudyData())
    assert taken == {0: "train", 1: "train", 3: "validation", 4: "external-b"}


def test_images_without_a_label_are_left_out() -> None:
    splits = ["train", "train", "validation", "validation"]
    taken = choose_images(slides_of(splits), [0, None, 1, None], StudyData())
    assert list(taken) == [0, 2]


def test_a_limit_keeps_each_class_at_its_share() -> None:
    slides = slides_of(["train"] * 100 + ["validation"] * 20 + ["internal"] * 20)
    labels = [*[0] * 75, *[1] * 25, *[0, 1] * 20]
    data = StudyData(max_images={"train": 20, "test": 7, "validation": 99})
    taken = choose_images(slides, labels, data)
    counts = Counter((name, labels[row]) for row, name in taken.items())
    assert (counts["train", 0], counts["train", 1]) == (15, 5)
    assert sorted([counts["internal", 0], counts["internal", 1]]) == [3, 4]
    assert counts["validation", 0] + counts["validation", 1] == 20
    assert list(taken) == sorted(taken)
    assert taken == choose_images(slides, labels, data)
    # What is drawn of a split does not hang on the limits of the others.
    alone = choose_images(slides, labels, StudyData(max_images={"train": 20}))
    assert {r for r in alone if r < 100} == {r for r in taken if r < 100}
    other = choose_images(slides, labels, StudyData(max_images={"train": 20}, seed=1))
    assert {r for r in other if r < 100} != {r for r in taken if r < 100}


def test_a_limit_holds_with_many_classes() -> None:
    slides = slides_of(["train"] * 30 + ["validation"])
    labels = [n % 3 for n in range(31)]
    taken = choose_images(slides, labels, StudyData(max_images={"train": 10}))
    counts = Counter(row % 3 for row, name in taken.items() if name == "train")
    assert sorted(counts.values()) == [3, 3, 4]


def test_a_patient_in_two_splits_is_a_leak() -> None:
    slides = slides_of(["train", "validation", "train", "validation"], each=2)
    with pytest.raises(LeakError, match="p0"):
        choose_images(slides, alternating(4), StudyData())


@pytest.mark.parametrize("setting", ["max_images", "split_names"])
def test_a_split_that_is_not_there_is_named(setting: str) -> None:
    wrong = {"external": 3} if setting == "max_images" else {"external": "internal"}
    data = StudyData.model_validate({setting: wrong})
    with pytest.raises(ConfigError, match=f"{setting} names the split 'external'"):
        choose_images(slides_of(["train", "validation"]), [0, 1], data)


def test_a_study_needs_images_to_train_and_to_validate_on() -> None:
    with pytest.raises(NotEnoughDataError, match=r"none of train and validation.*external"):
        choose_images(slides_of(["external"] * 3), [0, 1, 1], StudyData())
    with pytest.raises(NotEnoughDataError, match="0 have a label"):
        choose_images(slides_of([None] * 3), [None] * 3, StudyData())
