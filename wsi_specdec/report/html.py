"""The report as one self-contained HTML file."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2

from wsi_specdec.config import ReportConfig
from wsi_specdec.report.flow import patient_flow
from wsi_specdec.report.gallery import make_call_rows, make_cards
from wsi_specdec.report.groups import GROUP_METRICS, gap_rows, group_tables, worst_rows
from wsi_specdec.report.heatmap import colour_stops
from wsi_specdec.report.images import inline
from wsi_specdec.report.run import Run
from wsi_specdec.report.run_figures import ReportFigure
from wsi_specdec.report.tables import HEADLINE, percent
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
            "headline": HEADLINE,
            "details": detail_tables(run.results),
            "differences": difference_tables(run.results),
            "groups": group_tables(run.results),
            "group_metrics": GROUP_METRICS,
            "worst": worst_rows(run.results),
            "gaps": gap_rows(run.results),
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
