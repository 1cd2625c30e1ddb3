"""The attention as a torch module, for learning; `pooling.mil` computes calls from its tensors."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from wsi_specdec.config import MilConfig


class GatedAttention(nn.Module):
    """Gated attention (Ilse et al. 2018, equations 7 and 9) over the embeddings of one slide.

    Parameters
    ----------
    mean, scale
        (D,), by which embeddings are standardised.
    config
        Widths and dropout.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, mean: NDArray[np.float32], scale: NDArray[np.float32], config: MilConfig
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.project = nn.Linear(len(mean), config.hidden)
        self.content = nn.Linear(config.hidden, config.attention)
        self.gate = nn.Linear(config.hidden, config.attention)
        self.attend = nn.Linear(config.attention, 1)
        self.classify = nn.Linear(config.hidden, 1)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the logit, shape (1,), of a slide's embeddings (n, D)."""
        standard = (embeddings - self.mean) / self.scale
        hidden = self.drop(functional.relu(self.project(standard)))  # (n, H)
        gated = torch.tanh(self.content(hidden)) * torch.sigmoid(self.gate(hidden))
        attention = torch.softmax(self.attend(self.drop(gated))[:, 0], dim=0)  # (n,)
        logit: Tensor = self.classify(attention @ hidden)
        return logit

    def tensors(self) -> Mapping[str, NDArray[np.float32]]:
        """Copy all that a call needs, by name."""
        return {
            name: tensor.detach().cpu().numpy().astype(np.float32)
            for name, tensor in self.state_dict().items()
        }
