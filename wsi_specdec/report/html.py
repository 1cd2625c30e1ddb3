"""The report as one self-contained HTML file."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2

from wsi_specdec.config import ReportConfig
from wsi_specdec.report.gallery import make_call_rows, make_cards
from wsi_specdec.report.heatmap import colour_stops
from wsi_specdec.report.images import inline
from wsi_specdec.report.run import Run
from wsi_specdec.report.run_figures import ReportFigure
from wsi_specdec.report.tables import HEADLINE, percent
from wsi_specdec.report.views import (
    arm_settings,
    cohort_rows,
    created_text,
    detail_tables,
    difference_tables,
    failures,
    provenance_rows,
    result_tables,
)

_TEMPLATE: Final = "report.html.j2"


def render_report(
    run: Run, figures: Sequence[ReportFigure], confidence: float, config: ReportConfig
) -> str:
    """Render a run as HTML that loads nothing from anywhere."""
    page: dict[str, Any] = {
        "config": config,
        "confidence": percent(confidence),
        "created": created_text(run),
        "revision": run.provenance.get("git_revision"),
        "cohorts": cohort_rows(run),
        "cards": make_cards(run, config.max_slides),
        "failures": failures(run),
        "provenance": provenance_rows(run),
        "config_text": run.config,
        "stops": colour_stops(),
        "n_slides": len(run.slides),
        "results": None,
    }
    if run.results is None:
        page["calls"] = make_call_rows(run)
    else:
        arms, settings = arm_settings(run.results)
        page |= {
            "results": result_tables(run.results),
            "headline": HEADLINE,
            "details": detail_tables(run.results),
            "differences": difference_tables(run.results),
            "arms": arms,
            "settings": settings,
            "figures": figures,
        }
    return _environment().get_template(_TEMPLATE).render(page)


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
    return environment
