import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from readings import PAIRED

from repo.annotations.reading.canonical import canonical_row
from repo.annotations.reading.reader import read_annotations
from repo.annotations.schema import COLUMNS, VIRTUAL_ANNOTATOR, flip, pair_digest
from repo.errors import UserError
from repo.settings import DataSettings

SETTINGS = DataSettings()
USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "x"}
OTHER = {"role": "assistant", "content": "y"}


def read(write, rows, **settings):
    return read_annotations(write(rows), DataSettings(**settings))


def only(result):
    assert not result.rejected
    (row,) = result.annotations.to_dict("records")
    return row


def chosen(row):
    """The response that a canonical row prefers."""
    return row[f"response_{row['preference']}"]


def test_the_trl_layout_is_read_as_a_vote_for_chosen(write):
    row = only(read(write, [{"prompt": "q", "chosen": "good", "rejected": "bad", "gold": "rejected"}]))
    assert list(row) == list(COLUMNS)
    assert chosen(row) == "good"
    assert row[f"response_{row['gold']}"] == "bad"
    assert (row["shown_first"], row["annotator_id"], row["line"]) == ("", VIRTUAL_ANNOTATOR, 1)
    assert row["comparison_id"] == pair_digest("q", "good", "bad")


def test_ultrafeedback_responses_lose_the_turn_that_repeats_the_prompt(write):
    row = only(read(write, [{"prompt": "q", "chosen": [USER, ASSISTANT], "rejected": [USER, OTHER]}]))
    assert row["messages"]
    assert json.loads(row["prompt"]) == [USER]
    assert json.loads(chosen(row)) == [ASSISTANT]


def test_an_implicit_prompt_is_the_common_prefix(write):
    turns = [USER, ASSISTANT, {"role": "user", "content": "and then?"}]
    row = only(read(write, [{"chosen": [*turns, ASSISTANT], "rejected": [*turns, OTHER]}]))
    assert json.loads(row["prompt"]) == turns
    assert json.loads(chosen(row)) == [ASSISTANT]


def test_messages_keep_only_role_and_content(write):
    reply = ASSISTANT | {"name": None}
    row = only(read(write, [{"prompt": [USER], "chosen": [reply], "rejected": [OTHER]}]))
    assert json.loads(chosen(row)) == [ASSISTANT]


@pytest.mark.parametrize("preference", ["a", " A ", "b", "B", "tie", "Tie "])
def test_preferences_are_read_whatever_their_case_and_spaces(write, vote, preference):
    row = only(read(write, [vote(preference=preference)]))
    if preference.strip().lower() == "tie":
        assert row["preference"] == "tie"
    else:
        assert chosen(row) == vote()[f"response_{preference.strip().lower()}"]


@pytest.mark.parametrize("gold", ["a", "A", "first answer 0"])
def test_gold_is_a_side_or_the_text_of_a_response(write, vote, gold):
    row = only(read(write, [vote(gold=gold)]))
    assert row[f"response_{row['gold']}"] == "first answer 0"


@pytest.mark.parametrize(("given", "text"), [(7, "7"), (7.0, "7"), ("x", "x"), (True, "True"), (None, ""), (" ", "")])
def test_any_scalar_is_an_annotator_id(write, vote, given, text):
    assert only(read(write, [vote(annotator_id=given)]))["annotator_id"] == text


def test_a_given_comparison_id_is_kept_as_text(write, vote):
    assert only(read(write, [vote(comparison_id=42)]))["comparison_id"] == "42"


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(texts, texts, texts, st.sampled_from(["a", "b", "tie"]), st.sampled_from(["a", "b", None]))
def test_swapping_the_two_responses_changes_only_what_stood_first(prompt, first, second, preference, gold):
    row = {"prompt": prompt, "response_a": first, "response_b": second, "preference": preference, "gold": gold}
    swapped = row | {
        "response_a": second,
        "response_b": first,
        "preference": flip(preference),
        "gold": gold and flip(gold),
    }
    one, other = (canonical_row(each, PAIRED, "f", 1) for each in (row, swapped))
    if first == second:
        return
    for column in ("shown_first", "listed_first"):
        assert one.pop(column) == flip(other.pop(column))
    assert one == other


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt": None}, "prompt is missing"),
        ({"response_a": True}, "response_a is true/false"),
        ({"response_b": {"text": "x"}}, "response_b is an object"),
        ({"prompt": [{"role": "user"}]}, "content is missing"),
        ({"prompt": ["hello"]}, "holds text where a message"),
        ({"response_a": [{"role": "user", "content": "something else"}]}, "neither reply to the prompt nor repeat it"),
        ({"gold": "neither of them"}, "gold is neither"),
    ],
)
def test_a_row_that_cannot_be_understood_is_rejected_with_its_line(write, vote, changes, reason):
    bad = vote(1, **changes)
    result = read(write, [bad])
    assert (result.rows_read, len(result.annotations)) == (1, 0)
    (rejected,) = result.rejected
    assert reason in rejected.reasons[0]
    assert (rejected.line, rejected.row) == (1, bad)


def test_every_missing_text_is_a_reason(write, vote):
    (rejected,) = read(write, [vote(prompt=None, response_b=None)]).rejected
    assert rejected.reasons == ["prompt is missing", "response_b is missing"]


