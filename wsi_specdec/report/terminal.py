"""Results and calls as tables in the terminal, readable at 80 columns."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wsi_specdec.report.calls import call_name, ranked, score_text
from wsi_specdec.report.gaps import print_gaps
from wsi_specdec.report.tables import (
    cell_of,
    footnotes,
    metric_of,
    order_cohorts,
    size_text,
    title_of_cohort,
)
from wsi_specdec.report.wording import Wording
from wsi_specdec.store.calls import Call

_MAX_ROWS: Final = 40


def print_results(results: Mapping[str, Any], console: Console, *, of_images: bool = False) -> None:
    """Print what is lost outside, then one table per cohort: a row per arm, value above interval.

    Parameters
    ----------
    results
        The content of `results.json`.
    console
        Where to print; a narrow one is fine from 80 columns up.
    of_images
        Whether the run is on packed images, of which nothing is said of tiles.
    """
    say = Wording(of_images=of_images)
    print_gaps(results, console, say)
    for cohort in order_cohorts(results["cohorts"]):
        _print_cohort(results, cohort, console, say)


def print_calls(calls: Sequence[Call], console: Console) -> None:
    """Print the calls of a folder of slides, highest score first, and how many there are."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("Slide", overflow="fold")
    for title in ("Score", "Threshold", "Tiles"):
        table.add_column(title, justify="right")
    table.add_column("Call")
    for call in ranked(calls)[:_MAX_ROWS]:
        table.add_row(
            Text(call.slide_id),
            score_text(call.score),
            score_text(call.threshold),
            str(call.n_tiles),
            Text(call_name(call)),
        )
    console.print(table)
    if len(calls) > _MAX_ROWS:
        console.print(f"… and {len(calls) - _MAX_ROWS} more, in calls.csv", style="dim")
    numbers = Counter(call_name(call) for call in calls)
    summary = ", ".join(f"{number} {name}" for name, number in sorted(numbers.items()))
    console.print(Text(f"{len(calls)} slides: {summary}"), highlight=False)


def _print_cohort(results: Mapping[str, Any], cohort: str, console: Console, say: Wording) -> None:
    title = f"{title_of_cohort(cohort)}: {say(size_text(results, cohort))}"
    metrics = say.headline
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=Text(title), title_justify="left")
    table.add_column("Arm", overflow="fold")
    for metric in metrics:
        table.add_column(metric.title.replace(" ", "\n"), justify="right", no_wrap=True)
    named = []
    for arm in results["arms"]:
        cells = [cell_of(metric_of(results, arm, cohort, metric)) for metric in metrics]
        shown = [Text.assemble(c.value, "\n", (c.interval, "dim")) for c in cells]
        table.add_row(Text(arm), *shown)
        named += [(arm, m.title, c.reason) for m, c in zip(metrics, cells, strict=True)]
    console.print(table)
    for note in footnotes(named):
        console.print(Text(note), style="dim", highlight=False)
