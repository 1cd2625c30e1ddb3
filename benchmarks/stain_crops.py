"""Random crops of tissue, with blank, inked, noisy and tiny ones among them: what breaks, if any.

Every crop is fitted by each method, moved by its slide's profile and by its own, and given a
status. Nothing may raise an error or hold a number that is not finite, and the status of what is
no tissue is known beforehand.
"""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain import (
    StainProfile,
    TileStatus,
    fit_pixels,
    normalise,
    normalise_each,
    tile_status,
)

Image = NDArray[np.uint8]
METHODS = ("macenko", "vahadane", "reinhard")
_LARGEST = 256
# What is smaller is not asked for a status of its kind: it has too few pixels.
_ASKED_FROM = 64
_INKS = ((30, 60, 190), (20, 120, 60), (35, 35, 40))
_LITTLE, _DEGENERATE = "too_little_tissue", "degenerate"
# Status that each kind must have, of its own fit and by its slide's profile; None: any.
EXPECTED: dict[str, tuple[str | None, str | None]] = {
    "tissue": (None, None),
    "tiny": (None, None),
    "glass": (_LITTLE, _LITTLE),
    "white": (_LITTLE, _LITTLE),
    "near empty": (_LITTLE, _LITTLE),
    "black": (_DEGENERATE, _DEGENERATE),
    # It may well be the colour of the slide's tissue.
    "one colour": (_DEGENERATE, None),
    "ink": (_DEGENERATE, _DEGENERATE),
    "noise": (_DEGENERATE, _DEGENERATE),
    "ink on tissue": (None, None),
    "saturated tissue": (None, None),
}


@dataclass
class Found:
    """What became of the crops.

    Attributes
    ----------
    crops
        How many of each kind.
    fits, tiles
        Statuses of fits and of tiles, by method and kind.
    broken
        Errors and numbers that are not finite.
    wrong
        Statuses that are not what the kind must have.
    """

    crops: Counter[str] = field(default_factory=Counter)
    fits: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    tiles: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    wrong: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)

    def add(self, other: "Found") -> None:
        """Count what another process found."""
        self.crops += other.crops
        self.fits += other.fits
        self.tiles += other.tiles
        self.broken += other.broken
        self.wrong += other.wrong


