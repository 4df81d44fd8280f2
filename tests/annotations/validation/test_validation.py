import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repo.annotations.reading.reader import read_annotations
from repo.annotations.schema import COLUMNS
from repo.annotations.validation.measures import measure_rows
from repo.annotations.validation.suite import content_digest, save, validate
from repo.errors import UserError
from repo.files import read_json, read_jsonl
from repo.settings import Settings, build_settings

DATA = Path(__file__).resolve().parents[3].parent / "shared/data"
ROWS = 20


@pytest.fixture
def check(write, vote):
    """Validate these rows beside twenty good ones of another annotator, read first."""

    def check(rows, good=ROWS, **sections):
        settings = build_settings(sections, "test")
        filler = [vote(1000 + number, "filler") for number in range(good)]
        return validate(read_annotations(write([*filler, *rows]), settings.data), settings)

    return check


def outcome(result, title):
    (found,) = [each for each in result.expectations if each.title == title]
    return found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt": " \n"}, "the prompt is empty"),
        ({"response_a": ""}, "a response is empty"),
        ({"response_b": "  "}, "a response is empty"),
        ({"response_a": "same", "response_b": "same "}, "both responses are the same text"),
        ({"preference": "C"}, "preference is 'C', not a, b or tie"),
        ({"preference": None}, "preference is '', not a, b or tie"),
        ({"preference": 1}, "preference is '1', not a, b or tie"),
        ({"annotator_id": None}, "annotator_id is missing"),
        ({"annotator_id": "x" * 10_000}, "annotator_id is longer than 256 characters"),
        ({"comparison_id": "x" * 10_000}, "comparison_id is longer than 256 characters"),
        ({"prompt": "x" * 100_001}, "the prompt is longer than 100000 characters"),
        ({"response_b": "x" * 100_001}, "a response is longer than 100000 characters"),
        ({"prompt": None}, "prompt is missing"),
    ],
)
def test_a_bad_row_goes_to_quarantine_with_its_place_and_reason(check, vote, changes, reason):
    bad = vote(1) | changes
    result = check([bad])
    (row,) = result.quarantine
    assert row.reasons == [reason]
    assert row.line == ROWS + 1
    assert row.row["prompt"] == bad["prompt"]
    assert result.summary.rows_quarantined == 1
    assert result.summary.rows_kept == len(result.annotations) == ROWS
    assert result.passed


@pytest.mark.parametrize(
    "empty", [[], [{"role": "user", "content": "question 1"}], [{"role": "assistant", "content": " "}]]
)
def test_a_conversation_without_a_reply_is_an_empty_response(write, vote, empty):
    path = write([vote(1, response_a=empty, response_b=[{"role": "assistant", "content": "x"}])])
    (row,) = validate(read_annotations(path, Settings().data), Settings()).quarantine
    assert row.reasons == ["a response is empty"]


def test_a_text_that_looks_like_messages_is_not_read_as_such(write, vote):
    turns = [{"role": "assistant", "content": " x "}]
    plain, talk = vote(1, response_a=json.dumps(turns)), vote(2, response_a=turns, response_b=[])
    source = f"{write([plain], 'plain.jsonl')},{write([talk], 'talk.jsonl')}"
    rows = measure_rows(read_annotations(source, Settings().data).annotations)
    assert rows["longer_response_characters"].tolist() == [len(json.dumps(turns)), 1]


def test_all_reasons_against_a_row_are_collected(check, vote):
    (row,) = check([vote(prompt="", response_a="", preference="?", annotator_id=None)]).quarantine
    assert len(row.reasons) == 4


def test_the_same_vote_twice_is_kept_once(check, vote):
    swapped = vote(1, "ann", "b", response_a=vote(1)["response_b"], response_b=vote(1)["response_a"])
    result = check([vote(1), vote(1), vote(1, "bob"), swapped])
    (kept,) = result.annotations.loc[result.annotations["annotator_id"] == "ann", "line"]
    assert sorted([kept, *(row.line for row in result.quarantine)]) == [ROWS + 1, ROWS + 2, ROWS + 4]
    assert all(row.reasons[0].endswith(f"the same vote stands at {row.file}, line {kept}") for row in result.quarantine)
    assert len(result.annotations) == ROWS + 2


@pytest.mark.parametrize("other", ["b", "tie"])
def test_contradictory_votes_are_all_quarantined_and_name_each_other(check, vote, other):
    result = check([vote(1), vote(1, preference=other), vote(1, "bob", "b")])
    first, second = result.quarantine
    assert first.reasons == [
        f"the same annotator voted otherwise on this comparison at {second.file}, line {second.line}; "
        "times in created_at would tell which vote is the later one"
    ]
    assert f"line {first.line};" in second.reasons[0]
    assert len(result.annotations) == ROWS + 1


