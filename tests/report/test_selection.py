"""The slides shown are a fair mixture, the same each time."""

from wsi_specdec.report.selection import select_slides


def test_cohorts_classes_and_verdicts_take_turns() -> None:
    ids = [f"{c}{n}" for c in ("external", "internal") for n in range(8)]
    labels = {s: int(s[-1]) % 2 for s in ids}
    cohorts = {s: s[:-1] for s in ids}
    wrong = {s: int(s[-1] in "0123") for s in ids}
    chosen = select_slides(labels, cohorts, wrong, 8)
    assert chosen[:4] == ["external1", "external0", "external5", "external4"]
    assert chosen[4:] == ["internal1", "internal0", "internal5", "internal4"]
    assert select_slides(dict(reversed(labels.items())), cohorts, wrong, 8) == chosen


def test_slides_that_most_arms_got_wrong_come_first() -> None:
    labels = {"a": 1, "b": 1, "c": 1}
    cohorts = dict.fromkeys(labels, "external-two")
    assert select_slides(labels, cohorts, {"a": 1, "b": 3, "c": 0}, 2) == ["b", "c"]
    assert select_slides(labels, cohorts, {"a": 1, "b": 3, "c": 0}, 9) == ["b", "c", "a"]


def test_external_cohorts_come_before_internal_when_few_are_shown() -> None:
    cohorts = {"a": "internal", "b": "external", "c": "external-x"}
    nothing = dict.fromkeys(cohorts, 0)
    assert select_slides(nothing, cohorts, nothing, 2) == ["b", "c"]
    assert select_slides(nothing, cohorts, nothing, 0) == []
