"""Which slides the report shows: pure, and the same for the same run."""

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest

from wsi_specdec.keys import EXTERNAL


def select_slides(
    labels: Mapping[str, int | None],
    cohorts: Mapping[str, str],
    arms_wrong: Mapping[str, int],
    number: int,
) -> list[str]:
    """Choose slides that show right and wrong calls, of both classes, external cohorts first.

    Within a cohort, missed positives, false alarms, found positives and true negatives take
    turns; those that most arms got wrong come first, then the order of their ids decides.

    Parameters
    ----------
    labels, cohorts, arms_wrong
        By slide: the true label, the cohort, and how many arms called it wrong.
    number
        How many to choose at most.
    """
    by_cohort: dict[str, list[str]] = {}
    for slide_id in sorted(cohorts):
        by_cohort.setdefault(cohorts[slide_id], []).append(slide_id)
    names = sorted(by_cohort, key=lambda name: (not name.startswith(EXTERNAL), name))
    queues = [_take_turns(_kinds(by_cohort[name], labels, arms_wrong)) for name in names]
    chosen = set(_take_turns(queues)[:number])
    return [slide_id for queue in queues for slide_id in queue if slide_id in chosen]


def _kinds(
    slide_ids: Sequence[str], labels: Mapping[str, int | None], arms_wrong: Mapping[str, int]
) -> list[list[str]]:
    kinds: dict[tuple[bool, bool], list[str]] = {
        (wrong, positive): [] for wrong in (True, False) for positive in (True, False)
    }
    for slide_id in sorted(slide_ids, key=lambda s: (-arms_wrong[s], s)):
        kinds[arms_wrong[slide_id] > 0, labels[slide_id] == 1].append(slide_id)
    return list(kinds.values())


def _take_turns(queues: Sequence[Sequence[str]]) -> list[str]:
    turns = chain.from_iterable(zip_longest(*queues))
    return [slide_id for slide_id in turns if slide_id is not None]
