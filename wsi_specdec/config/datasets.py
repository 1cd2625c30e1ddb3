"""A public data set in the layout that it is published in."""

from typing import Annotated, Literal

from pydantic import Field

from wsi_specdec.config.base import Count, StageConfig

DatasetName = Literal["panda", "camelyon16", "camelyon17", "peso"]


class DatasetConfig(StageConfig):
    """Which data set a folder holds, and which of its sites are trained on: docs/datasets.md."""

    name: DatasetName
    # Sites whose patients are split into train, validation and internal; the other sites are
    # external cohorts.
    internal: Annotated[tuple[str, ...], Field(min_length=1)]
    # Patients drawn of each site, as many with cancer as without where there are; none takes all.
    max_patients: Count | None = None
    # Whether slides whose files are missing are left out; otherwise they are an error.
    partial: bool = False
