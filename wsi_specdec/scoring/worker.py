"""One slide in a worker process, as the runner calls it."""

from dataclasses import dataclass

import cv2
import torch

from wsi_specdec.progress import set_quiet
from wsi_specdec.runner import TaskResult, advance_tiles
from wsi_specdec.scoring.ensemble import Ensemble
from wsi_specdec.scoring.slide import OpenedSlide, score_opened
from wsi_specdec.scoring.sources import TileSource
from wsi_specdec.scoring.work import Work


@dataclass(frozen=True)
class Job:
    """A slide to be scored in a worker process, with so many threads."""

    source: TileSource
    work: Work
    threads: int


# The models of the slide before: those of a warm process's next slide, mostly.
_loaded: dict[str, Ensemble] = {}


def score_job(job: Job) -> TaskResult:
    """Score one slide, unless that is done.

    Raises
    ------
    ModelError
        If the models cannot be loaded here.
    SlideError, StoreError
        If the slide cannot be read.
    """
    set_quiet(quiet=True)
    former = job.work.scored(job.source)
    if former is not None:
        return former
    torch.set_num_threads(job.threads)
    cv2.setNumThreads(1)
    slide = OpenedSlide.open(job.source, job.work, job.threads)
    try:
        return score_opened(slide, job.work, _ensemble(job.work), advance_tiles)
    finally:
        slide.stream.close()


def _ensemble(work: Work) -> Ensemble:
    key = f"{work.members.hashes} {work.config.digest()}"
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = Ensemble.load(work.members, work.config)
    return _loaded[key]
