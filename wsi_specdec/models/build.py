"""Builds classifiers from timm, and places weights that were made elsewhere."""

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from wsi_specdec.errors import ModelError
from wsi_specdec.keys import WEIGHTS_FILE
from wsi_specdec.models.spec import ModelSpec, load_spec

Constants = tuple[float, float, float]

# For networks trained from scratch: nearly maps [0, 1] to [-2, 2].
SCRATCH_MEAN: Constants = (0.5, 0.5, 0.5)
SCRATCH_STD: Constants = (0.25, 0.25, 0.25)
# timm's name for the number of channels.
IN_CHANS = "in_chans"


def build_classifier(spec: ModelSpec, *, pretrained: bool = False) -> nn.Module:
    """Build the network of a spec, with random or with timm's weights.

    Random weights are drawn from torch's global generator.

    Parameters
    ----------
    spec
        The classifier; where its architecture is of a fixed input size, it is built for
        `spec.tile_size`.
    pretrained
        Fetch timm's weights (the last layer stays random).

    Raises
    ------
    ModelError
        If the architecture is unknown, its arguments are wrong, or weights cannot be fetched.
    """
    import timm

    config = _default_config(spec.arch)
    arguments = dict(spec.arch_args)
    if arguments.get(IN_CHANS, 3) not in (1, 3):
        msg = f"tiles have 3 channels, or 1 as grey: {IN_CHANS} cannot be {arguments[IN_CHANS]}"
        raise ModelError(msg)
    if config.get("fixed_input_size"):
        arguments.setdefault("img_size", spec.tile_size)
    try:
        module = timm.create_model(
            spec.arch, pretrained=pretrained, num_classes=spec.n_outputs, **arguments
        )
    except (TypeError, ValueError, AssertionError) as error:
        msg = f"timm cannot build {spec.arch!r} with {arguments}: {error}"
        raise ModelError(msg) from error
    except (OSError, RuntimeError) as error:
        msg = (
            f"cannot get pretrained weights of {spec.arch!r} ({error}); place their "
            "model.safetensors on this machine and pass it with --init, or train from scratch"
        )
        raise ModelError(msg) from error
    return _checked(module)


def normalisation(
    arch: str, *, pretrained: bool, init: Path | None = None
) -> tuple[Constants, Constants]:
    """Mean and standard deviation per channel that pixels in [0, 1] are normalised by.

    Those that the weights to start from were trained with (a model folder's own, else timm's for
    `arch`); without such weights 0.5 and 0.25.

    Raises
    ------
    ModelError
        If the architecture is unknown, or `init` is a folder without a model.
    """
    config = _default_config(arch)
    if init is not None and init.is_dir():
        spec = load_spec(init)
        return spec.mean, spec.std
    if not pretrained and init is None:
        return SCRATCH_MEAN, SCRATCH_STD
    return tuple(config["mean"]), tuple(config["std"])


def init_weights(module: nn.Module, source: Path) -> None:
    """Start a network from weights that lie on this machine.

    All weights must fit but those of the last layer, which stay random where the classes differ.

    Parameters
    ----------
    source
        A .safetensors file, as timm publishes them, or a model's folder.

    Raises
    ------
    ModelError
        If the file is missing or damaged, or is of another architecture.
    """
    path = source / WEIGHTS_FILE if source.is_dir() else source
    given = read_tensors(path)
    own = module.state_dict()
    head = _head_prefixes(module)
    fitting = {k: v for k, v in given.items() if k in own and v.shape == own[k].shape}
    unlike = sorted(k for k in own.keys() | given.keys() if k not in fitting)
    wrong = [k for k in unlike if not k.startswith(head)]
    if wrong:
        msg = (
            f"the weights {path} are of another architecture than the model asked for: "
            f"{len(wrong)} tensors differ, {', '.join(wrong[:3])} among them"
        )
        raise ModelError(msg)
    module.load_state_dict(fitting, strict=False)


def read_tensors(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Read a .safetensors file.

    The whole of it is read, not mapped: a file that shrinks under a map kills the process.

    Parameters
    ----------
    sha256
        What the file must hash to, if that is known.

    Raises
    ------
    ModelError
        If it is missing or damaged, or is another file.
    """
    try:
        data = path.read_bytes()
        if sha256 not in (None, hashlib.sha256(data).hexdigest()):
            msg = f"{path} is not the file that the model.json beside it describes; train again"
            raise ModelError(msg)
        tensors: dict[str, Tensor] = load(data)
    except (OSError, SafetensorError) as error:
        msg = f"cannot read the weights {path}: {error}; .safetensors files alone are read"
        raise ModelError(msg) from error
    return tensors


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1`, … into a device; `auto` is CUDA where there is one.

    Raises
    ------
    ModelError
        If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        msg = f"there is no device {name!r} here ({error}); take 'auto' or 'cpu'"
        raise ModelError(msg) from error
    return device


def _default_config(arch: str) -> Mapping[str, Any]:
    """Constants that timm has for an architecture, its tag taken into account."""
    import timm

    name = arch.partition(".")[0]
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        hint = f"close to it are {', '.join(close)}" if close else "see timm.list_models()"
        msg = f"timm has no model {arch!r}; {hint}"
        raise ModelError(msg)
    try:
        config = timm.models.get_pretrained_cfg(arch)
    except RuntimeError as error:
        msg = f"timm has no weights {arch!r}: {error}"
        raise ModelError(msg) from error
    return {} if config is None else asdict(config)


def _head_prefixes(module: nn.Module) -> tuple[str, ...]:
    """Prefixes of the last layer's tensors; some architectures have two such layers."""
    config = cast("dict[str, Any]", module.default_cfg)
    names = config.get("classifier") or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _checked(module: object) -> nn.Module:
    if not isinstance(module, nn.Module):
        msg = f"timm gave a {type(module).__name__}, not a network"
        raise ModelError(msg)
    return module
