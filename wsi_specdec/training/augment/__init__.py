"""Augmentation of a batch, on the device. Every one is named in the config, none is hidden."""

from wsi_specdec.training.augment.batch import augment
from wsi_specdec.training.augment.preview import preview_augmentations
from wsi_specdec.training.augment.stain import Stains

__all__ = ["Stains", "augment", "preview_augmentations"]