def test_a_conversation_without_prompt_must_share_a_turn(write):
    with pytest.raises(UserError, match="fit no layout: prompt missing"):
        read(write, [{"chosen": "text", "rejected": "texts"}])
    rows = [{"chosen": [USER, ASSISTANT], "rejected": [OTHER]}]
    assert "share no leading turn" in read(write, rows).rejected[0].reasons[0]


def test_wrong_columns_are_named_with_the_nearest_and_the_mapping(write):
    path = write([{"prompt": "q", "answer_a": "x", "answer_b": "y", "preference": "a"}])
    with pytest.raises(UserError, match="fit no layout: response_a, response_b missing") as caught:
        read_annotations(path, SETTINGS)
    assert "'answer_a'" in caught.value.problem
    assert "chosen, rejected (TRL)" in caught.value.problem
    assert "columns: {response_a: answer_a, response_b: answer_b}" in caught.value.remedy


def test_a_crowd_table_is_sent_to_the_command_that_reads_it(write):
    path = write("item,worker,label\n1,w,0\n", "crowd.csv")
    with pytest.raises(UserError, match="a crowd table, labels of tasks without texts") as caught:
        read_annotations(path, SETTINGS)
    assert f"repo-pipeline reliability --annotations {path}" in caught.value.remedy


def test_the_mapping_renames_foreign_columns(write, vote):
    row = vote()
    foreign = {"question": row.pop("prompt"), "who": row.pop("annotator_id"), **row, "annotator_id": "not this one"}
    read_row = only(read(write, [foreign], columns={"prompt": "question", "annotator_id": "who"}))
    assert (read_row["prompt"], read_row["annotator_id"]) == ("question 0", "ann")


@pytest.mark.parametrize(
    ("columns", "words"),
    [({"prompt": "nowhere"}, "no column 'nowhere'.*\n.*'prompt'"), ({"promt": "prompt"}, "did you mean 'prompt'")],
)
def test_a_wrong_mapping_names_what_there_is(write, vote, columns, words):
    with pytest.raises(UserError, match=words):
        read(write, [vote()], columns=columns)


def test_a_column_that_changes_its_kind_is_named_by_line(write, vote):
    with pytest.raises(UserError, match="line 2: prompt is a list here but text in the rows before"):
        read(write, [vote(), vote(prompt=[USER])])
    with pytest.raises(UserError, match="line 1: annotator_id is a list"):
        read(write, [vote(annotator_id=["x"])])


def multipref(number, normal, expert):
    votes = [
        [{"evaluator": who, "overall_pref": what, "helpful_pref": "Tie"} for who, what in group]
        for group in (normal, expert)
    ]
    return {
        "comparison_id": f"c{number}",
        "prompt_id": f"p{number}",
        "text": f"question {number}",
        "model_a": "m",
        "model_b": "n",
        "completion_a": f"first {number}",
        "completion_b": f"second {number}",
        "normal_worker_annotations": votes[0],
        "expert_worker_annotations": votes[1],
    }


def test_multipref_unfolds_into_one_row_an_annotation(write):
    rows = [
        multipref(1, [("n1", "A-is-clearly-better"), ("n2", "Tie")], [("e1", "B-is-slightly-better")]),
        multipref(2, [("n1", "A-is-slightly-better")], [("e2", "B-is-clearly-better"), ("e1", "nonsense")]),
    ]
    result = read(write, rows)
    table = result.annotations
    assert "2 comparisons of MultiPref's layout hold 6 annotations" in result.notes[0]
    assert table["annotator_id"].tolist() == ["n1", "n2", "e1", "n1", "e2", "e1"]
    assert table["line"].tolist() == [1, 1, 1, 2, 2, 2]
    assert table["comparison_id"].tolist() == ["c1"] * 3 + ["c2"] * 3
    said = [chosen(row) if row["preference"] in ("a", "b") else row["preference"] for row in table.to_dict("records")]
    assert said == ["first 1", "tie", "second 1", "first 2", "second 2", "nonsense"]


def test_multipref_is_also_read_from_parquet(tmp_path):
    import datasets

    rows = [multipref(1, [("n1", "A-is-clearly-better")], []), multipref(2, [], [("e1", "Tie")])]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "multipref.parquet")
    table = read_annotations(str(tmp_path / "multipref.parquet"), SETTINGS).annotations
    assert table["annotator_id"].tolist() == ["n1", "e1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"prompt": {"0": "q", "1": "r"}, "chosen": {"0": "x", "1": "x"}}', "orient=.records"),
        ('{"data": [{"prompt": "q", "chosen": "x", "rejected": "y"}]}', "write that list alone"),
    ],
)
def test_a_table_in_one_object_is_told_from_a_row(write, text, words):
    with pytest.raises(UserError, match="one object that holds") as caught:
        read_annotations(write(text, "x.json"), SETTINGS)
    assert re.search(words, caught.value.remedy)
    message = {"role": "assistant", "content": "x"}
    pair = {"prompt": "q", "chosen": message, "rejected": message | {"content": "y"}}
    assert len(read(write, [pair]).annotations) == 1
