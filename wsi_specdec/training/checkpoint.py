"""Where a training stands, as one file, so that a kill leaves the last epoch or this one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from wsi_specdec.config import differences
from wsi_specdec.errors import ModelError, SettingsMismatchError
from wsi_specdec.files import write_bytes
from wsi_specdec.keys import CHECKPOINT_DIR

_FILE = "last.safetensors"
_STATE = "state"
_MODEL = "model."
_OPTIMISER = "optimiser."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State after a whole epoch. Random streams are derived from the seed, so none is kept.

    Attributes
    ----------
    epochs_done
        Epochs that are finished.
    settings
        What the training was started with.
    history
        A row per finished epoch.
    tensors
        Weights, buffers and the optimiser's moments.
    """

    epochs_done: int
    settings: Mapping[str, Any]
    history: list[dict[str, Any]]
    tensors: dict[str, Tensor] = field(repr=False)

    def restore(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Set the network and the optimiser to this state."""
        weights = {
            k.removeprefix(_MODEL): v for k, v in self.tensors.items() if k.startswith(_MODEL)
        }
        module.load_state_dict(weights)
        state = optimiser.state_dict()
        state["state"] = {}
        for number, parameter in enumerate(_parameters(optimiser)):
            prefix = f"{_OPTIMISER}{number}."
            found = {k: v for k, v in self.tensors.items() if k.startswith(prefix)}
            state["state"][number] = {
                k.removeprefix(prefix): _laid_out(v, parameter) for k, v in found.items()
            }
        optimiser.load_state_dict(state)


def save_checkpoint(
    out: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    history: list[dict[str, Any]],
) -> None:
    """Write the state after an epoch over the last one, atomically."""
    tensors = {f"{_MODEL}{k}": v for k, v in module.state_dict().items()}
    for number, parameter in enumerate(_parameters(optimiser)):
        for name, value in optimiser.state[parameter].items():
            tensors[f"{_OPTIMISER}{number}.{name}"] = value
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    state = {"settings": dict(settings), "history": history}
    data = save(plain, {_STATE: json.dumps(state, allow_nan=False)})
    write_bytes(out / CHECKPOINT_DIR / _FILE, data)


def load_checkpoint(out: Path) -> Checkpoint | None:
    """Read the checkpoint of a model's folder; None if there is none.

    Raises
    ------
    ModelError
        If the file is damaged.
    """
    path = out / CHECKPOINT_DIR / _FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()[_STATE])
            # Cloned, since what the file holds is mapped and not this process's own.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        history = list(state["history"])
        return Checkpoint(len(history), state["settings"], history, tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        msg = f"the checkpoint {path} is damaged ({error}); remove it to train from the start"
        raise ModelError(msg) from error


def check_settings(kept: Mapping[str, Any], asked: Mapping[str, Any], out: Path) -> None:
    """Refuse to go on in a folder that was made with other settings.

    Raises
    ------
    SettingsMismatchError
        Naming each setting that differs, and both its values.
    """
    differing = differences(kept, asked)
    if differing:
        msg = (
            f"{out} was trained with other settings: {'; '.join(differing)}; "
            "train into another folder, or remove this one"
        )
        raise SettingsMismatchError(msg)


def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """Give a moment its parameter's memory format, as the fused step expects; keep scalars."""
    return torch.empty_like(parameter).copy_(value) if value.ndim else value
