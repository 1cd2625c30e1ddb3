"""TensorBoard's events of a training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from wsi_specdec.keys import TENSORBOARD_DIR


class Events(Protocol):
    """Takes numbers to be drawn."""

    def __call__(self, group: str, values: Mapping[str, float | None], step: int) -> None:
        """Take the values of a step, counted over all epochs; None is passed over."""


@contextmanager
def events(out: Path, step: int, *, wanted: bool) -> Iterator[Events]:
    """Write to `tensorboard/` in the model's folder, if wanted.

    Parameters
    ----------
    step
        Step that the training goes on from: what a killed process wrote beyond it is hidden.
    """
    if not wanted:
        yield _nothing
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(out / TENSORBOARD_DIR), purge_step=step) as writer:

        def write(group: str, values: Mapping[str, float | None], step: int) -> None:
            for name, value in values.items():
                if value is not None:
                    writer.add_scalar(f"{group}/{name}", value, step)

        yield write


def _nothing(group: str, values: Mapping[str, float | None], step: int) -> None:
    """Write nothing."""
