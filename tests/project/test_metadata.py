"""Licence, citation and changelog say what they must."""

import re
from pathlib import Path

import yaml

import wsi_specdec

ROOT = Path(__file__).parents[2]


def test_licence_is_the_whole_of_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert all(f"\n   {number}. " in text for number in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text


def test_citation_file_cites_both_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "license"} <= citation.keys()
    assert citation["version"] == wsi_specdec.__version__
    references = citation["references"]
    for reference in references:
        assert {"type", "title", "authors", "year"} <= reference.keys()
        assert all({"family-names", "given-names"} <= a.keys() for a in reference["authors"])
    assert references[0]["doi"] == "10.1016/j.isci.2022.103767"
    numbers = [item["value"] for r in references for item in r["identifiers"]]
    assert numbers == ["arXiv:2103.17171", "arXiv:2011.09468"]


def test_changelog_has_a_section_for_what_comes_next() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[([^\]]+)\]", text, flags=re.MULTILINE)
    assert sections[0] == "Unreleased"
    assert set(re.findall(r"^### (\w+)$", text, flags=re.MULTILINE)) <= {
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
        "Security",
    }
