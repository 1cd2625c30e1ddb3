import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wsi_specdec.errors import ModelError
from wsi_specdec.models import ModelSpec, build_classifier, load_model, save_model

MakeSpec = Callable[..., ModelSpec]


@pytest.fixture
def saved(tmp_path: Path, make_spec: MakeSpec) -> Path:
    spec = make_spec()
    save_model(tmp_path / "model", build_classifier(spec), spec)
    return tmp_path / "model"


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit"])
def test_a_loaded_model_predicts_bit_for_bit_the_same(
    tmp_path: Path, make_spec: MakeSpec, arch: str
) -> None:
    spec = make_spec(arch=arch)
    module = build_classifier(spec).to(memory_format=torch.channels_last)
    pixels = torch.rand(3, 3, 32, 32)
    module.train()(pixels)  # moves the running statistics
    save_model(tmp_path, module, spec)
    loaded, loaded_spec = load_model(tmp_path, "cpu")
    assert loaded_spec == spec
    assert not loaded.training
    assert torch.equal(module.eval()(pixels), loaded(pixels))


def test_weights_can_be_read_by_others(saved: Path) -> None:
    assert (saved / "weights.safetensors").stat().st_mode == (saved / "model.json").stat().st_mode


def test_weights_of_another_model_are_refused(
    saved: Path, tmp_path: Path, make_spec: MakeSpec
) -> None:
    save_model(tmp_path / "other", build_classifier(make_spec()), make_spec())
    shutil.copy(tmp_path / "other" / "weights.safetensors", saved)
    with pytest.raises(ModelError, match=r"weights\.safetensors is not the file"):
        load_model(saved, "cpu")


@pytest.mark.parametrize("keep", [0, 100, 10_000])
def test_truncated_weights_are_refused(saved: Path, keep: int) -> None:
    weights = saved / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        load_model(saved, "cpu")


def test_missing_weights_are_refused(saved: Path) -> None:
    (saved / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"cannot read the weights .*weights\.safetensors"):
        load_model(saved, "cpu")
