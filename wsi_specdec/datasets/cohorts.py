"""From a data set's folder to slides with splits: which sites are internal, which external."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from wsi_specdec.cohort import Slide, assign_splits, check_unique
from wsi_specdec.config import DatasetConfig, DatasetName
from wsi_specdec.datasets.camelyon16 import camelyon16_slides
from wsi_specdec.datasets.camelyon17 import camelyon17_slides
from wsi_specdec.datasets.panda import panda_slides
from wsi_specdec.datasets.peso import peso_slides
from wsi_specdec.errors import ConfigError, NotEnoughDataError
from wsi_specdec.keys import EXTERNAL, INTERNAL, TRAIN, VALIDATION

_LISTED: Mapping[DatasetName, Callable[..., list[Slide]]] = {
    "panda": panda_slides,
    "camelyon16": camelyon16_slides,
    "camelyon17": camelyon17_slides,
    "peso": peso_slides,
}


def dataset_slides(
    config: DatasetConfig, folder: Path, shares: Mapping[str, float], seed: int = 0
) -> list[Slide]:
    """List a data set's slides, each with a split.

    Slides of `config.internal` are split by patient, at random by `seed`, stratified by label, into
    `shares`. All of another site are `external`, or `external-<site>` where there are several.

    Parameters
    ----------
    config
        The data set and its internal sites.
    folder
        Where it was unpacked.
    shares
        Share of the patients in each split, as `assign_splits` takes it.
    seed
        Of the splits, and of the draw where `config.max_patients` is set.

    Raises
    ------
    ManifestError
        If the folder does not hold the data set, or lacks files; all are named.
    ConfigError
        If the data set has no such site, or the shares do not sum to 1.
    NotEnoughDataError
        If no slide is left, or there are fewer patients than splits.
    """
    slides = _LISTED[config.name](folder, partial=config.partial)
    check_unique(slides)
    if not slides:
        msg = f"{folder} holds none of the slides of {config.name}; see docs/datasets.md"
        raise NotEnoughDataError(msg)
    sites = sorted({slide.site or "" for slide in slides})
    if unknown := sorted(set(config.internal) - set(sites)):
        msg = f"dataset.internal names {', '.join(unknown)}; {config.name} has {', '.join(sites)}"
        raise ConfigError(msg)
    if config.max_patients is not None:
        slides = _drawn(slides, config.max_patients, seed)
    return _with_splits(slides, config, shares, seed)


def _with_splits(
    slides: Sequence[Slide], config: DatasetConfig, shares: Mapping[str, float], seed: int
) -> list[Slide]:
    inner = [s for s in slides if s.site in config.internal]
    outer = [s for s in slides if s.site not in config.internal]
    sites = {slide.site for slide in outer if slide.split is None}
    named = [
        slide
        if slide.split is not None
        else replace(slide, split=EXTERNAL if len(sites) == 1 else f"{EXTERNAL}-{slide.site}")
        for slide in outer
    ]
    if any(slide.split == INTERNAL for slide in inner):
        # The data set brings its own test: the others share what is left.
        left = {name: share for name, share in shares.items() if name in {TRAIN, VALIDATION}}
        shares = {name: share / sum(left.values()) for name, share in left.items()}
    return [*assign_splits(inner, shares, seed), *named]


def _drawn(slides: Sequence[Slide], number: int, seed: int) -> list[Slide]:
    """Draw so many patients of each site, by turns one that is positive and one that is not."""
    rng = np.random.default_rng(seed)
    positive = {slide.patient_id for slide in slides if slide.label == 1}
    chosen: set[str] = set()
    for site in sorted({slide.site or "" for slide in slides}):
        patients = sorted({s.patient_id for s in slides if (s.site or "") == site})
        order = [patients[i] for i in rng.permutation(len(patients))]
        with_cancer = [p for p in order if p in positive]
        without = [p for p in order if p not in positive]
        turns = [p for pair in zip_longest(with_cancer, without) for p in pair if p is not None]
        chosen.update(turns[:number])
    return [slide for slide in slides if slide.patient_id in chosen]
