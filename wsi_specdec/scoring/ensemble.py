"""One model or several, run over the same tiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax, logsumexp

from wsi_specdec.config import ScoreConfig, TileConfig, make_config
from wsi_specdec.errors import ConfigError, ModelError
from wsi_specdec.files import sha256_of
from wsi_specdec.keys import LOGIT_PREFIX, MODEL_HASH, PROB_PREFIX
from wsi_specdec.models import (
    ModelSpec,
    Precision,
    Predictor,
    load_model,
    load_spec,
    model_sha256,
    probabilities,
    resolve_device,
)
from wsi_specdec.models.spec import MPP_TOLERANCE

Floats = NDArray[np.float32]

# What fits the caches of a CPU, and what fills a GPU.
_BATCH = {"cpu": 32, "cuda": 256}


@dataclass(frozen=True)
class Members:
    """The models that score together, as their folders describe them; no weights are read.

    Attributes
    ----------
    folders, specs, hashes
        Of each model: where it lies, what it is, and its `model_sha256`.
    """

    folders: tuple[Path, ...]
    specs: tuple[ModelSpec, ...]
    hashes: tuple[str, ...]

    @classmethod
    def of(cls, models: Path | Sequence[Path]) -> "Members":
        """Read the models' descriptions.

        Raises
        ------
        ModelError
            If a model cannot be read, is given twice, or scores other classes or tiles than the
            first.
        """
        given = (models,) if isinstance(models, Path) else models
        # A worker may run in another folder.
        folders = tuple(folder.absolute() for folder in given)
        if not folders:
            msg = "scoring needs a model: name the folder of one, or of several"
            raise ModelError(msg)
        specs = tuple(load_spec(folder) for folder in folders)
        hashes = tuple(model_sha256(folder) for folder in folders)
        for folder, spec, own in zip(folders[1:], specs[1:], hashes[1:], strict=True):
            for name in ("classes", "tile_size"):
                ours, first = getattr(spec, name), getattr(specs[0], name)
                if ours != first:
                    msg = (
                        f"models that score together need the same {name}: {folder} has {ours} "
                        f"and {folders[0]} has {first}"
                    )
                    raise ModelError(msg)
            if hashes.count(own) > 1:
                msg = f"the model {folder} is given twice"
                raise ModelError(msg)
        return cls(folders, specs, hashes)

    def described(self, symmetries: int) -> dict[str, Any]:
        """Name what scores: a model alone by its own hash, else all that shapes the scores.

        So an aggregator that was fitted on one model's scores is not applied to an ensemble's.
        """
        alone = len(self.hashes) == 1 and symmetries == 1
        together = {"models": list(self.hashes), "symmetries": symmetries}
        return {
            MODEL_HASH: self.hashes[0] if alone else sha256_of(together),
            "models": list(self.hashes),
        }


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Loaded models on one device.

    Attributes
    ----------
    members
        What they are.
    predictors
        Their networks.
    device, batch_size
        Where they are, and how many tiles they take at once.
    """

    members: Members
    predictors: tuple[Predictor, ...]
    device: torch.device
    batch_size: int

    @classmethod
    def load(cls, members: Members, config: ScoreConfig) -> "Ensemble":
        """Load the weights.

        Raises
        ------
        ModelError
            If they cannot be loaded, or the device does not exist.
        """
        device = resolve_device(config.device)
        precision = precision_of(config)
        loaded = [load_model(folder, config.device) for folder in members.folders]
        predictors = tuple(
            Predictor(module, spec, precision, config.symmetries, config.embeddings)
            for module, spec in loaded
        )
        asked = config.batch_size
        size = _BATCH.get(device.type, _BATCH["cpu"]) if asked == "auto" else asked
        return cls(members, predictors, device, size)

    @property
    def feature_sizes(self) -> list[int]:
        """Widths of the models' embeddings."""
        return [predictor.n_features for predictor in self.predictors]

    def columns(self, logits: Sequence[Floats]) -> tuple[Floats, Floats, dict[str, Floats]]:
        """Turn each model's logits, (n, outputs), into what the file of scores holds.

        Returns
        -------
        logits, probs : float32, (n, outputs)
            Of one model its own. Of several, the mean of their calibrated probabilities, and its
            logit: log-odds, or the logarithm where there are more than two classes.
        others : dict
            Of several models, each one's own columns by name, (n,).
        """
        specs = self.members.specs
        calibrated = [
            probabilities(own, spec.temperature) for own, spec in zip(logits, specs, strict=True)
        ]
        if len(specs) == 1:
            return logits[0], calibrated[0], {}
        others = {}
        for number, parts in enumerate(zip(logits, calibrated, strict=True), start=1):
            for prefix, values in zip((LOGIT_PREFIX, PROB_PREFIX), parts, strict=True):
                for column, name in enumerate(specs[0].score_names):
                    others[f"model_{number}_{prefix}{name}"] = values[:, column]
        temperatures = [spec.temperature for spec in specs]
        mean = np.mean(np.stack(calibrated).astype(np.float64), axis=0).astype(np.float32)
        return _logit_of_mean(logits, temperatures), mean, others


def cut_for(members: Members, tile: TileConfig) -> TileConfig:
    """Return settings that cut slides into the tiles that models take, for no store.

    Raises
    ------
    ModelError
        If models take tiles of different resolutions, or `tile` asks for another one.
    ConfigError
        If `tile` does not go with the models' tile size, or normalises stains: models do.
    """
    if tile.stain.method != "none":
        msg = (
            "slides are scored as they are and models normalise stains themselves: leave out "
            "stain and stain_target of tile"
        )
        raise ConfigError(msg)
    mpp = next((s.mpp for s in members.specs if s.mpp is not None), None)
    mpp = mpp if tile.mpp is None else tile.mpp
    for folder, spec in zip(members.folders, members.specs, strict=True):
        if mpp is None or spec.mpp is None:
            continue
        if abs(mpp - spec.mpp) > MPP_TOLERANCE * spec.mpp:
            msg = (
                f"the model {folder} takes tiles of {spec.mpp:.4g} µm per pixel, and {mpp:.4g} "
                "are asked for: leave out mpp of tile, and score with models of one resolution"
            )
            raise ModelError(msg)
    changes = {
        "tile_size": members.specs[0].tile_size,
        # Where tiles lie and how large they are may come from a file.
        "mpp": mpp if tile.coords is None else None,
        "codec": "lossless",
    }
    return make_config(TileConfig, tile.model_dump() | changes, "tile settings of score")


def precision_of(config: ScoreConfig) -> Precision:
    """Precision that is computed in, on the device of the settings."""
    if config.precision != "auto":
        return config.precision
    return "bfloat16" if resolve_device(config.device).type == "cuda" else "float32"


def _logit_of_mean(logits: Sequence[Floats], temperatures: Sequence[float]) -> Floats:
    """Logit of the mean calibrated probability, computed so that none becomes infinite."""
    divided = zip(logits, temperatures, strict=True)
    scaled = np.stack([np.asarray(own, np.float64) / t for own, t in divided])
    if scaled.shape[2] == 1:
        for_it, against = (logsumexp(log_expit(sign * scaled), axis=0) for sign in (1, -1))
        return np.asarray(for_it - against, np.float32)
    total = logsumexp(log_softmax(scaled, axis=2), axis=0)
    return np.asarray(total - np.log(len(scaled)), np.float32)
