"""Where a training stands, as one file, so that a kill costs little and spoils nothing."""

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
from wsi_specdec.models import read_tensors
from wsi_specdec.training.loop import Position
from wsi_specdec.training.optimiser import optimised
from wsi_specdec.training.task import Task

_FILE = "last.safetensors"
_BEST = "best-{:05d}.safetensors"
_STATE = "state"
_MODEL = "model."
_OPTIMISER = "optimiser."
_AVERAGE = "average."
_TOTALS = "totals"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State of a training. Random streams are derived from the seed, so none is kept.

    Attributes
    ----------
    settings
        What the training was started with.
    history
        A row per finished epoch.
    position
        How far the next epoch has come.
    tensors
        Weights, buffers, the optimiser's moments and the mean of the weights.
    """

    settings: Mapping[str, Any]
    history: list[dict[str, Any]]
    position: Position
    tensors: dict[str, Tensor] = field(repr=False)

    def restore(self, task: Task) -> None:
        """Set the network, its mean and the optimiser to this state."""
        task.module.load_state_dict(self._within(_MODEL))
        if task.average is not None:
            task.average.module.load_state_dict(self._within(_AVERAGE))
        state = task.optimiser.state_dict()
        state["state"] = {
            number: {
                name: _laid_out(value, parameter)
                for name, value in self._within(f"{_OPTIMISER}{number}.").items()
            }
            for number, parameter in enumerate(optimised(task.optimiser))
        }
        task.optimiser.load_state_dict(state)

    def _within(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def save_checkpoint(
    out: Path,
    task: Task,
    settings: Mapping[str, Any],
    history: list[dict[str, Any]],
    position: Position,
) -> None:
    """Write the state over the last one, atomically."""
    tensors = {_TOTALS: position.totals} | _named(_MODEL, task.module)
    if task.average is not None:
        tensors |= _named(_AVERAGE, task.average.module)
    for number, parameter in enumerate(optimised(task.optimiser)):
        for name, value in task.optimiser.state[parameter].items():
            # SGD without momentum holds a None.
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMISER}{number}.{name}"] = value
    state = {
        "settings": dict(settings),
        "history": history,
        "step": position.step,
        "seconds": position.seconds,
    }
    data = save(_plain(tensors), {_STATE: json.dumps(state, allow_nan=False)})
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
        position = Position(int(state["step"]), tensors.pop(_TOTALS), float(state["seconds"]))
        return Checkpoint(state["settings"], list(state["history"]), position, tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        msg = f"the checkpoint {path} is damaged ({error}); remove it to train from the start"
        raise ModelError(msg) from error


def save_best(out: Path, epoch: int, module: nn.Module) -> None:
    """Keep the weights of the best epoch so far, beside those of earlier ones.

    `drop_worse` removes the earlier ones, once a checkpoint says that this epoch is done.
    """
    path = out / CHECKPOINT_DIR / _BEST.format(epoch)
    write_bytes(path, save(_plain(_named("", module))))


def drop_worse(out: Path, epoch: int) -> None:
    """Remove kept weights of other epochs than the best."""
    folder = out / CHECKPOINT_DIR
    for path in folder.glob(_BEST.replace("{:05d}", "*")):
        if path.name != _BEST.format(epoch):
            path.unlink()


def load_best(out: Path, epoch: int, module: nn.Module) -> None:
    """Set a network to the weights of the best epoch.

    Raises
    ------
    ModelError
        If they are missing or damaged.
    """
    module.load_state_dict(read_tensors(out / CHECKPOINT_DIR / _BEST.format(epoch)))


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


def _named(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _laid_out(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """Give a moment its parameter's memory format, as the fused step expects; keep scalars."""
    return torch.empty_like(parameter).copy_(value) if value.ndim else value