def run_crops(images: Sequence[Image], count: int, seed: int, processes: int = 1) -> Found:
    """Take `count` random crops of several slides' images, one in three of them spoilt."""
    parts = [count * (i + 1) // processes - count * i // processes for i in range(processes)]
    if processes == 1:
        return _part(images, count, (seed, 0))
    found = Found()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        jobs = [pool.submit(_part, images, n, (seed, i)) for i, n in enumerate(parts)]
        for job in jobs:
            found.add(job.result())
    return found


def _part(images: Sequence[Image], count: int, seed: tuple[int, int]) -> Found:
    rng = np.random.default_rng(seed)
    configs = {name: StainConfig.model_validate({"method": name}) for name in METHODS}
    profiles = {
        name: [fit_pixels(_some_pixels(image, rng), config) for image in images]
        for name, config in configs.items()
    }
    found = Found()
    spoilt = [kind for kind in EXPECTED if kind != "tissue"]
    for _ in range(count):
        number = int(rng.integers(len(images)))
        kind = "tissue" if rng.random() < 2 / 3 else spoilt[rng.integers(len(spoilt))]
        crop = MAKERS[kind](_crop(images[number], rng, kind), rng)
        found.crops[kind] += 1
        for name, config in configs.items():
            source = profiles[name][number]
            target = profiles[name][(number + 1) % len(images)]
            try:
                _try_one(crop, kind, config, (source, target), found)
            except Exception as error:  # noqa: BLE001 - any is what is looked for
                found.broken.append(f"{name}, {kind} {crop.shape}: {type(error).__name__}: {error}")
    return found


def _try_one(
    crop: Image,
    kind: str,
    config: StainConfig,
    slide: tuple[StainProfile, StainProfile],
    found: Found,
) -> None:
    source, target = slide
    name = config.method
    own = fit_pixels(crop.reshape(-1, 3), config)
    statistics = (*own.matrix().ravel(), *own.max_concentrations)
    statistics += (*(own.lab_means or ()), *(own.lab_deviations or ()))
    if not np.isfinite(statistics).all():
        found.broken.append(f"{name}, {kind} {crop.shape}: not finite: {own}")
    moved = normalise(crop, source, target)
    each, codes = normalise_each(crop[None], target, config)
    unchanged = np.array_equal(each[0], crop)
    if moved.shape != crop.shape or (own.status != "ok" and not unchanged):
        found.broken.append(f"{name}, {kind} {crop.shape}: changed, though {own.status}")
    if TileStatus(codes[0]) != TileStatus.of(own.status):
        found.broken.append(f"{name}, {kind} {crop.shape}: code {codes[0]} of {own.status}")
    status = TileStatus(tile_status(crop[None], source, target)[0]).label
    found.fits[name, kind, own.status] += 1
    found.tiles[name, kind, status] += 1
    if min(crop.shape[:2]) < _ASKED_FROM:
        return
    gotten = (own.status, status)
    for what, expected, got in zip(("fit", "tile"), EXPECTED[kind], gotten, strict=True):
        if expected not in {None, got}:
            found.wrong[name, what, kind, got] += 1


def _some_pixels(image: Image, rng: np.random.Generator) -> Image:
    flat = image.reshape(-1, 3)
    return flat[rng.integers(0, len(flat), size=200_000)]


def _crop(image: Image, rng: np.random.Generator, kind: str) -> Image:
    largest = 12 if kind == "tiny" else _LARGEST
    height, width = rng.integers(1, largest + 1, size=2)
    top = rng.integers(0, image.shape[0] - height + 1)
    left = rng.integers(0, image.shape[1] - width + 1)
    # Neither contiguous nor writeable.
    cut = image[top : top + height, left : left + width]
    cut.flags.writeable = False
    return cut


def _as_it_is(crop: Image, _: np.random.Generator) -> Image:
    return crop


def _glass(crop: Image, rng: np.random.Generator) -> Image:
    return np.clip(rng.normal(238, 3, crop.shape), 0, 255).astype(np.uint8)


def _white(crop: Image, _: np.random.Generator) -> Image:
    return np.full_like(crop, 255)


def _near_empty(crop: Image, rng: np.random.Generator) -> Image:
    out = _glass(crop, rng)
    out[:3, :3] = crop[:3, :3]
    return out


def _black(crop: Image, _: np.random.Generator) -> Image:
    return np.zeros_like(crop)


def _one_colour(crop: Image, rng: np.random.Generator) -> Image:
    return np.broadcast_to(rng.integers(20, 180, size=3, dtype=np.uint8), crop.shape)


def _noise(crop: Image, rng: np.random.Generator) -> Image:
    return rng.integers(0, 256, size=crop.shape, dtype=np.uint8)


def _ink(crop: Image, rng: np.random.Generator) -> Image:
    """Fill the crop with a stroke of uneven strength and with sensor noise."""
    ink = np.array(_INKS[rng.integers(len(_INKS))])
    strength = rng.uniform(0.6, 1.0, size=(*crop.shape[:2], 1))
    noisy = 240 * (ink / 240) ** strength + rng.normal(0, 2, crop.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _ink_on_tissue(crop: Image, rng: np.random.Generator) -> Image:
    out = crop.copy()
    rows = slice(0, max(1, crop.shape[0] // 3))
    out[rows] = (out[rows] / 240.0 * _INKS[rng.integers(len(_INKS))]).clip(0, 255).astype(np.uint8)
    return out


def _saturated(crop: Image, rng: np.random.Generator) -> Image:
    out = crop.astype(np.int64) + rng.integers(-160, 161)
    return np.asarray(out.clip(0, 255), np.uint8)


MAKERS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "tissue": _as_it_is,
    "tiny": _as_it_is,
    "glass": _glass,
    "white": _white,
    "near empty": _near_empty,
    "black": _black,
    "one colour": _one_colour,
    "ink": _ink,
    "noise": _noise,
    "ink on tissue": _ink_on_tissue,
    "saturated tissue": _saturated,
}


def crops_table(found: Found) -> str:
    """Lay out statuses of fits and of tiles as Markdown, by kind; methods added up."""
    names = ("ok", "normalised", _LITTLE, _DEGENERATE)
    lines = [
        (
            "| crops | number | own fit: ok / too little / degenerate |"
            " by slide: normalised / too little / degenerate |"
        ),
        "|---|---:|---|---|",
    ]
    for kind, count in found.crops.most_common():
        cells = []
        for counts, first in ((found.fits, names[0]), (found.tiles, names[1])):
            sums = [
                sum(counts[name, kind, status] for name in METHODS)
                for status in (first, _LITTLE, _DEGENERATE)
            ]
            cells.append(" / ".join(f"{value:,}" for value in sums))
        lines.append(f"| {kind} | {count:,} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)
