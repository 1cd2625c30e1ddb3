"""A model's folder: weights in safetensors, and `model.json`."""

from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from wsi_specdec.errors import ModelError
from wsi_specdec.files import sha256_of_file, write_bytes
from wsi_specdec.keys import WEIGHTS_FILE
from wsi_specdec.models.build import build_classifier, read_tensors, resolve_device
from wsi_specdec.models.spec import ModelSpec, read_spec, write_spec


def save_model(folder: Path, module: nn.Module, spec: ModelSpec) -> None:
    """Write a model's weights, then `model.json`, each atomically.

    A folder with `model.json` is a whole model: it is written last and holds the weights' hash.
    """
    weights = folder / WEIGHTS_FILE
    tensors = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    # Not by safetensors itself, whose files their owner alone may read.
    write_bytes(weights, save(tensors))
    write_spec(folder, spec, sha256_of_file(weights))


def load_model(folder: Path, device: str = "auto") -> tuple[nn.Module, ModelSpec]:
    """Load a model, ready to predict, on a device.

    Returns
    -------
    module, spec
        The network in evaluation mode with channels-last weights, and what it is.

    Raises
    ------
    ModelError
        If a file is missing or damaged, the weights are not those that `model.json` was written
        with, or the device does not exist.
    """
    spec, weights_sha256 = read_spec(folder)
    path = folder / WEIGHTS_FILE
    tensors = read_tensors(path, weights_sha256)
    module = build_classifier(spec)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        msg = f"{path} does not fit the network {spec.arch!r} of the model.json beside it: {error}"
        raise ModelError(msg) from error
    placed = module.to(resolve_device(device)).to(memory_format=torch.channels_last)
    return placed.eval(), spec
