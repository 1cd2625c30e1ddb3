"""Attention over a slide's tile embeddings."""

from typing import Annotated

from pydantic import Field

from wsi_specdec.config.base import Count, NonNegative, Positive, StageConfig


class MilConfig(StageConfig):
    """Gated attention of Ilse et al. (2018): docs/aggregation.md."""

    # Width to which embeddings are projected, and of the attention's two layers.
    hidden: Count = 128
    attention: Count = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    epochs: Count = 100
    # Epochs without a lower validation cross-entropy after which training ends.
    patience: Count = 20
    # Slides in one step of the optimiser.
    batch_size: Count = 8
    # Tiles of a slide that one step sees, at most, drawn anew each time; a call sees all of them.
    max_tiles: Count = 8192
    lr: Positive = 2e-4
    weight_decay: NonNegative = 1e-4
    # λ of spectral decoupling on the slide's logit, and the logit that is not penalised.
    sd_coef: NonNegative = 0.0
    sd_gamma: float = 0.0
    # Embeddings kept in memory, in MiB; slides beyond it are read in each epoch.
    cache_mb: NonNegative = 1024.0
    # "cuda" is faster on large cohorts, and not the same to the last bit.
    device: str = "cpu"
    seed: int = 0
