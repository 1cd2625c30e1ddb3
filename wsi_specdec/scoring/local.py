"""Scores slides one after the other in this process; one that fails costs itself alone."""

import resource
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from wsi_specdec.errors import UnsupportedSlideError, WsiSpecdecError
from wsi_specdec.models import decode_threads, prefetched
from wsi_specdec.runner import Outcome, State, TaskResult
from wsi_specdec.scoring.ensemble import Ensemble
from wsi_specdec.scoring.pace import pace
from wsi_specdec.scoring.slide import OpenedSlide, Tick, score_opened
from wsi_specdec.scoring.sources import TileSource
from wsi_specdec.scoring.spread import Ranks
from wsi_specdec.scoring.work import Work

Attempt = Callable[[], TaskResult | None]


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

    def open_ahead(source: TileSource) -> OpenedSlide | Exception:
        try:
            return OpenedSlide.open(source, work, threads)
        except Exception as error:  # noqa: BLE001 - it costs this slide alone, in its turn
            return error

    with (
        pace(todo, shown=ranks.first) as shown,
        # The next slide is opened while one is scored.
        closing(prefetched(open_ahead, todo, depth=1)) as opened,
    ):
        for source, slide in zip(todo, opened, strict=True):
            ended = _attempted(source, work, partial(_score, slide, work, ensemble, shown.tiles))
            assert ended is not None
            shown.slide()
            yield ended


def _score(
    slide: OpenedSlide | Exception, work: Work, ensemble: Ensemble, tick: Tick
) -> TaskResult:
    if isinstance(slide, Exception):
        raise slide
    with closing(slide.stream):
        return score_opened(slide, work, ensemble, tick)


def _attempted(source: TileSource, work: Work, attempt: Attempt) -> Ended | None:
    """Turn the result of `attempt`, or its error, into what became of the slide."""
    started = time.monotonic()
    state: State
    error: Exception | None = None
    try:
        result = attempt()
    except Exception as failure:  # noqa: BLE001 - whatever it is costs this slide alone
        error, result = failure, None
    if error is not None:
        state = "skipped" if isinstance(error, UnsupportedSlideError) else "failed"
        reason, tiles = _reason(error), 0
    elif result is not None:
        state, reason, tiles = result.state, result.reason, result.tiles
    else:
        return None
    outcome = Outcome(
        slide_id=source.slide_id,
        state=state,
        reason=reason,
        tiles=tiles,
        seconds=time.monotonic() - started,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        params_sha256=work.digest(),
    )
    trace = "".join(traceback.format_exception(error)) if state == "failed" and error else ""
    return Ended(outcome, result is not None and result.reused, error, trace)


def _reason(error: Exception) -> str:
    """Say in one line what is wrong."""
    named = isinstance(error, WsiSpecdecError)
    text = str(error) if named else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
