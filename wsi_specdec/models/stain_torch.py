"""Stain normalisation of batches on a device: the numbers of `wsi_specdec.stain`, in torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsi_specdec.stain import WHITE, StainProfile, lab, mixing

_BLACK_ROOT: Final = 4 / 29
_STRAIGHT: Final = 3 * (6 / 29) ** 2


@dataclass(frozen=True, slots=True)
class BatchNormaliser:
    """Brings batches of tiles, each by the profile of its own slide, to one target.

    Attributes
    ----------
    matrices, offsets
        float32 (k, 3, 3) and (k, 3), of each source: what `wsi_specdec.stain.mixing` returns.
    usable
        bool (k,): tiles of sources that are not stay as they are.
    in_lab
        Whether they mix CIE cube roots (Reinhard) in place of optical densities.
    """

    matrices: Tensor
    offsets: Tensor
    usable: Tensor
    in_lab: bool

    @classmethod
    def of(
        cls, sources: Sequence[StainProfile], target: StainProfile, device: torch.device
    ) -> "BatchNormaliser":
        """Prepare for tiles of several slides.

        Raises
        ------
        ValueError
            If a usable source and the target are of different methods.
        """
        usable = [source.status == target.status == "ok" for source in sources]
        pairs = [
            mixing(source, target) if ok else (np.eye(3), np.zeros(3))
            for source, ok in zip(sources, usable, strict=True)
        ]
        matrices = np.array([matrix for matrix, _ in pairs]).reshape(-1, 3, 3)
        offsets = np.array([offset for _, offset in pairs]).reshape(-1, 3)
        return cls(
            torch.as_tensor(matrices, dtype=torch.float32, device=device),
            torch.as_tensor(offsets, dtype=torch.float32, device=device),
            torch.tensor(usable, dtype=torch.bool, device=device),
            target.method == "reinhard",
        )

    def __call__(self, tiles: Tensor, source_index: Tensor) -> Tensor:
        """Normalise a batch.

        Parameters
        ----------
        tiles
            uint8 (n, T, T, 3), on the device.
        source_index
            Number of each tile's source, int64 (n,), on the device.

        Returns
        -------
        Tensor
            A new tensor, uint8 (n, T, T, 3): within one grey level of `wsi_specdec.stain`'s in at
            least 99.9 % of values.
        """
        matrix = self.matrices[source_index]
        offset = self.offsets[source_index]
        planes = tiles.movedim(-1, 1).float()  # (n, 3, T, T)
        through = _through_lab if self.in_lab else _through_density
        moved = through(planes, matrix, offset).round_().clamp_(0, 255)
        out = moved.to(torch.uint8).movedim(1, -1)
        return torch.where(self.usable[source_index][:, None, None, None], out, tiles)


def _through_density(planes: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """Grey levels (n, 3, T, T) with mixed optical densities; `planes` is overwritten."""
    density = planes.add_(1).div_(WHITE).log_().neg_()
    return mix_planes(density, matrix, offset).neg_().exp_().mul_(WHITE).sub_(1)


def _through_lab(planes: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """Grey levels (n, 3, T, T) with mixed CIE cube roots; `planes` is overwritten."""
    values = planes.div_(255)
    bright = values.clamp(min=0.04045).add_(0.055).div_(1.055).pow_(2.4)
    xyz = mix_planes(
        torch.where(values > 0.04045, bright, values / 12.92), _fixed(lab.TO_XYZ, planes)
    )
    edge = (6 / 29) ** 3
    roots = torch.where(xyz > edge, xyz.clamp(min=edge).pow(1 / 3), xyz / _STRAIGHT + _BLACK_ROOT)
    moved = mix_planes(roots, matrix, offset)
    xyz = torch.where(moved > 6 / 29, moved**3, (moved - _BLACK_ROOT) * _STRAIGHT)
    light = mix_planes(xyz, _fixed(lab.FROM_XYZ, planes)).clamp_(0, 1)
    bright = light.clamp(min=0.0031308).pow_(1 / 2.4).mul_(1.055).sub_(0.055)
    return torch.where(light > 0.0031308, bright, light * 12.92).mul_(255)


def mix_planes(planes: Tensor, matrix: Tensor, offset: Tensor | None = None) -> Tensor:
    """Return `matrix` · planes + `offset` of every pixel.

    Written out, since a matrix product may be done at lower precision on a GPU.

    Parameters
    ----------
    planes
        (n, 3, T, T).
    matrix, offset
        (n, 3, 3) and (n, 3), or (1, 3, 3) and (1, 3) for all alike.
    """
    out = torch.empty_like(planes)
    for channel in range(3):
        row = matrix[:, channel, :, None, None]  # (n, 3, 1, 1)
        mixed = torch.mul(planes[:, 0], row[:, 0], out=out[:, channel])
        for source in (1, 2):
            mixed.addcmul_(planes[:, source], row[:, source])
        if offset is not None:
            mixed += offset[:, channel, None, None]
    return out


def _fixed(matrix: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.from_numpy(matrix).to(like)[None]
