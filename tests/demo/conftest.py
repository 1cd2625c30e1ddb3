"""One small composed cohort for all tests of this room."""

from pathlib import Path

import pytest

from wsi_specdec.cohort import Slide
from wsi_specdec.config import CohortConfig
from wsi_specdec.demo import Patches, compose_cohort, load_patches

SMALL = CohortConfig(train=2, validation=2, internal=4, external=4)


@pytest.fixture(scope="session")
def patches() -> Patches:
    return load_patches()


@pytest.fixture(scope="session")
def small_config() -> CohortConfig:
    return SMALL


@pytest.fixture(scope="session")
def cohort_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("composed")
    compose_cohort(out, SMALL)
    return out


@pytest.fixture(scope="session")
def slides(cohort_dir: Path) -> list[Slide]:
    return compose_cohort(cohort_dir, SMALL)
