"""Report: everything a run wrote, turned into figures, heatmaps, tables and one HTML file."""

from pathlib import Path

from wsi_specdec.config import ReportConfig
from wsi_specdec.files import write_text
from wsi_specdec.keys import REPORT_FILE
from wsi_specdec.report.export import export_run, regions_geojson
from wsi_specdec.report.heatmap import outline, overlay, score_map, write_heatmap
from wsi_specdec.report.heatmaps import write_heatmaps
from wsi_specdec.report.html import render_report, render_study
from wsi_specdec.report.layout import Layout, ScoreGrid, layout_of, score_grid
from wsi_specdec.report.ome_tiff import write_ome_tiff
from wsi_specdec.report.ome_zarr import ScoreMap, read_score_map, write_score_map
from wsi_specdec.report.regions import CalledRegion, called_regions
from wsi_specdec.report.run import Run, read_run, report_config
from wsi_specdec.report.run_figures import make_figures, write_figures
from wsi_specdec.report.terminal import print_calls, print_results
from wsi_specdec.report.views import confidence_of

__all__ = [
    "CalledRegion",
    "Layout",
    "Run",
    "ScoreGrid",
    "ScoreMap",
    "called_regions",
    "export_run",
    "layout_of",
    "outline",
    "overlay",
    "print_calls",
    "print_results",
    "read_run",
    "read_score_map",
    "regions_geojson",
    "render_study",
    "report_config",
    "score_grid",
    "score_map",
    "write_heatmap",
    "write_heatmaps",
    "write_ome_tiff",
    "write_report",
    "write_score_map",
]


def write_report(run_dir: Path, config: ReportConfig) -> Path:
    """Write the heatmaps, figures and `report.html` of a finished run.

    Parameters
    ----------
    run_dir
        Output of a pipeline, a comparison, the demo or `process`, laid out as the design says.
    config
        Title, note and how many slides are shown.

    Returns
    -------
    Path
        The report: one file that needs no other and no network.

    Raises
    ------
    RunDirectoryError, StoreError, ManifestError
        If a file of the run is missing or damaged; the message names it.
    """
    run = read_run(run_dir)
    confidence = confidence_of(run)
    write_heatmaps(run)
    if run.images is None:
        export_run(run, config.export)
    figures = [] if run.results is None else make_figures(run, run.results, confidence)
    write_figures(run, figures)
    path = run_dir / REPORT_FILE
    write_text(path, render_report(run, figures, confidence, config))
    return path
