"""Leaving one site out: each in turn is the external cohort of models that never saw it."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from wsi_specdec.cohort import Slide, assign_splits
from wsi_specdec.errors import LeakError, ManifestError, NotEnoughDataError
from wsi_specdec.files import write_text
from wsi_specdec.keys import (
    EXTERNAL,
    FOLDS_DIR,
    PREVIEWS_DIR,
    STAIN_DIR,
    TILE_CONFIG_FILE,
    TILES_DIR,
)

Column = Literal["site", "scanner"]
# What all folds have in common, since it depends on no split.
_SHARED: Final = (TILES_DIR, PREVIEWS_DIR, STAIN_DIR)
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Fold:
    """One site left out.

    Attributes
    ----------
    site
        As the manifest names it.
    name
        The same, as it may stand in a file's name.
    slides
        All slides: the site's are `cohort`, the others are divided anew.
    """

    site: str
    name: str
    slides: tuple[Slide, ...]

    @property
    def cohort(self) -> str:
        """The split of the site's slides."""
        return f"{EXTERNAL}-{self.name}"

    def folder(self, out: Path) -> Path:
        """Return the fold's run directory within `out`."""
        return out / FOLDS_DIR / self.name


def leave_one_out(
    slides: Sequence[Slide], column: Column, shares: Mapping[str, float], seed: int
) -> list[Fold]:
    """Make a fold of each site; its other slides are dealt to `shares` by patient.

    Parameters
    ----------
    slides
        A manifest in which no slide has a split.
    column
        What counts as a site.
    shares
        Of the patients of the other sites: train, validation and internal.
    seed
        Of the deal.

    Raises
    ------
    ManifestError
        If a slide has no site or has a split, or two sites have one name in files.
    LeakError
        If a patient stands at two sites.
    NotEnoughDataError
        If there are fewer than two sites, or too few patients for the splits.
    """
    _check(slides, column)
    of_site: dict[str, list[Slide]] = defaultdict(list)
    for slide in slides:
        of_site[str(getattr(slide, column))].append(slide)
    if len(of_site) < 2:
        msg = f"there is one {column} alone, {next(iter(of_site))!r}: leaving it out leaves nothing"
        raise NotEnoughDataError(msg)
    names = {site: re.sub(r"[^A-Za-z0-9._-]", "_", site) for site in sorted(of_site)}
    if len(set(names.values())) < len(names):
        msg = f"two of the names {', '.join(names)} are the same as a folder: rename one"
        raise ManifestError(msg)
    folds = []
    for site, name in names.items():
        own = {slide.slide_id for slide in of_site[site]}
        rest = assign_splits([s for s in slides if s.slide_id not in own], shares, seed)
        split = {slide.slide_id: slide.split for slide in rest}
        dealt = [replace(s, split=split.get(s.slide_id, f"{EXTERNAL}-{name}")) for s in slides]
        folds.append(Fold(site, name, tuple(dealt)))
    return folds


def share_tiles(out: Path, fold: Fold) -> None:
    """Let a fold's run directory have the tiles, previews and stain profiles of `out`, by links.

    `out` is tiled already.
    """
    folder = fold.folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _SHARED:
        (out / name).mkdir(exist_ok=True)
        if not (folder / name).exists():
            # Relative, so that the whole can be moved.
            (folder / name).symlink_to(Path("..") / ".." / name, target_is_directory=True)
    # Anew each time: these are the settings of the tiles that are there now.
    write_text(folder / TILE_CONFIG_FILE, (out / TILE_CONFIG_FILE).read_text(encoding="utf-8"))


def _check(slides: Sequence[Slide], column: Column) -> None:
    nowhere = [slide.slide_id for slide in slides if not getattr(slide, column)]
    if nowhere:
        msg = f"slides without a {column} cannot be dealt to folds: {_few(nowhere)}"
        raise ManifestError(msg)
    divided = [slide.slide_id for slide in slides if slide.split]
    if divided:
        msg = (
            f"leaving one {column} out divides the slides itself, but the manifest's column 'split'"
            f" has done so: {_few(divided)}; leave that column out"
        )
        raise ManifestError(msg)
    places: dict[str, set[str]] = defaultdict(set)
    for slide in slides:
        places[slide.patient_id].add(str(getattr(slide, column)))
    both = {patient: sorted(names) for patient, names in places.items() if len(names) > 1}
    if both:
        named = [f"{patient} at {' and '.join(names)}" for patient, names in sorted(both.items())]
        msg = (
            f"patients stand at more than one {column}, so that leaving one out would train on "
            f"them: {_few(named, '; ')}; give each patient one"
        )
        raise LeakError(msg)


def _few(names: Sequence[str], comma: str = ", ") -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return comma.join(names[:_SHOWN]) + more
