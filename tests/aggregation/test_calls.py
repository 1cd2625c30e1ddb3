"""Calls, and the file that holds them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_specdec.aggregation import (
    Aggregator,
    Call,
    fit_aggregator,
    make_calls,
    read_calls,
    write_calls,
)
from wsi_specdec.cohort import Slide
from wsi_specdec.config import AggregateConfig
from wsi_specdec.errors import ManifestError, ModelError, StoreError
from wsi_specdec.keys import CALL_COLUMNS, INTERNAL, VALIDATION

MakeScores = Callable[..., Path]


def slide(name: str, label: int | None = None, split: str | None = INTERNAL) -> Slide:
    return Slide(name, Path(f"{name}.svs"), f"p-{name}", label, split)


def aggregator(scores: Path, threshold: float = 0.5) -> Aggregator:
    config = AggregateConfig(
        pooling="mean", threshold_rule="fixed", threshold_target=threshold, fit_on=VALIDATION
    )
    return fit_aggregator(scores, [], config)


def test_every_slide_of_the_manifest_gets_a_row_in_its_order(make_scores: MakeScores) -> None:
    scores = make_scores({"b": [0.25, 0.75], "a": [0.25, 0.125], "z": [1.0]})
    slides = [slide("b", 1), slide("bare"), slide("a", 0), slide("broken"), slide("left")]
    states = {"bare": "empty", "broken": "failed", "left": "skipped", "a": "done"}
    calls = make_calls(scores, slides, aggregator(scores), states)
    assert calls == [
        Call("b", "p-b", INTERNAL, 0.5, 1, 0.5, 0.0, 2, "done"),
        Call("bare", "p-bare", INTERNAL, None, None, None, None, 0, "empty"),
        Call("a", "p-a", INTERNAL, 0.1875, 0, 0.5, 0.625, 2, "done"),
        Call("broken", "p-broken", INTERNAL, None, None, None, None, 0, "failed"),
        Call("left", "p-left", INTERNAL, None, None, None, None, 0, "skipped"),
        # Scored, but not in the manifest: its own patient, in no cohort.
        Call("z", "z", None, 1.0, 1, 0.5, 1.0, 1, "done"),
    ]


def test_scores_without_rows_are_an_empty_slide(make_scores: MakeScores) -> None:
    scores = make_scores({"a": []})
    (call,) = make_calls(scores, [slide("a")], aggregator(scores))
    assert (call.score, call.call, call.n_tiles, call.state) == (None, None, 0, "empty")


@pytest.mark.parametrize("state", ["empty", "failed"])
def test_scores_left_by_an_earlier_run_are_not_called(make_scores: MakeScores, state: str) -> None:
    scores = make_scores({"a": [0.9]})
    (call,) = make_calls(scores, [slide("a")], aggregator(scores), {"a": state})
    assert (call.call, call.state) == (None, state)


def test_slides_skipped_now_but_scored_before_are_called(make_scores: MakeScores) -> None:
    scores = make_scores({"a": [0.9]})
    (call,) = make_calls(scores, [slide("a")], aggregator(scores), {"a": "skipped"})
    assert (call.call, call.state) == (1, "done")


def test_slides_with_no_scores_are_named(make_scores: MakeScores) -> None:
    scores = make_scores({"a": [0.9]})
    slides = [slide("a", 1), slide("lost", 0), slide("gone", 1)]
    with pytest.raises(ManifestError, match=r"labelled slides with no scores in .*: lost, gone;"):
        make_calls(scores, slides, aggregator(scores), {"lost": "done"})
    with pytest.raises(ManifestError, match=r"^slides with no scores in .*: other;"):
        make_calls(scores, [slide("other")], aggregator(scores))


def test_half_written_scores_are_not_slides(make_scores: MakeScores) -> None:
    scores = make_scores({"a": [0.9]})
    (scores / ".1234.partial.b.parquet").write_bytes(b"half")
    assert [call.slide_id for call in make_calls(scores, [], aggregator(scores))] == ["a"]


def test_threshold_of_another_model_is_refused(make_scores: MakeScores) -> None:
    first = aggregator(make_scores({"a": [0.9]}))
    scores = make_scores({"a": [0.9]}, model="n" * 64)
    with pytest.raises(ModelError, match="of another model"):
        make_calls(scores, [slide("a")], first)
    nameless = first.model_copy(update={"model_sha256": None})
    assert make_calls(scores, [slide("a")], nameless)[0].call == 1


def test_file_holds_the_columns_and_leaves_unknown_cells_empty(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    write_calls(
        path,
        [
            Call("a", "p", INTERNAL, 0.1, 0, 1 / 3, 0.7, 12, "done"),
            Call("b", "p", None, None, None, None, None, 0, "empty"),
        ],
    )
    assert path.read_text() == (
        "slide_id,patient_id,cohort,score,call,threshold,confidence,n_tiles,state\n"
        "a,p,internal,0.1,0,0.3333333333333333,0.7,12,done\n"
        "b,p,,,,,,0,empty\n"
    )


share = st.floats(0, 1)
names = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name.strip() == name and name.isprintable()
)
done = st.builds(
    Call,
    slide_id=names,
    patient_id=names,
    cohort=st.sampled_from([None, "internal", "external-Århus"]),
    score=share,
    call=st.integers(0, 1),
    threshold=share,
    confidence=share,
    n_tiles=st.integers(1, 10**6),
    state=st.just("done"),
)


@given(st.lists(done, max_size=5, unique_by=lambda call: call.slide_id))
def test_calls_are_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, calls: list[Call]
) -> None:
    path = tmp_path_factory.mktemp("calls") / "calls.csv"
    write_calls(path, calls)
    assert read_calls(path) == calls


GOOD = "a,p,,0.5,1,0.5,0.0,3,done\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slide_id,score\na,0.5\n", "its columns must be"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace("done", "odd"), "line 2: state 'odd'"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace(",1,", ",2,"), "call '2'"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace("0.0", "high"), "line 2: could not"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace("0.0", "nan"), "'nan' is not a finite"),
        (",".join(CALL_COLUMNS) + "\n" + "a,p,,0.5\n", "expected 9 values"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace("done", "done,x"), "expected 9 values"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD + GOOD, "holds slides twice: a"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(text)
    with pytest.raises(StoreError, match=message):
        read_calls(path)


def test_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="wsi-specdec aggregate"):
        read_calls(tmp_path / "calls.csv")
