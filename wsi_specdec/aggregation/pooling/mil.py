"""Attention over a slide's tile embeddings, computed in numpy: calls need no torch."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import PrivateAttr
from scipy.special import expit, softmax

from wsi_specdec.aggregation.pooling.base import Pooler
from wsi_specdec.aggregation.tiles import SlideTiles
from wsi_specdec.config import Pooling
from wsi_specdec.config.base import Count
from wsi_specdec.errors import ModelError

Floats = NDArray[np.float64]
NAMES: Final = frozenset(
    {"mean", "scale"}
    | {
        f"{layer}.{part}"
        for layer in ("project", "content", "gate", "attend", "classify")
        for part in ("weight", "bias")
    }
)
# Tiles at a time: a few MB, whatever the slide's size.
_ROWS = 4096


@dataclass(frozen=True)
class MilWeights:
    """The network's tensors; equal where their bytes are.

    Attributes
    ----------
    data
        The content of `mil.safetensors`.
    """

    data: bytes = field(repr=False)

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[np.float32]]) -> Self:
        """Keep tensors, by name."""
        from safetensors.numpy import save

        return cls(save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}))

    @cached_property
    def sha256(self) -> str:
        """Hash of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def tensors(self) -> dict[str, Floats]:
        """The tensors, float64.

        Raises
        ------
        ModelError
            If the bytes are damaged, or tensors are missing or unknown.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            found = load(self.data)
        except SafetensorError as error:
            msg = f"the attention's weights are damaged ({error}); fit the aggregator again"
            raise ModelError(msg) from error
        if set(found) != NAMES:
            differing = ", ".join(sorted(set(found) ^ NAMES))
            msg = f"the attention's weights lack or add {differing}; fit the aggregator again"
            raise ModelError(msg)
        return {name: tensor.astype(np.float64) for name, tensor in found.items()}


class Mil(Pooler):
    r"""Gated attention (Ilse et al. 2018, "Attention-based Deep Multiple Instance Learning").

    With :math:`h_i` the projection of a tile's standardised embedding, ReLU(P e_i + p),

    .. math::

        a_i = \mathrm{softmax}_i\; w^T \left(\tanh(V h_i) \odot \sigma(U h_i)\right), \qquad
        s = \sigma\left(c^T \sum_i a_i h_i + b\right).
    """

    method: ClassVar[Pooling] = "mil"
    n_features: Count
    weights_sha256: str
    # How it was trained: the settings, the epoch that was kept, its cross-entropy on validation.
    training: dict[str, Any]
    _weights: MilWeights | None = PrivateAttr(default=None)

    @property
    def weights(self) -> MilWeights | None:
        """Its weights; None before it is given them."""
        return self._weights

    def with_weights(self, weights: MilWeights, where: Path | str = "") -> Self:
        """Return it with its weights.

        Raises
        ------
        ModelError
            If they are not those that it names.
        """
        if weights.sha256 != self.weights_sha256:
            msg = (
                f"the attention's weights {where} are not those that the aggregator was saved "
                "with: fit it again, or copy its whole folder"
            )
            raise ModelError(msg)
        known = self.model_copy()
        known._weights = weights  # noqa: SLF001 - of its own copy
        return known

    def pool(self, tiles: SlideTiles) -> float:
        """Return the probability of the slide."""
        return float(expit(self._forward(tiles)[0]))

    def attention(self, tiles: SlideTiles) -> Floats:
        """Return each tile's share of the attention, (n,), which sum to 1."""
        return self._forward(tiles)[1]

    def _forward(self, tiles: SlideTiles) -> tuple[float, Floats]:
        if self._weights is None:
            msg = "this attention has no weights: load the aggregator from its folder"
            raise ModelError(msg)
        embeddings = tiles.embeddings()
        if embeddings.shape[1] != self.n_features:
            msg = (
                f"the embeddings of {tiles.source.stem} have {embeddings.shape[1]} numbers and the "
                f"attention was fitted on {self.n_features}: score with the model it was fitted on"
            )
            raise ModelError(msg)
        return forward(self._weights.tensors, embeddings)


def forward(tensors: Mapping[str, Floats], embeddings: NDArray[np.float32]) -> tuple[float, Floats]:
    """Run the network over one slide.

    Parameters
    ----------
    tensors
        By name, as `MilWeights` has them.
    embeddings
        (n, D), one tile at least.

    Returns
    -------
    The slide's logit, and the attention (n,) of its tiles.
    """
    parts = []
    for hidden in _hidden(tensors, embeddings):
        content = np.tanh(hidden @ tensors["content.weight"].T + tensors["content.bias"])
        gate = expit(hidden @ tensors["gate.weight"].T + tensors["gate.bias"])
        parts.append((content * gate) @ tensors["attend.weight"][0] + tensors["attend.bias"][0])
    attention = np.asarray(softmax(np.concatenate(parts)), dtype=np.float64)
    pooled = np.zeros(tensors["project.bias"].shape)
    for first, hidden in enumerate(_hidden(tensors, embeddings)):
        pooled += attention[first * _ROWS : (first + 1) * _ROWS] @ hidden
    logit = pooled @ tensors["classify.weight"][0] + tensors["classify.bias"][0]
    return float(logit), attention


def _hidden(tensors: Mapping[str, Floats], embeddings: NDArray[np.float32]) -> Iterator[Floats]:
    for first in range(0, len(embeddings), _ROWS):
        rows = embeddings[first : first + _ROWS].astype(np.float64)
        standard = (rows - tensors["mean"]) / tensors["scale"]
        yield np.maximum(standard @ tensors["project.weight"].T + tensors["project.bias"], 0)
