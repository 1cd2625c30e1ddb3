"""The page of a study, Markdown and HTML: how it was made, its data, results and figures."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsi_specdec.files import write_text
from wsi_specdec.report import render_study
from wsi_specdec.report.tables import percent
from wsi_specdec.studies.outcome import Outcome
from wsi_specdec.studies.pages.tables import (
    choices_table,
    cost_table,
    data_table,
    differences_table,
    metrics_table,
)

PAGE_FILE: Final = "page.md"
HTML_FILE: Final = "page.html"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its title, and its lines of Markdown."""

    title: str
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of the page: where it lies, and what it shows, a sentence or two."""

    path: Path
    caption: str


def write_page(
    out: Path,
    outcome: Outcome,
    pictures: Sequence[Picture] = (),
    sections: Sequence[Section] | None = None,
) -> Path:
    """Write `page.md` of a study, and `page.html`, which needs no other file.

    Parameters
    ----------
    out
        The study's folder.
    outcome
        What it found.
    pictures
        Figures below `out`, in the order shown.
    sections
        Tables; those of `standard_sections` if None.

    Returns
    -------
    Path
        The page in Markdown.
    """
    given = standard_sections(outcome) if sections is None else sections
    shown = [section for section in given if section.lines]
    title, (command, made) = outcome.title or outcome.study, _made_by(outcome)
    lines = [f"# {title}", "", "```bash", command, "```", "", made]
    for picture in pictures:
        link = picture.path.relative_to(out).as_posix()
        lines += ["", f"![{_plain(picture.caption)}]({link})", "", picture.caption]
    for section in shown:
        lines += ["", f"## {section.title}", "", *section.lines]
    drawn = [(picture.path, picture.caption) for picture in pictures]
    parts = [(section.title, section.lines) for section in shown]
    write_text(out / HTML_FILE, render_study(title, (command, made), drawn, parts))
    path = out / PAGE_FILE
    write_text(path, "\n".join(lines) + "\n")
    return path


def standard_sections(outcome: Outcome, cohorts: Sequence[str] | None = None) -> list[Section]:
    """Return data, results, differences, chosen values, cost and notes, of these cohorts."""
    conditions = outcome.conditions
    confidence = percent(_confidence(outcome))
    over = (
        f"Mean over {len(outcome.seeds)} trainings, with {confidence} intervals over trainings "
        "and patients."
    )
    paired = (
        "First arm minus second on the same images and seeds; p-values are two-sided, and "
        "adjusted (Holm) over the pairs of a cohort and metric."
    )
    return [
        Section("Data", data_table(conditions)),
        Section("Results", [over, "", *metrics_table(conditions, cohorts)]),
        Section("Differences", [paired, "", *differences_table(conditions, cohorts)]),
        Section("Chosen values", choices_table(outcome) if outcome.choices else []),
        Section("Cost", cost_table(conditions)),
        Section("Notes", [f"- {note}" for note in outcome.notes]),
    ]


def _made_by(outcome: Outcome) -> tuple[str, str]:
    """Say by which command and with what the study was made, so that it can be made again."""
    made = outcome.provenance
    _, *words = [str(word) for word in made.get("command") or [""]]
    revision = made.get("git_revision") or "unknown"
    seeds = ", ".join(map(str, outcome.seeds))
    told = f"Revision {revision}, {made.get('created', 'no date')}; seeds {seeds}."
    return shlex.join(["wsi-specdec", *words]), told


def _confidence(outcome: Outcome) -> float:
    stage: Any = outcome.config.get("evaluate") or {}
    return float(stage.get("confidence", 0.95))


def _plain(text: str) -> str:
    """Leave out what would end the text of a link."""
    return text.replace("[", "(").replace("]", ")")
