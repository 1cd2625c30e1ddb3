import cv2
import numpy as np

from wsi_specdec.tissue import contours


def test_rings_redraw_the_mask_holes_included() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:51, 10:41] = 1
    mask[20:31, 20:31] = 0
    mask[23:28, 23:28] = 1
    mask[5:16, 60:71] = 1
    polygons = contours(mask > 0, 1.0)
    assert sorted(len(rings) for rings in polygons) == [1, 1, 2]
    drawn = np.zeros_like(mask)
    for rings in polygons:
        outer, *holes = (ring.astype(np.int32) for ring in rings)
        piece = np.zeros_like(mask)
        cv2.fillPoly(piece, [outer], 1)
        for hole in holes:
            # The hole's ring runs through tissue: what lies within it is the hole.
            inside = np.zeros_like(mask)
            cv2.fillPoly(inside, [hole], 1)
            cv2.polylines(inside, [hole], isClosed=True, color=[0])
            piece[inside > 0] = 0
        drawn |= piece
    assert (drawn == mask).all()


def test_level0_scale_and_dtype() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:8] = True
    ((ring,),) = contours(mask, 16.0)
    assert ring.dtype == np.int64
    assert ring.min(axis=0).tolist() == [56, 40]
    assert ring.max(axis=0).tolist() == [120, 72]


def test_empty_and_single_pixels_have_no_ring() -> None:
    mask = np.zeros((10, 10), bool)
    assert contours(mask, 2.0) == []
    mask[4, 4] = True
    assert contours(mask, 2.0) == []
