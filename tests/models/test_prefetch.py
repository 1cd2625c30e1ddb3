import threading

import numpy as np
import pytest
import torch

from wsi_specdec.models import Transfer, decode_threads, prefetched


def test_results_come_in_order_from_another_thread() -> None:
    seen = set()

    def square(x: int) -> int:
        seen.add(threading.current_thread())
        return x * x

    assert list(prefetched(square, range(20))) == [x * x for x in range(20)]
    assert threading.current_thread() not in seen


def test_no_more_than_depth_and_the_one_in_hand_are_made_ahead() -> None:
    made: list[int] = []

    def make(x: int) -> int:
        made.append(x)
        return x

    for number, item in enumerate(prefetched(make, range(30), depth=2)):
        assert item == number
        assert len(made) <= number + 3


def test_an_error_is_raised_in_its_place_and_ends_the_thread() -> None:
    def fail_at_3(x: int) -> int:
        if x == 3:
            msg = "three"
            raise ValueError(msg)
        return x

    got: list[int] = []
    with pytest.raises(ValueError, match="three"):
        got.extend(prefetched(fail_at_3, range(100)))
    assert got == [0, 1, 2]
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_leaving_early_ends_the_thread() -> None:
    results = prefetched(lambda x: x, range(1000))
    assert next(iter(results)) == 0
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_decoding_leaves_half_the_cores_to_a_network_on_the_cpu() -> None:
    on_cpu, on_gpu = (decode_threads(torch.device(kind)) for kind in ("cpu", "cuda"))
    assert on_cpu == max(1, on_gpu // 2)


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
            ],
        ),
    ],
)
def test_arrays_reach_the_device_and_results_come_back_in_their_turn(device: str) -> None:
    place = torch.device(device)
    transfer = Transfer(place)
    arrays = [np.full((3, 4), number, np.uint8) for number in range(20)]
    waiting = []
    for (first, second), sent in (transfer.send(array, array + 1) for array in arrays):
        transfer.wait(sent, first, second)
        assert first.device.type == device
        waiting.append(transfer.fetch(first.float() * 2, second))
    for number, arrived in enumerate(waiting):
        doubled, more = arrived()
        np.testing.assert_array_equal(doubled, np.full((3, 4), 2.0 * number, np.float32))
        np.testing.assert_array_equal(more, np.full((3, 4), number + 1, np.uint8))
