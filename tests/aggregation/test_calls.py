"""Calls, and the file that holds them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_specdec.aggregation import (
    Aggregator,
    Band,
    Calibration,
    Call,
    fit_aggregator,
    make_calls,
    read_calls,
    write_calls,
)
from wsi_specdec.cohort import Slide
from wsi_specdec.config import AggregateConfig
from wsi_specdec.errors import LeakError, ManifestError, ModelError, StoreError
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
    ]


def test_scores_without_rows_are_an_empty_slide(make_scores: MakeScores) -> None:
    scores = make_scores({"a": []})
    (call,) = make_calls(scores, [slide("a")], aggregator(scores))
    assert (call.score, call.call, call.n_tiles, call.state) == (None, None, 0, "empty")


@pytest.mark.parametrize("state", ["empty", "failed", "skipped"])
def test_scores_left_by_an_earlier_run_are_not_called(make_scores: MakeScores, state: str) -> None:
    scores = make_scores({"a": [0.9]})
    (call,) = make_calls(scores, [slide("a")], aggregator(scores), {"a": state})
    assert (call.call, call.state) == (None, state)


def test_scores_of_slides_that_the_manifest_lacks_are_named_and_not_called(
    make_scores: MakeScores, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = make_scores({"a": [0.9], "gone": [0.8], "train-1": [0.7]})
    # Nor where the ledger of an earlier run says that it was done.
    states = {"a": "done", "gone": "done"}
    calls = make_calls(scores, [slide("a")], aggregator(scores), states, known={"train-1"})
    assert [call.slide_id for call in calls] == ["a"]
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("not among the manifest; they are not called: gone")


def test_without_a_manifest_the_ledger_says_which_slides_are_done(
    make_scores: MakeScores, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = make_scores({"a": [0.9], "b": [0.8], "c": [0.7]})
    found = make_calls(scores, [], aggregator(scores), {"a": "done", "b": "failed"})
    assert [call.slide_id for call in found] == ["a"]
    assert capsys.readouterr().err.split()[-1] == "c"
    every = make_calls(scores, [], aggregator(scores))
    assert [(c.slide_id, c.patient_id, c.cohort) for c in every] == [
        (name, name, None) for name in "abc"
    ]
    assert capsys.readouterr().err == ""


def test_a_slide_that_was_fitted_on_is_no_test_slide(make_scores: MakeScores) -> None:
    scores = make_scores({"a": [0.1], "b": [0.9]})
    known = [slide("a", 0, VALIDATION), slide("b", 1, VALIDATION)]
    fitted = fit_aggregator(scores, known, AggregateConfig(pooling="max"))
    assert len(make_calls(scores, known, fitted)) == 2
    with pytest.raises(LeakError, match="fitted on slides that the manifest tests it on: b;"):
        make_calls(scores, [slide("a"), slide("b", 1, "external-x")][1:], fitted)
    # Another patient's slide of the same name, as two hospitals may have.
    other = Slide("b", Path("b.svs"), "p-other", 1, "external-x")
    assert len(make_calls(scores, [other], fitted)) == 1


def test_calibrated_and_referred_calls_say_so(make_scores: MakeScores) -> None:
    scores = make_scores({"a": [0.25], "b": [0.75], "bare": []})
    fixed = aggregator(scores)
    known = fixed.model_copy(
        update={
            "calibration": Calibration(method="platt", slope=1, intercept=0),
            "abstention": Band(alpha=0.1, low=0.5, high=0.8),
        }
    )
    low, high, bare = make_calls(scores, [slide("a"), slide("b"), slide("bare")], known)
    # With no change of the logit, the score is the probability.
    assert (low.call, high.call) == (0, 1)
    assert [low.probability, low.confidence] == pytest.approx([0.25, 0.75])
    assert [high.probability, high.confidence] == pytest.approx([0.75, 0.75])
    assert (low.referred, high.referred) == (0, 1)
    assert (bare.state, bare.probability, bare.referred) == ("empty", None, None)


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
            Call("c", "p", INTERNAL, 0.5, 1, 1 / 3, 0.6, 12, "done", 0.6, 1),
            Call("b", "p", None, None, None, None, None, 0, "empty"),
        ],
    )
    assert path.read_text() == (
        "slide_id,patient_id,cohort,score,call,threshold,confidence,n_tiles,state,"
        "probability,referred\n"
        "a,p,internal,0.1,0,0.3333333333333333,0.7,12,done,,\n"
        "c,p,internal,0.5,1,0.3333333333333333,0.6,12,done,0.6,1\n"
        "b,p,,,,,,0,empty,,\n"
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
    probability=st.none() | share,
    referred=st.none() | st.integers(0, 1),
)


@given(st.lists(done, max_size=5, unique_by=lambda call: call.slide_id))
def test_calls_are_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, calls: list[Call]
) -> None:
    path = tmp_path_factory.mktemp("calls") / "calls.csv"
    write_calls(path, calls)
    assert read_calls(path) == calls


GOOD = "a,p,,0.5,1,0.5,0.0,3,done,0.5,0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slide_id,score\na,0.5\n", "its columns must be"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace("done", "odd"), "line 2: state 'odd'"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace(",0\n", ",2\n"), "referred '2'"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace(",1,", ",2,"), "call '2'"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace(",0.0,", ",high,"), "line 2: could not"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace(",0.0,", ",nan,"), "'nan' is not a finite"),
        (",".join(CALL_COLUMNS) + "\n" + "a,p,,0.5\n", "expected 11 values"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD.replace("done", "done,x"), "expected 11 values"),
        (",".join(CALL_COLUMNS) + "\n" + GOOD + GOOD, "holds slides twice: a"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(text)
    with pytest.raises(StoreError, match=message):
        read_calls(path)


def test_calls_of_the_first_release_are_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(",".join(CALL_COLUMNS[:9]) + "\na,p,,0.5,1,0.5,0.0,3,done\n")
    assert read_calls(path) == [Call("a", "p", None, 0.5, 1, 0.5, 0.0, 3, "done")]
    path.write_text(",".join(CALL_COLUMNS[:10]) + "\na,p,,0.5,1,0.5,0.0,3,done,0.5\n")
    with pytest.raises(StoreError, match="its columns must be"):
        read_calls(path)


def test_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="wsi-specdec aggregate"):
        read_calls(tmp_path / "calls.csv")
