"""Worlds of `compared`: one of a test's own, or one that all tests look at."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import compared
import pytest
from compared import BuildWorld, Results, World


@pytest.fixture
def build_world(tmp_path: Path) -> BuildWorld:
    """Return a maker of worlds below `tmp_path`."""
    return partial(compared.build_world, tmp_path)


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Four arms with two seeds; two external sites and scanners, and one slide without tissue."""
    slides = [
        *compared.cohort("validation", 8),
        *compared.cohort("internal", 16, slides_each=2),
        *[
            replace(slide, site="ab"[row % 4 // 2], scanner="xy"[row % 3 // 2])
            for row, slide in enumerate(compared.cohort("external", 20))
        ],
        *compared.cohort("train", 2),
    ]
    arms = {"wd": 0.4, "sd": 1.0, "wd+macenko": 0.6, "sd+macenko": 1.1}
    root = tmp_path_factory.mktemp("two-sites")
    return compared.build_world(root, slides, arms, seeds=(1, 0), empty=["external-3"])


@pytest.fixture
def two_sites(shared_world: World) -> World:
    """Return the shared world with lists of its own; its files are not to be changed."""
    runs = {arm: list(each) for arm, each in shared_world.runs.items()}
    slides, stores = list(shared_world.slides), dict(shared_world.stores)
    return replace(shared_world, slides=slides, stores=stores, runs=runs)


@pytest.fixture(scope="session")
def _shared_results(shared_world: World) -> Results:
    return shared_world.results()


@pytest.fixture
def results(_shared_results: Results) -> Results:
    """Results of `two_sites`, a copy of each test's own."""
    return copy.deepcopy(_shared_results)
