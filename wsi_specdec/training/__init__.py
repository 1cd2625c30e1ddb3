"""From tile stores to a classifier of tiles."""

from wsi_specdec.losses import LossParts, SpectralDecoupling
from wsi_specdec.training.data import TileSet, TrainingData, choose_tiles
from wsi_specdec.training.run import train
from wsi_specdec.training.search import train_searched
from wsi_specdec.training.temperature import fit_temperature

__all__ = [
    "LossParts",
    "SpectralDecoupling",
    "TileSet",
    "TrainingData",
    "choose_tiles",
    "fit_temperature",
    "train",
    "train_searched",
]