def test_a_comparison_id_of_two_pairs_is_quarantined(check, vote):
    rows = [vote(1, "ann", comparison_id="c"), vote(2, "bob", comparison_id="c"), vote(3, comparison_id="d")]
    result = check(rows)
    assert [row.line for row in result.quarantine] == [ROWS + 1, ROWS + 2]
    assert all("names another prompt or pair of responses" in row.reasons[0] for row in result.quarantine)


def test_without_annotator_ids_repeated_votes_are_other_people(write, vote):
    rows = [vote(number % 10, preference="ab"[number % 2]) for number in range(30)]
    path = write([{name: value for name, value in row.items() if name != "annotator_id"} for row in rows])
    result = validate(read_annotations(path, Settings().data), Settings())
    assert not result.quarantine
    assert len(result.annotations) == 30
    assert any("no annotator ids" in note for note in result.notes)


STRANGE = ["<script>alert('x')</script>", "a\"b'c", "two\nlines", "nul\0byte", "half \ud83d pair", "{braces}", "名前"]


def test_strange_texts_and_ids_pass_through_unharmed(check, vote, tmp_path):
    good = [vote(number, text, prompt=text * 3, response_a=text * 2) for number, text in enumerate(STRANGE)]
    bad = [vote(100 + number, text, preference=text, response_b=text) for number, text in enumerate(STRANGE)]
    result = check([*good, *bad], validation={"max_bad_rows": 0.5})
    assert len(result.annotations) == ROWS + len(STRANGE)
    save(result, tmp_path / "out")
    saved = pd.read_parquet(tmp_path / "out" / "annotations.parquet")
    assert set(saved["annotator_id"]) == {"filler", *(text.replace("\ud83d", "\ufffd") for text in STRANGE)}
    assert [row["row"]["preference"] for row in read_jsonl(tmp_path / "out" / "quarantine.jsonl")] == [
        text.replace("\ud83d", "\ufffd") for text in STRANGE
    ]


def test_ties_are_dropped_and_counted(check, vote):
    result = check([vote(number, preference="tie") for number in range(3)])
    assert (result.summary.ties, result.summary.rows_kept) == (3, ROWS + 3)
    assert (result.summary.annotations, result.summary.comparisons) == (ROWS, ROWS)
    assert "3 ties dropped" in result.notes


def test_a_split_tie_is_half_a_vote_for_either_side(check, vote):
    result = check([vote(1, preference="tie")], data={"ties": "split"})
    halves = result.annotations[result.annotations["weight"] != 1]
    assert halves["preference"].tolist() == ["a", "b"]
    assert halves["weight"].tolist() == [0.5, 0.5]
    assert len(result.annotations) == ROWS + 2


@pytest.mark.parametrize("ties", ["drop", "split"])
def test_all_ties_stop_the_run_and_only_that_is_said(check, vote, ties):
    result = check([vote(number, preference="tie") for number in range(30)], good=0, data={"ties": ties})
    with pytest.raises(UserError) as caught:
        result.raise_if_failed()
    assert caught.value.problem.splitlines()[1:] == [
        "  Not all votes are ties: expected at least one vote for a response, found 0 votes for a response"
    ]
    assert caught.value.remedy.startswith("all votes are ties")


def test_too_many_bad_rows_stop_the_run_and_the_first_are_shown(check, vote):
    bad = [{"preference": "?"}, {"prompt": ""}] * 3
    result = check([vote(number, **changes) for number, changes in enumerate(bad)])
    assert not result.passed
    with pytest.raises(UserError, match=r"found 23\.1% of rows in quarantine") as caught:
        result.raise_if_failed()
    shown = [line for line in caught.value.problem.splitlines() if line.startswith("    ")]
    assert [f"line {ROWS + number}:" in line for number, line in enumerate(shown, start=1)] == [True] * 3
    assert "6 rows in quarantine, all of them in quarantine.jsonl" in caught.value.problem
    assert "validation.max_bad_rows" in caught.value.remedy
    check([vote(1, preference="?")]).raise_if_failed()


def test_too_few_comparisons_stop_the_run(check):
    with pytest.raises(UserError, match="at least 10 usable comparisons, found 9 usable comparisons"):
        check([], good=9).raise_if_failed()
    check([], good=10).raise_if_failed()


@pytest.mark.parametrize("bad", [{"response_a": ""}, {"prompt": None}])
def test_nothing_but_bad_rows_is_refused_not_a_crash(check, vote, bad, tmp_path):
    result = check([vote(1, **bad)], good=0, validation={"max_bad_rows": 1.0})
    assert (result.summary.rows_read, result.summary.rows_kept, result.summary.annotations) == (1, 0, 0)
    with pytest.raises(UserError, match="found 0 usable comparisons"):
        result.raise_if_failed()
    save(result, tmp_path / "out")
    assert list(pd.read_parquet(tmp_path / "out" / "annotations.parquet")) == list(COLUMNS)


