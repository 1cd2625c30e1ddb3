import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import TissueConfig
from wsi_specdec.tissue import find_tissue

WITHOUT_FOLDS = TissueConfig(exclude_folds=True)
MPP = 8.0


def section() -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Tissue with a fold, two layers thick, and a dark nodule as wide as it is long."""
    rng = np.random.default_rng(0)
    layers = np.zeros((300, 400))
    layers[40:260, 40:360] = 1
    fold = np.zeros((300, 400), np.uint8)
    cv2.line(fold, (80, 60), (200, 240), 1, 8)
    layers[fold > 0] = 2.2
    nodule = np.zeros((300, 400), np.uint8)
    cv2.circle(nodule, (290, 150), 35, 1, -1)
    layers[nodule > 0] = 2
    blurred = np.asarray(cv2.GaussianBlur(layers, (0, 0), 0.7))[..., np.newaxis]
    density = blurred * np.array([0.10, 0.28, 0.12])
    image = 241 * 10.0**-density + rng.normal(0, 2, (300, 400, 3))
    return image.clip(0, 255).astype(np.uint8), fold > 0, nodule > 0


def test_folds_are_left_out_on_request_and_dark_tissue_is_not() -> None:
    image, fold, nodule = section()
    found = find_tissue(image, MPP, WITHOUT_FOLDS)
    assert found[fold].mean() < 0.1
    assert found[nodule].all()
    assert found[60:240, 210:250].all()
    assert find_tissue(image, MPP, TissueConfig())[fold].all()


def test_glass_alone_has_no_folds() -> None:
    assert not find_tissue(np.full((50, 50, 3), 240, np.uint8), MPP, WITHOUT_FOLDS).any()
