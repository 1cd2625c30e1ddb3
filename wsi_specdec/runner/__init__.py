"""One function over many slides, each in a process of its own, with a ledger of what became of it.

A slide that crashes, hangs or outgrows its memory costs itself alone.
"""

from wsi_specdec.runner.gauge import advance_tiles
from wsi_specdec.runner.ledger import (
    Ledger,
    LedgerSummary,
    Outcome,
    State,
    read_ledger,
    read_states,
)
from wsi_specdec.runner.memory import hand_back_memory
from wsi_specdec.runner.pool import run_over_slides
from wsi_specdec.runner.task import Task, TaskResult

__all__ = [
    "Ledger",
    "LedgerSummary",
    "Outcome",
    "State",
    "Task",
    "TaskResult",
    "advance_tiles",
    "hand_back_memory",
    "read_ledger",
    "read_states",
    "run_over_slides",
]
