"""Gated attention: against loops and torch, learned, saved, and the same again."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from wsi_specdec.aggregation import (
    Aggregator,
    fit_aggregator,
    load_aggregator,
    make_calls,
    save_aggregator,
    save_attention,
)
from wsi_specdec.aggregation.mil_fit import Bag, fit_mil
from wsi_specdec.aggregation.mil_network import GatedAttention
from wsi_specdec.aggregation.pooling import Mil, MilWeights, forward
from wsi_specdec.cohort import Slide
from wsi_specdec.config import AggregateConfig, MilConfig
from wsi_specdec.errors import ConfigError, LeakError, ModelError, NotEnoughDataError, StoreError
from wsi_specdec.keys import INTERNAL, MIL_FILE, TRAIN, VALIDATION
from wsi_specdec.store import embeddings_folder, embeddings_path
from wsi_specdec.store.attention import read_attention

MakeEmbeddings = Callable[..., Path]
Floats = NDArray[np.float32]
SMALL = MilConfig(
    hidden=16, attention=4, dropout=0.1, epochs=25, patience=25, batch_size=4, lr=0.02
)


def embeddings(rng: np.random.Generator, *, positive: bool, n: int = 20) -> Floats:
    """Tiles of noise; a positive slide has two that are far out."""
    rows = rng.normal(size=(n, 5))
    if positive:
        rows[:2] += [4, -4, 0, 0, 0]
    return rows.astype(np.float32)


def cohort(per_split: int = 12, seed: int = 0) -> tuple[list[Slide], dict[str, Floats]]:
    rng = np.random.default_rng(seed)
    slides, rows = [], {}
    for split in (TRAIN, VALIDATION, INTERNAL):
        for i in range(per_split):
            name = f"{split}-{i}"
            slides.append(Slide(name, Path("x"), f"p-{name}", i % 2, split))
            rows[name] = embeddings(rng, positive=i % 2 == 1)
    return slides, rows


def bags(rows: dict[str, Floats], split: str) -> list[Bag]:
    chosen = {name: own for name, own in rows.items() if name.startswith(split)}
    return [Bag(name, int(name[-1]) % 2, partial(np.asarray, own)) for name, own in chosen.items()]


def fit(config: MilConfig, rows: dict[str, Floats]) -> Mil:
    return fit_mil(bags(rows, TRAIN), bags(rows, VALIDATION), config)


@pytest.fixture(scope="module")
def rows() -> dict[str, Floats]:
    return cohort(20)[1]


@pytest.fixture(scope="module")
def learned(rows: dict[str, Floats]) -> Mil:
    return fit(SMALL, rows)


def test_a_call_computes_what_the_network_that_was_trained_does() -> None:
    torch.manual_seed(3)
    mean = np.linspace(-1, 1, 6).astype(np.float32)
    scale = np.linspace(0.5, 2, 6).astype(np.float32)
    network = GatedAttention(mean, scale, MilConfig(hidden=7, attention=3)).eval()
    values = np.random.default_rng(0).normal(size=(9000, 6)).astype(np.float32)
    tensors = MilWeights.of(network.tensors()).tensors
    logit, attention = forward(tensors, values)
    with torch.no_grad():
        assert logit == pytest.approx(float(network(torch.from_numpy(values))), abs=1e-5)
    assert attention.sum() == pytest.approx(1)


def test_the_equations_by_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    shapes = {
        "mean": (3,), "scale": (3,), "project.weight": (4, 3), "project.bias": (4,),
        "content.weight": (2, 4), "content.bias": (2,), "gate.weight": (2, 4), "gate.bias": (2,),
        "attend.weight": (1, 2), "attend.bias": (1,), "classify.weight": (1, 4),
        "classify.bias": (1,),
    }  # fmt: skip
    t = {name: rng.uniform(0.2, 1.5, shape) for name, shape in shapes.items()}
    values = rng.normal(size=(5, 3)).astype(np.float32)
    hidden, weights = [], []
    for row in values:
        h = [
            max(0.0, sum(t["project.weight"][i][j] * (row[j] - t["mean"][j]) / t["scale"][j]
                         for j in range(3)) + t["project.bias"][i])
            for i in range(4)
        ]  # fmt: skip
        a = t["attend.bias"][0]
        for k in range(2):
            v = sum(t["content.weight"][k][i] * h[i] for i in range(4)) + t["content.bias"][k]
            u = sum(t["gate.weight"][k][i] * h[i] for i in range(4)) + t["gate.bias"][k]
            a += t["attend.weight"][0][k] * np.tanh(v) / (1 + np.exp(-u))
        hidden.append(h)
        weights.append(np.exp(a))
    shares = [w / sum(weights) for w in weights]
    pooled = [sum(s * h[i] for s, h in zip(shares, hidden, strict=True)) for i in range(4)]
    expected = sum(t["classify.weight"][0][i] * pooled[i] for i in range(4))
    logit, attention = forward(t, values)
    assert attention == pytest.approx(shares)
    assert logit == pytest.approx(expected + t["classify.bias"][0])


def test_it_learns_what_two_tiles_of_twenty_say(rows: dict[str, Floats], learned: Mil) -> None:
    assert learned.weights is not None
    test = bags(rows, INTERNAL)
    logits = [forward(learned.weights.tensors, bag.read())[0] for bag in test]
    assert roc_auc_score([bag.label for bag in test], logits) > 0.95
    # The two tiles that say so get more than their share of a tenth.
    positive = [bag for bag in test if bag.label]
    shares = [forward(learned.weights.tensors, bag.read())[1][:2].sum() for bag in positive]
    assert np.mean(shares) > 0.5


def test_the_same_settings_give_the_same_bits_and_another_seed_others(
    rows: dict[str, Floats], learned: Mil
) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = fit(SMALL, rows)
    assert torch.equal(torch.get_rng_state(), before)
    assert again == learned
    assert again.weights == learned.weights
    other = fit(SMALL.model_copy(update={"seed": 1}), rows)
    assert other.weights_sha256 != learned.weights_sha256


def test_what_does_not_fit_the_cache_is_read_again(rows: dict[str, Floats], learned: Mil) -> None:
    without = fit(SMALL.model_copy(update={"cache_mb": 0.0}), rows)
    assert without.weights == learned.weights


def test_large_slides_are_learned_from_in_parts(rows: dict[str, Floats], learned: Mil) -> None:
    part = fit(SMALL.model_copy(update={"max_tiles": 19, "epochs": 3}), rows)
    whole = fit(SMALL.model_copy(update={"max_tiles": 20, "epochs": 3}), rows)
    unbounded = fit(SMALL.model_copy(update={"epochs": 3}), rows)
    assert whole.weights == unbounded.weights
    assert part.weights != whole.weights


def test_the_kept_epoch_is_the_best_on_validation(rows: dict[str, Floats]) -> None:
    # Labels of validation are turned round: what train teaches makes it worse from the start on.
    turned = [Bag(b.name, 1 - b.label, b.read) for b in bags(rows, VALIDATION)]
    config = SMALL.model_copy(update={"patience": 3, "epochs": 40})
    found = fit_mil(bags(rows, TRAIN), turned, config)
    assert found.training["epoch"] <= 3
    assert found.weights is not None
    terms = []
    for bag in turned:
        logit, _ = forward(found.weights.tensors, bag.read())
        terms.append(np.log1p(np.exp(-logit if bag.label else logit)))
    assert found.training["validation_cross_entropy"] == pytest.approx(np.mean(terms))


def test_spectral_decoupling_shrinks_the_logits(rows: dict[str, Floats], learned: Mil) -> None:
    held = fit(SMALL.model_copy(update={"sd_coef": 1.0}), rows)

    def size(pooler: Mil) -> float:
        assert pooler.weights is not None
        tensors = pooler.weights.tensors
        return float(np.mean([forward(tensors, b.read())[0] ** 2 for b in bags(rows, TRAIN)]))

    assert size(held) < 0.5 * size(learned)
    assert held.training["settings"]["sd_coef"] == 1.0


def test_one_label_or_no_validation_is_refused(rows: dict[str, Floats]) -> None:
    train, validation = bags(rows, TRAIN), bags(rows, VALIDATION)
    with pytest.raises(NotEnoughDataError, match="train has 10 positive and 0 negative"):
        fit_mil([bag for bag in train if bag.label], validation, SMALL)
    with pytest.raises(NotEnoughDataError, match="validation 0 in all"):
        fit_mil(train, [], SMALL)


def test_divergence_and_other_widths_are_errors(rows: dict[str, Floats]) -> None:
    with pytest.raises(ModelError, match=r"diverged.*lower mil\.lr"):
        fit(SMALL.model_copy(update={"lr": 1e30, "epochs": 2}), rows)
    odd = Bag("odd", 0, lambda: np.zeros((3, 4), np.float32))
    with pytest.raises(ModelError, match="embeddings of odd have 4 numbers and those of others 5"):
        fit_mil([*bags(rows, TRAIN), odd], bags(rows, VALIDATION), SMALL)


@pytest.fixture
def fitted(make_embeddings: MakeEmbeddings) -> tuple[Path, list[Slide], Aggregator]:
    slides, values = cohort(6)
    scores = make_embeddings(values)
    config = AggregateConfig(pooling="mil", mil=SMALL.model_copy(update={"epochs": 6}))
    return scores, slides, fit_aggregator(scores, slides, config)


def test_an_aggregator_comes_back_and_calls_without_torch(
    fitted: tuple[Path, list[Slide], Aggregator], tmp_path: Path
) -> None:
    scores, slides, aggregator = fitted
    folder = save_aggregator(tmp_path / "aggregator", aggregator).parent
    assert sorted(path.name for path in folder.iterdir()) == ["aggregator.json", MIL_FILE]
    loaded = load_aggregator(folder)
    assert loaded == aggregator
    calls = make_calls(scores, slides, loaded)
    assert calls == make_calls(scores, slides, aggregator)
    # Thresholded on validation alone.
    own = [c for c in calls if c.cohort == VALIDATION]
    assert (aggregator.fit_slides, aggregator.fit_cohort) == (len(own), VALIDATION)
    assert min(abs(aggregator.threshold - (c.score or 0)) for c in own) > 0
    code = (
        "import sys; from pathlib import Path; from wsi_specdec.aggregation import *;"
        f"calls = make_calls(Path({str(scores)!r}), [], load_aggregator(Path({str(folder)!r})));"
        "print(len(calls), sys.modules.keys() & {'torch', 'sklearn'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split(maxsplit=1) == ["18", "set()\n"]


def test_test_slides_change_nothing(
    fitted: tuple[Path, list[Slide], Aggregator], make_embeddings: MakeEmbeddings
) -> None:
    scores, slides, aggregator = fitted
    for slide in slides:
        if slide.split == INTERNAL:
            (scores / f"{slide.slide_id}.parquet").unlink()
    config = AggregateConfig(pooling="mil", mil=SMALL.model_copy(update={"epochs": 6}))
    assert fit_aggregator(scores, slides, config) == aggregator


def test_attention_of_each_tile_is_written(
    fitted: tuple[Path, list[Slide], Aggregator], tmp_path: Path
) -> None:
    scores, slides, aggregator = fitted
    save_attention(tmp_path, scores, make_calls(scores, slides, aggregator), aggregator)
    coords, attention = read_attention(tmp_path / "attention" / f"{slides[0].slide_id}.parquet")
    assert coords.tolist() == [[i * 100, 0] for i in range(20)]
    assert attention.sum() == pytest.approx(1)
    assert len(list((tmp_path / "attention").iterdir())) == len(slides)
    with pytest.raises(StoreError, match="holds no attention"):
        read_attention(scores / f"{slides[0].slide_id}.parquet")
    plain = fit_aggregator(scores, [], AggregateConfig(threshold_rule="fixed"))
    with pytest.raises(ConfigError, match="'topk_mean' gives tiles no attention"):
        save_attention(tmp_path, scores, [], plain)


def test_weights_that_are_not_its_own_are_refused(
    fitted: tuple[Path, list[Slide], Aggregator], tmp_path: Path
) -> None:
    folder = save_aggregator(tmp_path / "a", fitted[2]).parent
    weights = folder / MIL_FILE
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"\x00")
    with pytest.raises(ModelError, match="not those that the aggregator was saved"):
        load_aggregator(folder)
    weights.unlink()
    with pytest.raises(ModelError, match=r"mil\.safetensors cannot be read"):
        load_aggregator(folder)
    with pytest.raises(ModelError, match="damaged"):
        _ = MilWeights(b"nothing").tensors
    with pytest.raises(ModelError, match=r"lack or add .*gate\.bias"):
        _ = MilWeights.of({"mean": np.zeros(1, np.float32)}).tensors
    json_of = json.loads((folder / "aggregator.json").read_text())
    assert json_of["pooling_parameters"]["training"]["settings"]["hidden"] == 16
    # Another pooling saved there leaves no weights behind.
    weights.write_bytes(whole)
    scores = fitted[0]
    save_aggregator(folder, fit_aggregator(scores, [], AggregateConfig(threshold_rule="fixed")))
    assert not weights.exists()


def test_embeddings_that_do_not_belong_to_the_scores_are_refused(
    fitted: tuple[Path, list[Slide], Aggregator], make_embeddings: MakeEmbeddings
) -> None:
    scores, slides, aggregator = fitted
    first = slides[0]
    path = embeddings_path(embeddings_folder(scores), first.slide_id)
    kept = path.rename(path.with_name("kept"))
    with pytest.raises(StoreError, match="embeddings: true"):
        make_calls(scores, [first], aggregator)
    kept.rename(path)
    embeddings_path(embeddings_folder(scores), slides[1].slide_id).rename(path.with_name("other"))
    # Of the same tiles, and another model.
    make_embeddings({slides[1].slide_id: np.zeros((20, 5))}, "n" * 64)
    wrong = embeddings_path(embeddings_folder(scores), slides[1].slide_id)
    for name in (slides[1].slide_id, first.slide_id):
        (scores / f"{name}.parquet").replace(scores / f"{name}.moved")
    (scores / f"{first.slide_id}.moved").replace(scores / f"{slides[1].slide_id}.parquet")
    with pytest.raises(StoreError, match="is not of the same model and tiles as"):
        make_calls(scores, [slides[1]], aggregator)
    assert wrong.exists()


def test_leaks_and_wrong_splits_are_refused(
    fitted: tuple[Path, list[Slide], Aggregator],
) -> None:
    scores, slides, _ = fitted
    config = AggregateConfig(pooling="mil", mil=SMALL)
    shared = Slide("extra", Path("x"), slides[0].patient_id, 1, VALIDATION)
    with pytest.raises(LeakError, match="more than one split"):
        fit_aggregator(scores, [*slides, shared], config)
    with pytest.raises(NotEnoughDataError, match="mil learns from labelled slides of the split"):
        fit_aggregator(scores, [s for s in slides if s.split != TRAIN], config)
    with pytest.raises(ValueError, match="mil learns from 'train', so its threshold"):
        AggregateConfig(pooling="mil", fit_on="train")
