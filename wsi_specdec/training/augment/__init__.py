"""Augmentation of a batch, on the device. Every one is named in the config, none is hidden."""

from wsi_specdec.training.augment.batch import augment
from wsi_specdec.training.augment.preview import preview_augmentations

__all__ = ["augment", "preview_augmentations"]
