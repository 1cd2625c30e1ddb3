"""Scores slides one after the other, packed images many at a time, in this process.

One that fails costs itself alone.
"""

import resource
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial

from wsi_specdec.errors import UnsupportedSlideError, WsiSpecdecError
from wsi_specdec.models import decode_threads, prefetched
from wsi_specdec.runner import Outcome, State, TaskResult
from wsi_specdec.scoring.ensemble import Ensemble
from wsi_specdec.scoring.images import OpenedImages, score_images, together
from wsi_specdec.scoring.pace import pace
from wsi_specdec.scoring.slide import OpenedSlide, Tick, score_opened
from wsi_specdec.scoring.sources import TileSource
from wsi_specdec.scoring.spread import Ranks
from wsi_specdec.scoring.work import Work

Attempt = Callable[[], TaskResult | None]
# What was made ready, or why that could not be.
Opened = OpenedSlide | OpenedImages | Exception


@dataclass(frozen=True)
class Ended:
    """What became of a slide.

    Attributes
    ----------
    outcome
        Its row of the ledger.
    reused
        Whether its result was there already.
    error, trace
        Why it failed, if it did.
    """

    outcome: Outcome
    reused: bool = False
    error: Exception | None = None
    trace: str = ""


def score_here(
    sources: Sequence[TileSource], work: Work, ranks: Ranks
) -> Generator[Ended, None, None]:
    """Yield what became of each slide as it ends, first of those that are scored already.

    Raises
    ------
    ModelError
        If a model cannot be loaded.
    """
    todo: list[TileSource] = []
    for source in sources:
        ended = _attempted(source, work, partial(work.scored, source))
        if ended is None:
            todo.append(source)
        else:
            yield ended
    if not todo:
        return
    ensemble = Ensemble.load(work.members, work.config)
    threads = decode_threads(ensemble.device, ranks.beside)
    groups = together(todo, ensemble.batch_size)
    with (
        pace(todo, shown=ranks.first) as shown,
        # The next slide is opened while one is scored.
        closing(prefetched(partial(_opened, work=work, threads=threads), groups, depth=1)) as ready,
    ):
        for group, opened in zip(groups, ready, strict=True):
            if len(group) > 1:
                found = _score_images(group, opened, work, ensemble, threads, shown.tiles)
            else:
                found = iter([_score_slide(group[0], opened, work, ensemble, shown.tiles)])
            for ended in found:
                shown.slide()
                yield ended


def _opened(group: Sequence[TileSource], work: Work, threads: int) -> Opened:
    try:
        if len(group) > 1:
            return OpenedImages.open(group, work, threads)
        return OpenedSlide.open(group[0], work, threads)
    except Exception as error:  # noqa: BLE001 - it costs this slide alone, in its turn
        return error


def _score_images(
    group: Sequence[TileSource],
    opened: Opened,
    work: Work,
    ensemble: Ensemble,
    threads: int,
    tick: Tick,
) -> Iterator[Ended]:
    """Score images together; once that fails, those that are left one by one."""
    left = dict(enumerate(group))
    if isinstance(opened, OpenedImages):
        # Which of them it was is found out below.
        with closing(opened.reader), suppress(Exception):
            started = time.monotonic()
            for results in score_images(opened, work, ensemble):
                seconds = (time.monotonic() - started) / len(results)
                for number, result in results.items():
                    source = left.pop(number)
                    yield Ended(_outcome(source, work, _said(result), seconds))
                tick(len(results))
                started = time.monotonic()
    for source in left.values():
        alone = _opened((source,), work, threads)
        yield _score_slide(source, alone, work, ensemble, tick)


def _score_slide(
    source: TileSource, opened: Opened, work: Work, ensemble: Ensemble, tick: Tick
) -> Ended:
    def attempt() -> TaskResult:
        if isinstance(opened, Exception):
            raise opened
        assert isinstance(opened, OpenedSlide)
        with closing(opened.stream):
            return score_opened(opened, work, ensemble, tick)

    ended = _attempted(source, work, attempt)
    assert ended is not None
    return ended


def _attempted(source: TileSource, work: Work, attempt: Attempt) -> Ended | None:
    """Turn the result of `attempt`, or its error, into what became of the slide."""
    started = time.monotonic()
    try:
        result = attempt()
    except Exception as error:  # noqa: BLE001 - whatever it is costs this slide alone
        state: State = "skipped" if isinstance(error, UnsupportedSlideError) else "failed"
        outcome = _outcome(source, work, (state, _reason(error), 0), time.monotonic() - started)
        trace = "".join(traceback.format_exception(error)) if state == "failed" else ""
        return Ended(outcome, error=error, trace=trace)
    if result is None:
        return None
    outcome = _outcome(source, work, _said(result), time.monotonic() - started)
    return Ended(outcome, result.reused)


def _said(result: TaskResult) -> tuple[State, str, int]:
    return result.state, result.reason, result.tiles


def _outcome(
    source: TileSource, work: Work, said: tuple[State, str, int], seconds: float
) -> Outcome:
    state, reason, tiles = said
    return Outcome(
        slide_id=source.slide_id,
        state=state,
        reason=reason,
        tiles=tiles,
        seconds=seconds,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        params_sha256=work.digest(),
    )


def _reason(error: Exception) -> str:
    """Say in one line what is wrong."""
    named = isinstance(error, WsiSpecdecError)
    text = str(error) if named else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
