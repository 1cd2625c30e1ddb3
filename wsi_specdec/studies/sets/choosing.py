"""Which images of a source a study takes, and the split of each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide, assign_splits, check_leaks, make_slide
from wsi_specdec.config import StudyData
from wsi_specdec.errors import ConfigError, NotEnoughDataError
from wsi_specdec.keys import TRAIN, VALIDATION


def choose_images(
    slides: Sequence[Slide], labels: Sequence[int | None], data: StudyData
) -> dict[int, str]:
    """Choose images, and give each its split.

    Splits are the source's, renamed by `split_names`. Where it has none, `splits` are drawn by
    patient; where it has no validation, the patients of its `train` are divided into `train` and
    those of `splits` that it lacks. Then `max_images` of each split are drawn, as many of each
    class as their share. Images of unknown label are left out, and so are those without a split
    where others have one.

    Parameters
    ----------
    slides
        Rows of the images.
    labels
        Class of each.

    Returns
    -------
    Split of each image that is taken, by its position, which rises.

    Raises
    ------
    LeakError
        If a patient stands in two splits.
    ConfigError
        If a setting names a split that there is not.
    NotEnoughDataError
        If there are too few patients, or none to train on or to validate on.
    """
    rows = [row for row, label in enumerate(labels) if label is not None]
    known = [replace(slides[row], label=min(labels[row] or 0, 1)) for row in rows]
    split = _with_splits(_renamed(known, data.split_names), data)
    taken = {row: name for row, name in zip(rows, split, strict=True) if name is not None}
    found = sorted(set(taken.values()))
    _check_names(data.max_images, found, "max_images")
    if missing := {TRAIN, VALIDATION} - set(found):
        msg = (
            f"a study needs images to train on and to validate on, and has none of "
            f"{' and '.join(sorted(missing))}: of {len(slides)} images, {len(rows)} have a label, "
            f"and there are the splits {', '.join(found) or 'none'}"
        )
        raise NotEnoughDataError(msg)
    for name, limit in data.max_images.items():
        own = [row for row, split in taken.items() if split == _canonical(name)]
        number = np.array([labels[row] for row in own], np.int64)
        kept = {own[i] for i in _drawn(number, limit, [data.seed, *_canonical(name).encode()])}
        left_out = set(own) - kept
        taken = {row: split for row, split in taken.items() if row not in left_out}
    return taken


def _renamed(slides: Sequence[Slide], names: Mapping[str, str]) -> list[Slide]:
    _check_names(names, {slide.split for slide in slides if slide.split}, "split_names")
    new = {_canonical(old): _canonical(name) for old, name in names.items()}
    renamed = [replace(s, split=new.get(s.split, s.split) if s.split else None) for s in slides]
    check_leaks(renamed)
    return renamed


def _with_splits(slides: Sequence[Slide], data: StudyData) -> list[str | None]:
    """Split of each image: its own, or one drawn for its patient."""
    found = {slide.split for slide in slides if slide.split}
    shares = {str(name): share for name, share in data.splits.items()}
    if not found:
        return [slide.split for slide in assign_splits(slides, shares, data.seed)] if slides else []
    split = [slide.split for slide in slides]
    if VALIDATION in found or TRAIN not in found:
        return split
    left = {name: share for name, share in shares.items() if name == TRAIN or name not in found}
    left = {name: share / sum(left.values()) for name, share in left.items()}
    rows = [row for row, name in enumerate(split) if name == TRAIN]
    bare = [replace(slides[row], split=None) for row in rows]
    for row, slide in zip(rows, assign_splits(bare, left, data.seed), strict=True):
        split[row] = slide.split
    return split


def _drawn(label: NDArray[np.int64], limit: int, seed: Sequence[int]) -> list[int]:
    """Draw positions of `limit` images, each class by its share (largest remainders)."""
    if limit >= len(label):
        return list(range(len(label)))
    classes, counts = np.unique(label, return_counts=True)
    exact = counts * limit / len(label)
    quota = np.floor(exact).astype(np.int64)
    first = np.argsort(quota - exact, kind="stable")[: limit - int(quota.sum())]
    quota[first] += 1
    rng = np.random.default_rng(seed)
    parts = [
        rng.permutation(np.flatnonzero(label == name))[:number]
        for name, number in zip(classes, quota, strict=True)
    ]
    return sorted(np.concatenate(parts).tolist())


def _canonical(name: str) -> str:
    """Name a split as manifests do: `test` is `internal`."""
    return make_slide({"slide_id": "image", "split": name}, Path(), "split_names").split or name


def _check_names(
    names: Mapping[str, object], found: Sequence[str] | set[str], setting: str
) -> None:
    unknown = [name for name in names if _canonical(name) not in found]
    if unknown:
        msg = (
            f"{setting} names the split {unknown[0]!r}, of which there is no image: "
            f"there are {', '.join(sorted(found)) or 'none'}"
        )
        raise ConfigError(msg)
