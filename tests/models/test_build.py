from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file

from wsi_specdec.errors import ModelError
from wsi_specdec.models import (
    ModelSpec,
    build_classifier,
    init_weights,
    normalisation,
    resolve_device,
    save_model,
)

MakeSpec = Callable[..., ModelSpec]


def test_an_unknown_architecture_names_close_ones(make_spec: MakeSpec) -> None:
    with pytest.raises(ModelError, match="resnet18"):
        build_classifier(make_spec(arch="resnt18"))


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(ModelError, match="nosuchtag"):
        normalisation("resnet18.nosuchtag", pretrained=True)


@pytest.mark.parametrize("arguments", [{"no_such_argument": 1}, {"num_classes": 5}])
def test_wrong_arguments_are_one_clear_error(
    make_spec: MakeSpec, arguments: dict[str, int]
) -> None:
    with pytest.raises(ModelError, match=next(iter(arguments))):
        build_classifier(make_spec(arch_args=arguments))


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_a_fixed_size_architecture_is_built_for_the_tiles(
    make_spec: MakeSpec, classes: tuple[str, ...]
) -> None:
    spec = make_spec(arch="test_vit", tile_size=48, classes=classes)
    logits = build_classifier(spec).eval()(torch.zeros(2, 3, 48, 48))
    assert logits.shape == (2, spec.n_outputs)


def test_weights_that_cannot_be_fetched_say_what_to_do(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="--init, or train from scratch"):
        build_classifier(make_spec(), pretrained=True)


def test_constants_are_those_of_the_weights_started_from(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    config = timm.models.get_pretrained_cfg("resnet18")
    assert config is not None
    file = tmp_path / "resnet18.safetensors"
    assert normalisation("resnet18", pretrained=True) == (config.mean, config.std)
    assert normalisation("resnet18", pretrained=False, init=file) == (config.mean, config.std)
    assert normalisation("resnet18", pretrained=False) == ((0.5,) * 3, (0.25,) * 3)
    spec = make_spec()
    save_model(tmp_path / "model", build_classifier(spec), spec)
    kept = normalisation("test_resnet", pretrained=False, init=tmp_path / "model")
    assert kept == (spec.mean, spec.std)


def test_init_takes_all_weights_but_an_unlike_last_layer(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    published = timm.create_model("test_resnet", num_classes=10)
    file = tmp_path / "published.safetensors"
    save_file(published.state_dict(), file)
    module = build_classifier(make_spec())
    random_head = module.state_dict()["fc.weight"].clone()
    init_weights(module, file)
    own, given = module.state_dict(), published.state_dict()
    assert torch.equal(own["fc.weight"], random_head)
    assert all(torch.equal(own[k], given[k]) for k in own if not k.startswith("fc."))


def test_init_from_a_model_folder_takes_the_last_layer_too(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    first, second = build_classifier(make_spec()), build_classifier(make_spec())
    save_model(tmp_path, first, make_spec())
    init_weights(second, tmp_path)
    own, given = second.state_dict(), first.state_dict()
    assert all(torch.equal(own[k], given[k]) for k in own)


def test_init_from_another_architecture_is_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_efficientnet", num_classes=1).state_dict(), file)
    module = build_classifier(make_spec())
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(ModelError, match=r"other\.safetensors are of another architecture"):
        init_weights(module, file)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_init_from_a_file_that_is_not_safetensors_is_refused(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"\x80\x02}q\x00.")
    module = build_classifier(make_spec())
    with pytest.raises(ModelError, match=r"weights\.pth"):
        init_weights(module, file)
    with pytest.raises(ModelError, match="absent"):
        init_weights(module, tmp_path / "absent")


def test_devices_are_resolved_or_refused() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(ModelError, match="'warp9'"):
        resolve_device("warp9")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_cuda_device_is_refused() -> None:
    with pytest.raises(ModelError, match="'cuda'"):
        resolve_device("cuda")
