"""Annotation settings of a site's own: which slides they are for, and whose stores they bind."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from wsi_specdec.cohort import Slide
from wsi_specdec.config import AnnotationConfig, TileConfig
from wsi_specdec.tiling.tile import params_of

SLIDE = Slide("a", Path("a.tif"), "p", site="radboud")
OWN = AnnotationConfig(positive=("3", "4"), min_coverage=0.25)
BY_SITE = AnnotationConfig(positive=("2",), by_site={"radboud": OWN})


def test_a_sites_settings_take_the_place_of_all() -> None:
    assert BY_SITE.of_site("radboud") == OWN
    for other in ("karolinska", None):
        assert BY_SITE.of_site(other) == AnnotationConfig(positive=("2",))


def test_sites_are_not_nested() -> None:
    with pytest.raises(ValidationError, match="radboud cannot hold another by_site"):
        AnnotationConfig(by_site={"radboud": BY_SITE})


def test_a_store_is_bound_to_the_settings_of_its_own_site() -> None:
    def params(slide: Slide, annotations: AnnotationConfig) -> str:
        return params_of(slide, TileConfig(annotations=annotations))

    elsewhere = replace(SLIDE, site="karolinska")
    assert params(SLIDE, BY_SITE) == params(SLIDE, OWN)
    assert params(elsewhere, BY_SITE) == params(elsewhere, AnnotationConfig(positive=("2",)))
    assert params(SLIDE, BY_SITE) != params(elsewhere, BY_SITE)
