"""Slides as the report shows them: thumbnail, tissue, truth and heatmaps with their calls."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.cohort import Slide
from wsi_specdec.keys import UNKNOWN_LABEL
from wsi_specdec.report.calls import call_name, is_right, label_name, ranked, score_text
from wsi_specdec.report.heatmap import outline, score_map
from wsi_specdec.report.heatmaps import is_shown
from wsi_specdec.report.images import data_uri, fit, read_mask, read_rgb, size_of
from wsi_specdec.report.run import Run, SeedFolder
from wsi_specdec.report.selection import select_slides
from wsi_specdec.report.tables import title_of_cohort
from wsi_specdec.store.calls import Call

_SIDE_PX: Final = 400
# Above this many slides pictures get smaller, so that the file stays within a few MB.
_MANY_SLIDES: Final = 40
_SMALL_SIDE_PX: Final = 288
_ICON_PX: Final = 112
# Rows of a table of calls that have pictures.
_MAX_ICONS: Final = 200
_TISSUE_GREY: Final = 120


@dataclass(frozen=True)
class Picture:
    """An inlined image with its text alternative."""

    uri: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Verdict:
    """One arm's call of a slide, and the heatmap behind it; `right` is None without truth.

    An image has one score and no heatmap.
    """

    arm: str
    heatmap: Picture | None
    score: str
    threshold: str
    call: str
    right: bool | None


@dataclass(frozen=True)
class Card:
    """One slide, or image, of the gallery; images have no tissue mask."""

    slide_id: str
    facts: Sequence[str]
    truth: str
    thumbnail: Picture
    tissue: Picture | None
    truth_picture: Picture | None
    truth_caption: str
    verdicts: Sequence[Verdict]


@dataclass(frozen=True)
class CallRow:
    """One slide of a table of calls."""

    slide_id: str
    score: str
    threshold: str
    call: str
    tiles: int
    pictures: Sequence[Picture]


def make_cards(run: Run, max_slides: int) -> list[Card]:
    """Choose slides and draw them."""
    chosen = _choose(run, max_slides)
    side = _SIDE_PX if len(chosen) <= _MANY_SLIDES else _SMALL_SIDE_PX
    return [_card(run, slide_id, side) for slide_id in chosen]


def make_call_rows(run: Run) -> list[CallRow]:
    """List the calls of a `process` run, highest score first, with small pictures."""
    folder = _first_seeds(run)[0][1]
    calls = ranked(folder.calls.values())
    return [_call_row(run, folder, call, place) for place, call in enumerate(calls)]


def _choose(run: Run, number: int) -> list[str]:
    """Ids to show: by cohort, class and rightness where truth is known, else by score."""
    shown = [slide_id for slide_id in run.slides if is_shown(run, slide_id)]
    if run.results is None:
        calls = ranked(_first_seeds(run)[0][1].calls.values())
        return [call.slide_id for call in calls if call.slide_id in set(shown)][:number]
    slides = {slide_id: run.slides[slide_id] for slide_id in shown}
    wrong = {
        slide_id: sum(
            is_right(folder.call(slide_id), slide.label) is False for _, folder in _first_seeds(run)
        )
        for slide_id, slide in slides.items()
    }
    labels = {slide_id: slide.label for slide_id, slide in slides.items()}
    cohorts = {slide_id: slide.split or "" for slide_id, slide in slides.items()}
    return select_slides(labels, cohorts, wrong, number)


def _card(run: Run, slide_id: str, side: int) -> Card:
    slide = run.slides[slide_id]
    thumbnail = fit(run.thumbnail(slide_id), side)
    if run.images is not None:
        return _image_card(run, slide, thumbnail)
    truth_picture, truth_caption = _truth(run, slide, thumbnail)
    return Card(
        slide_id=slide_id,
        facts=_facts(run, slide),
        truth=label_name(slide.label),
        thumbnail=picture(thumbnail, f"Thumbnail of slide {slide_id}"),
        tissue=_tissue(run, slide_id, side),
        truth_picture=truth_picture,
        truth_caption=truth_caption,
        verdicts=[
            _verdict(slide, arm, folder, _heatmap(slide, arm, folder, side))
            for arm, folder in _first_seeds(run)
        ],
    )


def _image_card(run: Run, slide: Slide, shown: NDArray[np.uint8]) -> Card:
    truth = label_name(slide.label)
    said = f", truth {truth}" if truth else ""
    return Card(
        slide_id=slide.slide_id,
        facts=_facts(run, slide)[:-1],
        truth=truth,
        thumbnail=picture(shown, f"Image {slide.slide_id}{said}"),
        tissue=None,
        truth_picture=None,
        truth_caption="",
        verdicts=[_verdict(slide, arm, folder, None) for arm, folder in _first_seeds(run)],
    )


def _facts(run: Run, slide: Slide) -> list[str]:
    facts = [
        title_of_cohort(slide.split) if slide.split else "",
        f"patient {slide.patient_id}" if slide.patient_id != slide.slide_id else "",
        f"site {slide.site}" if slide.site else "",
        slide.scanner or "",
        f"view {slide.view}" if slide.view else "",
        f"{run.ledger[slide.slide_id].tiles:,} tiles",
    ]
    return [fact for fact in facts if fact]


def _heatmap(slide: Slide, arm: str, folder: SeedFolder, side: int) -> Picture:
    call = folder.call(slide.slide_id)
    named = f" by {arm}" if arm else ""
    alt = (
        f"Heatmap of slide {slide.slide_id}{named}: slide score {score_text(call.score)}, "
        f"call {call_name(call)}"
    )
    return picture(fit(read_rgb(folder.heatmap(slide.slide_id)), side), alt)


def _verdict(slide: Slide, arm: str, folder: SeedFolder, heatmap: Picture | None) -> Verdict:
    call = folder.call(slide.slide_id)
    return Verdict(
        arm=arm,
        heatmap=heatmap,
        score=score_text(call.score),
        threshold=score_text(call.threshold),
        call=call_name(call),
        right=is_right(call, slide.label),
    )


def _tissue(run: Run, slide_id: str, side: int) -> Picture:
    mask = read_mask(run.tissue_path(slide_id))
    drawn = fit(np.where(mask, _TISSUE_GREY, 255).astype(np.uint8), side)
    return picture(drawn, f"Tissue mask of slide {slide_id}: {_share(mask)} of its area")


def _truth(run: Run, slide: Slide, thumbnail: NDArray[np.uint8]) -> tuple[Picture | None, str]:
    """Outline the tiles that the annotation says are positive; None where it says of none."""
    if slide.annotation_path is None:
        return None, ""
    store, layout = run.store(slide.slide_id), run.layout(slide.slide_id)
    known = store.label[store.label != UNKNOWN_LABEL]
    if not known.size:
        return None, ""
    size = size_of(thumbnail)
    downsample = (layout.level0.width / size.width, layout.level0.height / size.height)
    positive = (store.label > 0).astype(np.float32)
    shown = score_map(store.coords, positive, layout.tile_size, size, downsample) > 0.5
    share = 100 * float((known > 0).mean())
    said = f"tumour in {share:.1f} % of the tiles" if share else "no tumour in any tile"
    return picture(outline(thumbnail, shown), f"Truth of slide {slide.slide_id}: {said}"), said


def _call_row(run: Run, folder: SeedFolder, call: Call, place: int) -> CallRow:
    pictures = []
    if place < _MAX_ICONS and is_shown(run, call.slide_id):
        pictures = [
            _icon(run.thumbnail(call.slide_id), f"Thumbnail of slide {call.slide_id}"),
            _icon(read_rgb(folder.heatmap(call.slide_id)), f"Heatmap of slide {call.slide_id}"),
        ]
    return CallRow(
        slide_id=call.slide_id,
        score=score_text(call.score),
        threshold=score_text(call.threshold),
        call=call_name(call),
        tiles=call.n_tiles,
        pictures=pictures,
    )


def _first_seeds(run: Run) -> list[tuple[str, SeedFolder]]:
    return [(arm, seeds[0]) for arm, seeds in run.arms.items() if seeds]


def _icon(image: NDArray[np.uint8], alt: str) -> Picture:
    return picture(fit(image, _ICON_PX), alt)


def picture(image: NDArray[np.uint8], alt: str) -> Picture:
    """Inline an image with its text alternative."""
    size = size_of(image)
    return Picture(data_uri(image), alt, size.width, size.height)


def _share(mask: NDArray[np.bool_]) -> str:
    return f"{100 * float(mask.mean()):.1f} %"
