"""The report as one self-contained HTML file."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2

from wsi_specdec.config import ReportConfig
from wsi_specdec.report.blocks import blocks_of
from wsi_specdec.report.flow import patient_flow
from wsi_specdec.report.gallery import make_call_rows, make_cards
from wsi_specdec.report.groups import (
    gap_rows,
    group_metrics,
    group_tables,
    robustness_rows,
    worst_rows,
)
from wsi_specdec.report.heatmap import colour_stops
from wsi_specdec.report.images import inline
from wsi_specdec.report.run import Run
from wsi_specdec.report.run_figures import ReportFigure
from wsi_specdec.report.tables import headline, percent
from wsi_specdec.report.tile_gallery import make_tile_shelves
from wsi_specdec.report.views import (
    arm_settings,
    cohort_rows,
    created_text,
    detail_tables,
    difference_tables,
    failures,
    provenance_rows,
    question_text,
    result_tables,
)
from wsi_specdec.report.wording import Wording

_TEMPLATE: Final = "report.html.j2"
_STUDY_TEMPLATE: Final = "study.html.j2"


def render_report(
    run: Run, figures: Sequence[ReportFigure], confidence: float, config: ReportConfig
) -> str:
    """Render a run as HTML that loads nothing from anywhere."""
    page: dict[str, Any] = {
        "say": run.wording,
        "config": config,
        "confidence": percent(confidence),
        "created": created_text(run),
        "revision": run.provenance.get("git_revision"),
        "question": question_text(run, config),
        "cohorts": cohort_rows(run),
        "flow": patient_flow(run),
        "cards": make_cards(run, config.max_slides),
        "shelves": make_tile_shelves(run, config.max_tiles),
        "failures": failures(run),
        "provenance": provenance_rows(run),
        "config_text": run.config,
        "stops": colour_stops(),
        "n_slides": len(run.slides),
        "results": None,
    }
    if run.results is None:
        rows = make_call_rows(run)
        page |= {"calls": rows, "counts": sorted(Counter(row.call for row in rows).items())}
    else:
        arms, settings = arm_settings(run.results)
        page |= {
            "results": result_tables(run.results),
            "headline": headline(run.results),
            "details": detail_tables(run.results),
            "differences": difference_tables(run.results),
            "groups": group_tables(run.results),
            "group_metrics": group_metrics(run.results),
            "worst": worst_rows(run.results),
            "gaps": gap_rows(run.results),
            "robustness": robustness_rows(run.results),
            "arms": arms,
            "settings": settings,
            "figures": figures,
        }
    return _environment().get_template(_TEMPLATE).render(page)


def render_study(
    title: str,
    made_by: tuple[str, str],
    pictures: Sequence[tuple[Path, str]],
    sections: Sequence[tuple[str, Sequence[str]]],
) -> str:
    """Render the page of a study as HTML that loads nothing from anywhere.

    Parameters
    ----------
    title
        Of the page.
    made_by
        The command, and what it was run with.
    pictures
        Figures, PNG, and what each shows.
    sections
        Titles, and lines of Markdown as `blocks_of` reads them.
    """
    page = {
        "say": Wording(),
        "title": title,
        "command": made_by[0],
        "made": made_by[1],
        "pictures": [
            {"uri": inline(path.read_bytes(), "image/png"), "caption": caption}
            for path, caption in pictures
        ],
        "sections": [{"title": name, "blocks": blocks_of(lines)} for name, lines in sections],
    }
    return _environment().get_template(_STUDY_TEMPLATE).render(page)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg_uri"] = lambda data: inline(data, "image/svg+xml")
    environment.filters["said"] = _said
    return environment


@jinja2.pass_context
def _said(context: jinja2.runtime.Context, text: str) -> str:
    """Put a text into the words of the page's run."""
    return str(context["say"](text))