def test_warnings_do_not_stop_the_run(check, vote):
    ties = [vote(number, "eve", "tie") for number in range(ROWS + 10)]
    result = check([*ties, vote(1, "rare")])
    failed = {each.title for each in result.expectations if not each.passed}
    assert failed == {
        "Not too many ties",
        "Annotators overlap",
        "Every annotator has judged enough",
        "Position does not decide",
    }
    assert {each.severity for each in result.expectations if not each.passed} == {"warning"}
    assert outcome(result, "Every annotator has judged enough").observed == "1 of 2 annotators have fewer"
    result.raise_if_failed()


def test_enough_overlap_is_no_warning(check, vote):
    result = check([vote(1000 + number, "second") for number in range(10)])
    overlap = outcome(result, "Annotators overlap")
    assert overlap.passed
    assert overlap.observed == "50.0% of comparisons judged by several annotators"


def test_position_balance_is_the_share_of_the_first_shown(check, vote):
    half = check([vote(number, preference="b") for number in range(ROWS)])
    assert outcome(half, "Position does not decide").observed == "the response shown first got 50.0% of votes"
    assert outcome(half, "Position does not decide").passed


def test_unknown_positions_are_said_not_judged(write):
    rows = [{"prompt": f"q{number}", "chosen": "x", "rejected": "y"} for number in range(20)]
    result = validate(read_annotations(write(rows), Settings().data), Settings())
    found = outcome(result, "Position does not decide")
    assert (found.severity, found.passed, found.observed) == ("info", True, "display positions are not known")


def test_great_expectations_own_results_are_kept_without_texts(check, vote, tmp_path):
    result = check([vote(1, prompt="a secret", response_a="a secret", response_b="a secret")])
    save(result, tmp_path / "out")
    results = read_json(tmp_path / "out" / "great_expectations.json")["results"]
    types = {each["expectation_config"]["type"] for each in results}
    assert {"expect_column_values_to_be_in_set", "expect_column_mean_to_be_between"} <= types
    assert "secret" not in json.dumps(results)
    assert [each["expectation_config"]["severity"] for each in results].count("critical") == 4


def test_saved_files_say_what_the_result_says(check, vote, tmp_path):
    result = check([vote(1, prompt="")])
    save(result, tmp_path / "out")
    described = read_json(tmp_path / "out" / "validation.json")
    assert described["summary"]["digest"] == result.summary.digest
    assert len(described["expectations"]) == len(result.expectations)
    assert described["notes"] == result.notes
    (row,) = read_jsonl(tmp_path / "out" / "quarantine.jsonl")
    assert row["reasons"] == ["the prompt is empty"]
    saved = pd.read_parquet(tmp_path / "out" / "annotations.parquet")
    pd.testing.assert_frame_equal(saved, result.annotations)
    assert content_digest(saved) == result.summary.digest


def test_the_digest_does_not_depend_on_order_or_file_names(write, vote):
    rows = [vote(number) for number in range(20)]
    results = [
        validate(read_annotations(source, Settings().data), Settings())
        for source in (
            write(rows),
            write(rows[::-1], "x.jsonl"),
            f"{write(rows[:5], '1.json')},{write(rows[5:], '2.json')}",
        )
    ]
    assert len({result.summary.digest for result in results}) == 1


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), st.text("ab", max_size=2)), min_size=1
    ),
    st.randoms(),
)
def test_the_digest_is_of_the_rows_as_a_bag(pairs, random):
    frame = pd.DataFrame([dict.fromkeys(COLUMNS, "x") | {"prompt": p, "annotator_id": a} for p, a in pairs])
    order = list(range(len(frame)))
    random.shuffle(order)
    assert content_digest(frame) == content_digest(frame.iloc[order])
    assert content_digest(frame) != content_digest(pd.concat([frame, frame.iloc[:1]]))
    assert content_digest(frame) != content_digest(frame.assign(prompt=frame["prompt"] + "!"))


@pytest.mark.skipif(not DATA.exists(), reason="the real annotations in ../shared/data are not on this machine")
@pytest.mark.parametrize(
    ("name", "counts"), [("llmfao", (8931, 7580, 2786, 1667, 13, 124)), ("pandalm", (2997, 2509, 240, 775, 156, 3))]
)
def test_real_annotations_pass(name, counts):
    result = validate(read_annotations(str(DATA / name / "annotations.jsonl"), Settings().data), Settings())
    s = result.summary
    assert (s.rows_read, s.rows_kept, s.ties, s.comparisons, s.prompts, s.annotators) == counts
    result.raise_if_failed()
    assert np.isclose(result.annotations["weight"], 1).all()
