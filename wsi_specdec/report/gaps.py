"""What is lost outside: the gaps of `results.json` as a table in the terminal."""

from collections.abc import Mapping
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wsi_specdec.report.tables import MISSING, signed, signed_interval, title_of_cohort
from wsi_specdec.report.wording import OF_SLIDES, Wording

_WIDTH: Final = 17


def print_gaps(results: Mapping[str, Any], console: Console, say: Wording = OF_SLIDES) -> None:
    """Print, for each external cohort, what each arm loses against the internal one.

    Parameters
    ----------
    results
        The content of `results.json`; nothing is printed where it holds no gaps.
    console
        Where to print; a narrow one is fine from 80 columns up.
    say
        How the run's texts read.
    """
    gaps = results.get("gaps", [])
    for cohort in dict.fromkeys(gap["cohort"] for gap in gaps):
        found = {
            (gap["arm"], gap["unit"], gap["metric"]): gap for gap in gaps if gap["cohort"] == cohort
        }
        _print_cohort(title_of_cohort(cohort), list(results["arms"]), found, console, say)


def _print_cohort(
    cohort: str,
    arms: list[str],
    found: Mapping[tuple[str, str, str], Mapping[str, Any]],
    console: Console,
    say: Wording,
) -> None:
    title = f"{cohort} minus internal, with interval"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=Text(title), title_justify="left")
    table.add_column("Arm", overflow="fold")
    for metric in say.headline:
        table.add_column(metric.title.replace(" ", "\n"), justify="right", max_width=_WIDTH)
    for arm in arms:
        cells = [_cell(found.get((arm, metric.unit, metric.name))) for metric in say.headline]
        table.add_row(Text(arm), *cells)
    console.print(table)


def _cell(gap: Mapping[str, Any] | None) -> Text:
    if gap is None or gap["gap"] is None:
        return Text(MISSING)
    interval = signed_interval(gap["ci_low"], gap["ci_high"])
    return Text.assemble(signed(gap["gap"]), "\n", (interval.replace(" to ", "\nto "), "dim"))
