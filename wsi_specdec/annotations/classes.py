"""What a class name or a mask's value means for a tile's label."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import AnnotationConfig
from wsi_specdec.keys import UNKNOWN_LABEL

# A meaning is a label (0 or more) or one of these.
IGNORED: Final = -1
EXCLUDED: Final = -2
MEANINGLESS: Final = -3

# Rounding in a coverage must not decide a label.
_EPSILON = 1e-6
_POSITIVE = 1


def labels_by_name(config: AnnotationConfig) -> dict[str, int]:
    """Labels of the classes that the settings name, the name folded; empty where none is named."""
    named = dict(config.classes) or dict.fromkeys(config.positive, _POSITIVE)
    return {_folded(name): label for name, label in named.items()}


def meaning_of_name(name: str | None, config: AnnotationConfig) -> int:
    """Return a class name's label, or `IGNORED`, `EXCLUDED` or `MEANINGLESS`.

    Names are compared without regard to case. A name that is listed twice is what comes first
    here: `positive` or `classes`, then `ignore`, then `exclude`. Where no class is named as
    positive, every other one is, and regions without a class, except those whose name ends in `*`:
    by QuPath's convention they are not to be measured.
    """
    labels = labels_by_name(config)
    folded = _folded(name or "")
    if folded in labels:
        return labels[folded]
    if folded in map(_folded, config.ignore):
        return IGNORED
    if folded in map(_folded, config.exclude):
        return EXCLUDED
    return MEANINGLESS if labels or folded.endswith("*") else _POSITIVE


@dataclass(frozen=True, slots=True)
class ValueTable:
    """Which values of a mask have which meaning.

    Attributes
    ----------
    listed
        Values by meaning (a label or `IGNORED`).
    rest
        Values that are not positive although no class is named; None where classes are named.
    """

    listed: Mapping[int, tuple[int, ...]]
    rest: tuple[int, ...] | None

    @property
    def meanings(self) -> tuple[int, ...]:
        """All meanings that a pixel can have."""
        return (*self.listed, *(() if self.rest is None else (_POSITIVE,)))

    @property
    def zero_counts(self) -> bool:
        """Whether a pixel of value 0 means anything."""
        return any(0 in values for values in self.listed.values())

    def marked(self, values: NDArray[np.generic], meaning: int) -> NDArray[np.bool_]:
        """Where the pixels have one meaning: (h, w)."""
        if self.rest is not None and meaning == _POSITIVE:
            return np.asarray((values != 0) & ~_any_of(values, self.rest), np.bool_)
        return _any_of(values, self.listed[meaning])


def value_table(config: AnnotationConfig) -> ValueTable:
    """Return what a mask's values mean; names that are no whole number stand for none."""
    labels = labels_by_name(config)
    listed: dict[int, tuple[int, ...]] = {}
    for name, label in labels.items():
        listed[label] = (*listed.get(label, ()), *_numbers([name]))
    ignored = _numbers(name for name in config.ignore if _folded(name) not in labels)
    if ignored:
        listed[IGNORED] = ignored
    if labels:
        return ValueTable({m: v for m, v in listed.items() if v}, None)
    return ValueTable(listed, (*ignored, *_numbers(config.exclude)))


def decide(
    shares: Mapping[int, NDArray[np.float64]], n_tiles: int, config: AnnotationConfig
) -> NDArray[np.int16]:
    """Turn coverages into labels.

    Parameters
    ----------
    shares
        (N,) coverage of each tile, by label and for `IGNORED`.
    n_tiles
        N.
    config
        A tile takes the label with the largest coverage (of equal ones the lowest) if that
        reaches `min_coverage`, else 0; it takes −1 where more than `max_ignored` is to be ignored.

    Returns
    -------
    NDArray[np.int16]
        (N,).
    """
    result = np.zeros(n_tiles, np.int16)
    labels = sorted(meaning for meaning in shares if meaning >= 0)
    if labels:
        covered = np.stack([shares[label] for label in labels])
        best = covered.argmax(axis=0)
        enough = covered.max(axis=0, initial=0) >= config.min_coverage - _EPSILON
        result[enough] = np.array(labels, np.int16)[best[enough]]
    if IGNORED in shares:
        result[shares[IGNORED] > config.max_ignored + _EPSILON] = UNKNOWN_LABEL
    return result


def _any_of(values: NDArray[np.generic], wanted: Iterable[int]) -> NDArray[np.bool_]:
    # For a handful of values several times as fast as numpy's isin.
    found = np.zeros(values.shape, np.bool_)
    for value in wanted:
        found |= values == value
    return found


def _folded(name: str) -> str:
    return name.strip().casefold()


def _numbers(names: Iterable[str]) -> tuple[int, ...]:
    return tuple(int(name) for name in names if name.strip().isdecimal())
