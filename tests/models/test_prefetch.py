import threading

import pytest
import torch

from wsi_specdec.models import decode_threads, prefetched


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
