"""Public data sets as they are published: a folder to the rows of a manifest."""

from wsi_specdec.datasets.cohorts import dataset_slides

__all__ = ["dataset_slides"]
