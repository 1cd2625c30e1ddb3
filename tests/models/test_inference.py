from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn
from torchvision.transforms import v2

from wsi_specdec.errors import ModelError
from wsi_specdec.models import (
    ModelSpec,
    Predictor,
    build_classifier,
    predict_logits,
    preprocess,
    probabilities,
)
from wsi_specdec.models.inference import turned

MakeSpec = Callable[..., ModelSpec]
CPU = torch.device("cpu")


def _attentive(module: nn.Module) -> nn.Module:
    """Set running statistics to those of some tiles, so that logits differ from tile to tile."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        module.train()(torch.from_numpy(_tiles(8)).permute(0, 3, 1, 2) / 255)
    return module.eval()


def _transposed(tiles: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    turned_over = tiles.transpose(0, 2, 1, 3)
    return [
        turned_over,
        turned_over[:, :, ::-1],
        turned_over[:, ::-1],
        turned_over[:, ::-1, ::-1],
    ]


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


def test_symmetries_are_those_of_the_square_the_tile_itself_first() -> None:
    square = np.arange(16).reshape(4, 4)
    pixels = torch.from_numpy(square[np.newaxis, np.newaxis])
    seen = [turned(pixels, number)[0, 0].numpy() for number in range(8)]
    halves = [square, square[:, ::-1], square[::-1], square[::-1, ::-1]]
    transposed = [square.T, square.T[:, ::-1], square.T[::-1], square.T[::-1, ::-1]]
    for got, expected in zip(seen, [*halves, *transposed], strict=True):
        np.testing.assert_array_equal(got, expected)
    assert len({got.tobytes() for got in seen}) == 8


@pytest.mark.parametrize("symmetries", [1, 2, 5, 8])
def test_symmetries_are_averaged_over_logits_and_embeddings(
    make_spec: MakeSpec, symmetries: int
) -> None:
    spec, tiles = make_spec(), _tiles(3)
    module = _attentive(build_classifier(spec))
    out = Predictor(module, spec, symmetries=symmetries, embeds=True)(torch.from_numpy(tiles))
    square = [tiles, tiles[:, :, ::-1], tiles[:, ::-1], tiles[:, ::-1, ::-1]]
    ways = [*square, *_transposed(tiles)]
    logits = [predict_logits(module, spec, np.ascontiguousarray(w), CPU) for w in ways[:symmetries]]
    np.testing.assert_allclose(out.logits.numpy(), np.mean(logits, axis=0), rtol=1e-4, atol=1e-5)
    assert np.ptp([one.sum() for one in logits]) > 1e-3 or symmetries == 1
    assert out.embeddings is not None
    # The last layer is linear: it makes the mean of the logits of the mean of the embeddings.
    head = module.get_classifier()  # type: ignore[operator]
    torch.testing.assert_close(head(out.embeddings.clone()), out.logits.clone())


def test_embeddings_are_what_the_last_layer_takes(make_spec: MakeSpec) -> None:
    spec, tiles = make_spec(classes=("a", "b", "c")), _tiles(4)
    module = _attentive(build_classifier(spec))
    predictor = Predictor(module, spec, embeds=True)
    out = predictor(torch.from_numpy(tiles))
    assert out.embeddings is not None
    assert out.embeddings.shape == (4, predictor.n_features)
    caught: list[torch.Tensor] = []
    head = module.get_classifier()  # type: ignore[operator]
    head.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    np.testing.assert_array_equal(predict_logits(module, spec, tiles, CPU), out.logits.numpy())
    np.testing.assert_array_equal(caught[0].numpy(), out.embeddings.numpy())


def test_a_network_that_is_not_timms_has_no_embeddings(make_spec: MakeSpec) -> None:
    module = nn.Sequential(nn.Flatten(), nn.LazyLinear(1))
    with pytest.raises(ModelError, match="no embeddings"):
        Predictor(module, make_spec(), embeds=True)(torch.from_numpy(_tiles(1)))


def test_bfloat16_is_close_to_float32_and_not_the_same(make_spec: MakeSpec) -> None:
    spec, tiles = make_spec(), torch.from_numpy(_tiles(8))
    module = _attentive(build_classifier(spec))
    whole, half = (Predictor(module, spec, p)(tiles).logits for p in ("float32", "bfloat16"))
    assert half.dtype == torch.float32
    assert not torch.equal(whole, half)
    torch.testing.assert_close(half, whole, rtol=0.1, atol=0.1)


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
