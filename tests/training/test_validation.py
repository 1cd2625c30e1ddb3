import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss, roc_auc_score

from wsi_specdec.training import fit_temperature
from wsi_specdec.training.temperature import cross_entropy
from wsi_specdec.training.validation import auroc, best_epoch, has_stalled, measure


def test_of_two_classes_the_positive_one_is_ranked() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 60)
    logits = (rng.normal(0, 1, (60, 1)) + label[:, None]).astype(np.float32)
    assert auroc(logits, label) == pytest.approx(roc_auc_score(label, logits[:, 0]))
    tied = logits.round()
    assert auroc(tied, label) == pytest.approx(roc_auc_score(label, tied[:, 0]))
    assert auroc(logits, np.ones(60, np.int64)) is None
    measured = measure(logits, np.ones(60, np.int64))
    assert measured["val_auroc"] is None
    assert measured["val_cross_entropy"] is not None


def test_of_several_classes_each_is_ranked_against_the_rest() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 4, 80)
    logits = rng.normal(0, 1, (80, 4)) + 1.5 * np.eye(4)[label]
    probabilities = softmax(logits, axis=1)
    expected = roc_auc_score(label, probabilities, multi_class="ovr", average="macro")
    assert auroc(logits, label) == pytest.approx(expected)
    without = np.flatnonzero(label != 2)
    each = [roc_auc_score(label[without] == c, probabilities[without, c]) for c in (0, 1, 3)]
    assert auroc(logits[without], label[without]) == pytest.approx(np.mean(each))


def test_the_temperature_of_several_classes_is_found() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 3, (20_000, 3))
    drawn = softmax(logits / 2.5, axis=1).cumsum(axis=1) > rng.random((20_000, 1))
    label = drawn.argmax(axis=1)
    assert fit_temperature(logits, label) == pytest.approx(2.5, rel=0.05)
    expected = log_loss(label, softmax(logits / 1.5, axis=1))
    assert cross_entropy(logits, label, 1.5) == pytest.approx(expected)


def rows(*values: float | None, name: str = "val_auroc") -> list[dict[str, float | None]]:
    return [{name: value} for value in values]


def test_the_best_epoch_is_the_first_that_none_surpasses() -> None:
    assert best_epoch(rows(0.5, 0.9, 0.7, 0.9), "val_auroc") == 1
    loss = rows(0.5, 0.2, 0.7, 0.2, name="val_cross_entropy")
    assert best_epoch(loss, "val_cross_entropy") == 1
    assert best_epoch(rows(None, 0.1, None), "val_auroc") == 1
    assert best_epoch(rows(None, None), "val_auroc") == 1


@pytest.mark.parametrize(
    ("values", "patience", "stalled"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.3], 2, True),
        ([0.5, 0.4, 0.6, 0.6], 2, False),
        ([0.5, 0.4, 0.3, 0.2], None, False),
    ],
)
def test_training_stalls_after_so_many_epochs_without_a_better_one(
    values: list[float], patience: int | None, stalled: bool
) -> None:
    assert has_stalled(rows(*values), "val_auroc", patience) is stalled
