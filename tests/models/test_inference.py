from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.special import expit
from torchvision.transforms import v2

from wsi_specdec.models import (
    ModelSpec,
    build_classifier,
    predict_logits,
    preprocess,
    probabilities,
)

MakeSpec = Callable[..., ModelSpec]
CPU = torch.device("cpu")


def _tiles(n: int, size: int = 32) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


def test_preprocessing_is_torchvisions_normalisation(make_spec: MakeSpec) -> None:
    spec, tiles = make_spec(), torch.from_numpy(_tiles(4))
    before = tiles.clone()
    pixels = preprocess(tiles, spec)
    expected = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Normalize(spec.mean, spec.std)]
    )(tiles.permute(0, 3, 1, 2))
    assert torch.equal(tiles, before)
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(pixels, expected, rtol=1e-6, atol=1e-6)


def test_a_network_of_one_channel_gets_the_luma(make_spec: MakeSpec) -> None:
    spec, tiles = make_spec(arch_args={"in_chans": 1}), _tiles(4)
    luma = (tiles / 255) @ np.array([0.299, 0.587, 0.114])
    mean, std = np.mean(spec.mean), np.mean(spec.std)
    pixels = preprocess(torch.from_numpy(tiles), spec).numpy()
    np.testing.assert_allclose(pixels, (luma[:, None] - mean) / std, rtol=1e-4, atol=1e-5)
    assert predict_logits(build_classifier(spec), spec, tiles, CPU).shape == (4, 1)


def test_logits_do_not_depend_on_the_batch_or_the_mode(make_spec: MakeSpec) -> None:
    spec, tiles = make_spec(arch_args={"drop_rate": 0.5}), _tiles(9)
    module = build_classifier(spec).train()
    buffers = {k: v.clone() for k, v in module.named_buffers()}
    together = predict_logits(module, spec, tiles, CPU)
    apart = np.concatenate([predict_logits(module, spec, tiles[i : i + 2], CPU) for i in (0, 2)])
    assert module.training
    assert all(torch.equal(v, buffers[k]) for k, v in module.named_buffers())
    assert together.shape == (9, 1)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together[:4], apart, rtol=1e-4, atol=1e-5)


def test_no_tiles_give_no_logits(make_spec: MakeSpec) -> None:
    spec = make_spec(classes=("a", "b", "c"))
    assert predict_logits(build_classifier(spec), spec, _tiles(0), CPU).shape == (0, 3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_one_logit_goes_through_a_sigmoid(temperature: float) -> None:
    logits = np.array([[-80.0], [0.0], [2.0], [80.0]], np.float64)
    probs = probabilities(logits.astype(np.float32), temperature)
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs, expit(logits / temperature), rtol=1e-6, atol=1e-37)


@given(
    hnp.arrays(np.float32, (5, 3), elements=st.floats(-80, 80, width=32)),
    st.floats(0.1, 10),
)
def test_several_logits_go_through_a_softmax(
    logits: NDArray[np.float32], temperature: float
) -> None:
    probs = probabilities(logits, temperature)
    wide = np.exp(logits.astype(np.longdouble) / temperature)
    expected = (wide / wide.sum(1, keepdims=True)).astype(np.float64)
    np.testing.assert_allclose(probs, expected, rtol=1e-5, atol=1e-30)


def test_a_pair_of_logits_is_the_sigmoid_of_their_difference() -> None:
    pair = np.array([[0.5, 1.5], [2.0, -1.0]], np.float32)
    one = probabilities(pair[:, 1:] - pair[:, :1], 1.3)
    np.testing.assert_allclose(probabilities(pair, 1.3)[:, 1:], one, rtol=1e-6)


def test_no_logits_give_no_probabilities() -> None:
    assert probabilities(np.empty((0, 1), np.float32)).shape == (0, 1)
    assert probabilities(np.empty((0, 3), np.float32)).shape == (0, 3)
