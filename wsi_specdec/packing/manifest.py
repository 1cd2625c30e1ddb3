"""The manifest of packed images: patients, views and splits."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from wsi_specdec.cohort import Slide, assign_splits, check_leaks
from wsi_specdec.config import PackConfig
from wsi_specdec.packing.listing import Listing
from wsi_specdec.store import PackedIndex


def manifest_of(
    listing: Listing, found: PackedIndex, config: PackConfig, former: Sequence[Slide]
) -> list[Slide]:
    """Make the manifest: a row for every image that was listed, packed or not.

    Labels are in it where there are two classes; of more, they are in the store alone.

    Parameters
    ----------
    listing
        The images.
    found
        What their files say: patient and view, of those that could be packed.
    former
        The manifest of a former run, whose splits stay as they were drawn.

    Raises
    ------
    LeakError
        If a patient stands in two splits.
    NotEnoughDataError
        If there are fewer patients than splits to draw.
    """
    patients = dict(zip(found.image_id, found.patient_id, strict=True))
    views = dict(zip(found.image_id, found.group["view"], strict=True))
    two = len(listing.classes) <= 2
    slides = []
    for entry in listing.entries:
        slide = entry.slide
        slides.append(
            replace(
                slide,
                patient_id=patients.get(slide.slide_id, slide.patient_id),
                view=views.get(slide.slide_id) or slide.view,
                label=entry.label if two else None,
            )
        )
    if config.splits and not any(slide.split for slide in slides):
        slides = _drawn(slides, config, {s.patient_id: s.split for s in former if s.split})
    check_leaks(slides)
    return slides


def _drawn(slides: Sequence[Slide], config: PackConfig, kept: Mapping[str, str]) -> list[Slide]:
    """Draw the splits of patients that have none yet."""
    filled = [replace(slide, split=kept.get(slide.patient_id)) for slide in slides]
    new = {slide.patient_id for slide in filled if slide.split is None}
    if kept and len(new) < len(config.splits):
        # Too few to be dealt out: they are learned from.
        first = next(iter(config.splits))
        return [replace(slide, split=slide.split or first) for slide in filled]
    shares = {str(name): share for name, share in config.splits.items()}
    return assign_splits(filled, shares, config.seed)
