"""What there is to see: the table of slides and scores, made once, when the viewer starts.

The browser names slides by keys of this table. No path and no part of one comes from outside.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from wsi_specdec.cohort import Slide, read_manifest, slides_from_paths
from wsi_specdec.errors import ResolutionError, SlideError
from wsi_specdec.keys import (
    ARMS_DIR,
    CALLS_FILE,
    JOURNAL_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    PREVIEWS_DIR,
    SCORES_DIR,
)
from wsi_specdec.progress import progress
from wsi_specdec.runner import Outcome, read_ledger
from wsi_specdec.slides import SlideReader, open_slide
from wsi_specdec.store import scores_path
from wsi_specdec.store.calls import Call, read_calls

_KEY_DIGITS: Final = 16
# Opening waits for the disk, mostly.
_OPENING_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Source:
    """Scores of one model: of an arm and seed, or of a `process` run.

    Attributes
    ----------
    name
        As shown.
    scores
        Folder of its tile scores.
    calls
        Its slide calls, by slide.
    """

    name: str
    scores: Path
    calls: Mapping[str, Call] = field(default_factory=dict)

    def tile_scores(self, slide_id: str) -> Path:
        """Where a slide's tile scores lie, if it has any."""
        return scores_path(self.scores, slide_id)


@dataclass(frozen=True, slots=True)
class Entry:
    """One slide.

    Attributes
    ----------
    key
        Its name in addresses; another one once the file has changed.
    slide
        Its row in the manifest.
    outcome
        What became of it when it was tiled.
    problem
        Why it cannot be shown; empty where it can.
    thumbnail, outlines
        Files that belong to it, where they are there.
    """

    key: str
    slide: Slide
    outcome: Outcome | None = None
    problem: str = ""
    thumbnail: Path | None = None
    outlines: Mapping[str, Path] = field(default_factory=dict)

    def open(self) -> SlideReader:
        """Open the slide; one whose resolution is implausible is shown without it.

        Raises
        ------
        SlideError
            If it cannot be opened.
        """
        try:
            return open_slide(self.slide.path, mpp=self.slide.mpp, mpp_source="manifest")
        except ResolutionError:
            reader = open_slide(self.slide.path, mpp=1.0)
            reader.info = replace(reader.info, mpp=None, mpp_source=None)
            return reader


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that may be served."""

    title: str
    entries: Mapping[str, Entry]
    sources: Sequence[Source]


def read_catalogue(folder: Path) -> Catalogue:
    """Make the table of a run directory (`tile`, `process`, `run`, `demo`) or a folder of slides.

    Every slide is opened once, so that those which cannot be shown are known beforehand.

    Raises
    ------
    ManifestError
        If the folder holds neither a manifest nor slides, or a manifest that is wrong.
    StoreError
        If its ledger or calls cannot be read.
    """
    if (folder / MANIFEST_FILE).is_file():
        slides = read_manifest(folder / MANIFEST_FILE)
    else:
        slides = slides_from_paths([folder])
    tiled = any((folder / name).is_file() for name in (LEDGER_FILE, JOURNAL_FILE))
    outcomes = {row.slide_id: row for row in read_ledger(folder)} if tiled else {}
    entries = [_entry(slide, folder, outcomes.get(slide.slide_id)) for slide in slides]
    return Catalogue(
        title=folder.resolve().name,
        entries={entry.key: entry for entry in _checked(entries)},
        sources=tuple(_sources(folder)),
    )


def _sources(folder: Path) -> Iterator[Source]:
    """Find the scores in a run directory: of its own, then of each arm and seed."""
    if (folder / SCORES_DIR).is_dir():
        yield _source("scores", folder)
    for seed in sorted((folder / ARMS_DIR).glob("*/seed-*")):
        if (seed / SCORES_DIR).is_dir():
            yield _source(f"{seed.parent.name}, {seed.name.replace('-', ' ')}", seed)


def _source(name: str, folder: Path) -> Source:
    calls = read_calls(folder / CALLS_FILE) if (folder / CALLS_FILE).is_file() else []
    return Source(name, folder / SCORES_DIR, {call.slide_id: call for call in calls})


def _entry(slide: Slide, folder: Path, outcome: Outcome | None) -> Entry:
    previews = folder / PREVIEWS_DIR
    thumbnail = previews / f"{slide.slide_id}.thumbnail.jpg"
    files = {"tissue": previews / f"{slide.slide_id}.tissue.geojson"}
    if slide.annotation_path is not None and _is_vector(slide.annotation_path):
        files["annotation"] = slide.annotation_path
    return Entry(
        key=_key(slide),
        slide=slide,
        outcome=outcome,
        thumbnail=thumbnail if thumbnail.is_file() else None,
        outlines={name: file for name, file in files.items() if file.is_file()},
    )


def _is_vector(path: Path) -> bool:
    return path.name.lower().endswith((".geojson", ".json", ".geojson.gz", ".json.gz", ".xml"))


def _key(slide: Slide) -> str:
    """Name of a slide in addresses, under which a browser may keep its tiles."""
    try:
        status = slide.path.stat()
        version = f"{status.st_size} {status.st_mtime_ns}"
    except OSError:
        version = ""
    text = "\0".join((slide.slide_id, str(slide.path.absolute()), version))
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


def _checked(entries: Sequence[Entry]) -> list[Entry]:
    """Open every slide once and note those that cannot be."""
    with (
        progress("opening slides", len(entries)) as tick,
        ThreadPoolExecutor(_OPENING_THREADS) as pool,
    ):
        checked = []
        for problem, entry in zip(pool.map(_problem, entries), entries, strict=True):
            checked.append(replace(entry, problem=problem))
            tick()
        return checked


def _problem(entry: Entry) -> str:
    try:
        entry.open().close()
    except SlideError as error:
        return str(error)
    return ""
