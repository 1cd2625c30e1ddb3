"""The runs to evaluate: arms, their seeds, and the calls of each, on identical slides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_specdec.cohort import Slide, evaluated_cohorts
from wsi_specdec.errors import ConfigError, ManifestError, NotEnoughDataError
from wsi_specdec.keys import VALIDATION
from wsi_specdec.store.calls import Call, read_calls


@dataclass(frozen=True, slots=True)
class SeedRun:
    """One trained model of one arm, and what it said.

    Attributes
    ----------
    seed
        The seed it was trained with.
    calls
        Its `calls.csv`.
    scores
        Its folder of tile scores.
    fitted_on
        The split on which its threshold was chosen; None where it was fixed.
    """

    seed: int
    calls: Path
    scores: Path
    fitted_on: str | None = VALIDATION


Runs = Mapping[str, Sequence[SeedRun]]
CallsOfRun = Mapping[str, Call]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Arms that were all run on the same slides with the same seeds.

    Attributes
    ----------
    runs
        Of each arm, by ascending seed.
    calls
        Of each arm and run, by slide.
    called
        Ids of the slides that have a call, the same in every run.
    """

    runs: Mapping[str, tuple[SeedRun, ...]]
    calls: Mapping[str, tuple[CallsOfRun, ...]]
    called: frozenset[str]


def read_runs(runs: Runs, slides: Sequence[Slide]) -> Evaluated:
    """Read every run's calls and check that the runs can be compared.

    Raises
    ------
    ConfigError
        If there are no arms, or arms differ in their seeds.
    ManifestError
        If a run lacks a slide, or has no call for one that another run has called.
    """
    ordered = {arm: tuple(sorted(each, key=lambda run: run.seed)) for arm, each in runs.items()}
    check_seeds({arm: [run.seed for run in each] for arm, each in ordered.items()})
    calls = {
        arm: tuple({call.slide_id: call for call in read_calls(run.calls)} for run in each)
        for arm, each in ordered.items()
    }
    ids = [slide.slide_id for slide in slides]
    called: frozenset[str] | None = None
    first = ""
    for arm, each in ordered.items():
        for run, found in zip(each, calls[arm], strict=True):
            _check_complete(ids, found, run.calls)
            here = frozenset(name for name in ids if found[name].call is not None)
            if called is None:
                called, first = here, str(run.calls)
            elif here != called:
                _refuse_difference(called ^ here, first, str(run.calls))
    return Evaluated(ordered, calls, called or frozenset())


def cohorts_to_evaluate(slides: Sequence[Slide]) -> list[str]:
    """Name the cohorts of the manifest, validation first; training slides are never evaluated.

    Raises
    ------
    NotEnoughDataError
        If there are none.
    """
    names = [VALIDATION] if any(slide.split == VALIDATION for slide in slides) else []
    names += evaluated_cohorts(slides)
    if not names:
        msg = (
            "the manifest has no slides to evaluate on: set its column 'split' to validation, "
            "internal, external or external-<name>"
        )
        raise NotEnoughDataError(msg)
    return names


def check_seeds(seeds: Mapping[str, list[int]]) -> None:
    """Refuse arms that were not all run with the same seeds.

    Parameters
    ----------
    seeds
        Of each arm, ascending.

    Raises
    ------
    ConfigError
        If there are no arms, an arm has no runs, arms differ or a seed stands twice.
    """
    if not seeds or any(not each for each in seeds.values()):
        msg = f"there is nothing to evaluate: runs of each arm are {seeds}"
        raise ConfigError(msg)
    first = next(iter(seeds.values()))
    if len(set(first)) != len(first) or any(each != first for each in seeds.values()):
        msg = f"every arm must be run once with each of the same seeds, got {seeds}"
        raise ConfigError(msg)


def _check_complete(ids: Sequence[str], found: CallsOfRun, path: Path) -> None:
    missing = [name for name in ids if name not in found]
    if missing:
        shown = ", ".join(missing[:10])
        msg = f"{path} lacks {len(missing)} slides of the manifest ({shown}); make the calls again"
        raise ManifestError(msg)


def _refuse_difference(slide_ids: frozenset[str], first: str, second: str) -> None:
    shown = ", ".join(sorted(slide_ids)[:10])
    msg = (
        f"arms and seeds are compared on identical slides, but only one of {first} and {second} "
        f"has a call for {shown}; score these slides again, or take them out of the manifest"
    )
    raise ManifestError(msg)
