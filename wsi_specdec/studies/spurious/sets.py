"""Sets of images whose class goes with a mark, from always to never."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import MarkStrengths, SpuriousConfig
from wsi_specdec.errors import ConfigError, NotEnoughDataError
from wsi_specdec.keys import EXTERNAL, INTERNAL, TRAIN, VALIDATION
from wsi_specdec.studies.sets.files import Truth
from wsi_specdec.studies.sets.prepare import derive_set, read_truth
from wsi_specdec.studies.spurious.marks import (
    cornered,
    marked,
    recompressed,
    sharpened,
    stain_shifted,
)
from wsi_specdec.studies.stain_patches.sets import training_stains

INDEPENDENT: Final = "external-independent"
REVERSED: Final = "external-reversed"
_DIGITS: Final = 6

Tiles = NDArray[np.uint8]
Marking = Callable[[Tiles], Tiles]


@dataclass(frozen=True, slots=True)
class Condition:
    """One mark that goes with the positive class at one probability.

    Attributes
    ----------
    mark, probability
        As the settings name them.
    training
        The set of the splits `train` and `validation`.
    tests
        Cohort to set: `internal`, marked as in training, `external-independent` and
        `external-reversed` of the same images; and, unmarked, whatever the source calls external.
    """

    mark: str
    probability: float
    training: Path
    tests: Mapping[str, Path]

    @property
    def name(self) -> str:
        """Name of the condition, and of its folders."""
        return f"{self.mark}/p-{self.probability:g}"


def mark_sets(config: SpuriousConfig, base: Path, out: Path) -> list[Condition]:
    """Write the sets of every mark and probability; keep those that are there.

    A set is known by its mark and by the share of its positive images that carry it, so that
    conditions share those that are alike: at 0.5 the three tests are one, and the independent
    test is one for all probabilities.

    Parameters
    ----------
    base
        The set that all are made of.
    out
        The study's folder.

    Raises
    ------
    ConfigError
        If the images are not of two classes.
    NotEnoughDataError
        If there are no internal images, or the stains of the training images cannot be fitted.
    """
    truth = read_truth(base)
    _check(truth, base)
    bare = partial(_marked, marking=np.copy, carried=np.zeros(len(truth), np.bool_))
    outside = {
        name: derive_set(base, out / "data" / name, bare, splits=(name,), params={})
        for name in dict.fromkeys(truth.split)
        if name.startswith(EXTERNAL)
    }
    return [
        replace(condition, tests=dict(condition.tests) | outside)
        for mark in config.marks
        for condition in _conditions(_Making(mark, config, base, truth, out / "data" / mark))
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Making:
    """What the sets of one mark are made from."""

    mark: str
    config: SpuriousConfig
    base: Path
    truth: Truth
    folder: Path


def _conditions(making: _Making) -> list[Condition]:
    mark, seed = making.mark, making.config.data.seed
    marking, params = _marking(mark, making.config.strengths, making.base)

    def derived(kind: str, splits: Sequence[str], share: float) -> Path:
        carried = carriers(making.truth, share, seed)
        return derive_set(
            making.base,
            making.folder / f"{kind}-{share:g}",
            partial(_marked, marking=marking, carried=carried),
            splits=splits,
            params={**params, "share": share, "seed": seed},
        )

    conditions = []
    for probability in making.config.probabilities:
        shares = {
            INTERNAL: probability,
            INDEPENDENT: 0.5,
            REVERSED: round(1 - probability, _DIGITS),
        }
        training = derived("learned", (TRAIN, VALIDATION), probability)
        tests = {name: derived("internal", (INTERNAL,), share) for name, share in shares.items()}
        conditions.append(Condition(mark, probability, training, tests))
    return conditions


def carriers(truth: Truth, share: float, seed: int) -> NDArray[np.bool_]:
    """Draw which images carry a mark, in each split by itself: bool, (n,).

    Parameters
    ----------
    truth
        Of n images.
    share
        Of the positive images that carry it; of the others the rest to 1 does.
    seed
        Of the draw.
    """
    out = np.zeros(len(truth), np.bool_)
    splits = np.array(truth.split)
    for name in dict.fromkeys(truth.split):
        own = np.flatnonzero(splits == name)
        out[own] = marked(truth.label[own], share, "trained", seed)
    return out


def marking_of(mark: str, strengths: MarkStrengths, base: Path) -> Marking:
    """Return what puts a mark on tiles, each by itself.

    Parameters
    ----------
    base
        The set whose training images say what stains there are.

    Raises
    ------
    NotEnoughDataError
        If the mark is of stains, and these cannot be fitted.
    """
    return _marking(mark, strengths, base)[0]


def _marking(mark: str, strengths: MarkStrengths, base: Path) -> tuple[Marking, dict[str, Any]]:
    """Return what puts a mark on tiles, and all that it does, as JSON."""
    params: dict[str, Any] = {"mark": mark, "strength": getattr(strengths, mark)}
    if mark == "sharpening":
        sigma = strengths.sharpening_sigma
        change: Marking = partial(sharpened, amount=strengths.sharpening, sigma=sigma)
        return change, params | {"sigma": sigma}
    if mark == "jpeg":
        return partial(recompressed, quality=strengths.jpeg), params
    if mark == "corner":
        return partial(cornered, side=strengths.corner), params
    return _restaining(strengths, base), params


def _restaining(strengths: MarkStrengths, base: Path) -> Marking:
    """Return what changes the amounts of the stains that the training images have together."""
    own = training_stains(base, "take `stain` out of the study's marks")
    haematoxylin, eosin = (
        factor * most for factor, most in zip(strengths.stain, own.max_concentrations, strict=True)
    )
    target = replace(own, max_concentrations=(haematoxylin, eosin))
    return partial(stain_shifted, source=own, target=target, amount=1.0)


def _marked(
    tiles: Tiles, rows: NDArray[np.int64], marking: Marking, carried: NDArray[np.bool_]
) -> Tiles:
    """Mark those of the tiles, rows of the base set, that are to carry the mark."""
    out = tiles.copy()
    chosen = carried[rows]
    if chosen.any():
        out[chosen] = marking(tiles[chosen])
    return out


def _check(truth: Truth, base: Path) -> None:
    if set(truth.label.tolist()) != {0, 1}:
        msg = (
            f"a mark goes with the positive one of two classes, and the images in {base} are of "
            f"{len(set(truth.label.tolist()))}: name two folders in data.classes"
        )
        raise ConfigError(msg)
    if INTERNAL not in truth.split:
        msg = (
            f"no image in {base} has the split {INTERNAL!r}, of which the tests are made: give "
            "some that split, or leave splits to the study (data.splits)"
        )
        raise NotEnoughDataError(msg)
