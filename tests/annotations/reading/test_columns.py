import re

import pytest
import yaml

from repo.annotations.reading.columns import UNKNOWN, suggest
from repo.annotations.reading.layouts import KNOWN, PAIRED
from repo.annotations.reading.reader import read_annotations
from repo.errors import UserError
from repo.settings import DataSettings

ROW = {"prompt": "q", "chosen": "good", "rejected": "bad"}


def read(source, **settings):
    return read_annotations(source, DataSettings(**settings))


def preferred(result):
    return [row[f"response_{row['preference']}"] for row in result.annotations.to_dict("records")]


CERTAIN = [
    ("response_A", "response_B"),
    ("completion_a", "completion_b"),
    ("answerA", "answerB"),
    ("a response", "b response"),
]
UNCERTAIN = [
    ("response_1", "response_2"),
    ("response1", "response2"),
    ("response_0", "response_1"),
    ("answer_2", "answer_1"),
    ("output one", "output two"),
    ("human", "machine"),
    ("model_a", "model_b"),
]


@pytest.mark.parametrize("turned", [1, -1])
@pytest.mark.parametrize("names", CERTAIN + UNCERTAIN)
def test_no_hint_exchanges_better_and_worse(write, names, turned):
    """Followed to the letter, the hint is right or refused: a stands for a, whatever the order of the columns."""
    first, second = names[::turned]
    rows = [{"prompt": f"q{n}", first: f"of {first}", second: f"of {second}", "preference": "a"} for n in range(3)]
    source = write(rows)
    with pytest.raises(UserError, match="fit no layout") as caught:
        read(source)
    (hint,) = re.findall(r"columns: ({.*?})", caught.value.remedy)
    columns = yaml.safe_load(hint)
    if names in CERTAIN:
        assert preferred(read(source, columns=columns)) == [f"of {names[0]}"] * 3
    else:
        assert columns == {"response_a": UNKNOWN, "response_b": UNKNOWN}
        with pytest.raises(UserError, match=f"no column '{UNKNOWN}'"):
            read(source, columns=columns)


@pytest.mark.parametrize("names", [("chosen_response", "rejected_response"), ("response_rejected", "response_chosen")])
def test_chosen_and_rejected_are_found_under_longer_names(write, names):
    rows = [{"prompt": "q", name: "good" if "chosen" in name else "bad"} for name in names]
    source = write([rows[0] | rows[1]])
    with pytest.raises(UserError, match="fit no layout") as caught:
        read(source)
    (hint,) = re.findall(r"columns: ({.*?})", caught.value.remedy)
    columns = yaml.safe_load(hint)
    if UNKNOWN not in columns.values():
        assert preferred(read(source, columns=columns)) == ["good"]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["winner"], "winner"),
        (["winner", "preference_strength"], UNKNOWN),
        (["model"], UNKNOWN),
    ],
)
def test_a_vote_column_is_suggested_where_there_is_just_one(columns, found):
    assert suggest(PAIRED[3:], columns, KNOWN) == {"preference": found}


def conversations(winner):
    return {"prompt": "q", "conversation_a": "one", "conversation_b": "two", "winner": winner}


def test_a_vote_that_would_not_be_read_is_refused_with_what_to_write(write):
    source = write([conversations(winner) for winner in ("model_a", "model_b", "tie")])
    mapped = {"chosen": "conversation_a", "rejected": "conversation_b"}
    with pytest.raises(UserError, match="column 'winner' looks like the vote and would not be read") as caught:
        read(source, columns=mapped)
    assert "'model_a' (1 times)" in caught.value.problem
    assert "every row says that conversation_a is better than conversation_b" in caught.value.problem
    assert "preference: winner" in caught.value.remedy
    assert "data.ignore=[winner]" in caught.value.remedy
    right = {"response_a": "conversation_a", "response_b": "conversation_b", "preference": "winner"}
    assert read(source, columns=right).annotations["preference"].tolist().count("tie") == 1
    assert preferred(read(source, columns=mapped, ignore=["winner"])) == ["one"] * 3


@pytest.mark.parametrize("other", [{"label": 1}, {"winner": None}, {"verdict": ""}, {"score": 0.5}])
def test_a_column_that_never_differs_or_is_not_called_so_is_no_vote(write, other):
    assert preferred(read(write([ROW | other, ROW | other | {"prompt": "r"}]))) == ["good", "good"]


def test_columns_with_content_that_are_not_read_are_named_and_empty_ones_are_not(write):
    source = write([ROW | {"empty": None, "blank": " ", "nothing": [], "source": None}, ROW | {"source": "web"}])
    assert [note for note in read(source).notes if "not read" in note] == [
        f"{source}: columns not read: source (data.ignore=[...] for those meant to be)"
    ]
    assert not [note for note in read(source, ignore=["source"]).notes if "not read" in note]


def test_a_known_column_may_be_ignored(write):
    assert read(write([ROW | {"gold": "nobody knows"}]), ignore=["gold"]).annotations["gold"].tolist() == [""]


NESTED = {
    "info": {"post": "a long post", "id": 7},
    "summaries": [{"text": " one"}, {"text": " two"}],
    "choice": 1,
    "worker": "w",
}
PATHS = {
    "prompt": "info.post",
    "response_a": "summaries.0.text",
    "response_b": "summaries.1.text",
    "preference": "choice",
    "annotator_id": "worker",
}
ZERO_IS_FIRST = {"a": [0], "b": [1]}


def test_dotted_paths_reach_into_nested_values(write):
    result = read(write([NESTED, NESTED | {"choice": 0, "worker": "v"}]), columns=PATHS, values=ZERO_IS_FIRST)
    assert preferred(result) == [" two", " one"]
    assert result.annotations["prompt"].tolist() == ["a long post"] * 2
    assert not [note for note in result.notes if "not read" in note]


def test_dotted_paths_reach_into_json_text(write):
    source = write(
        "info,summaries,choice,worker\n"
        '"{""post"": ""a long post""}","[{""text"": ""one""}, {""text"": ""two""}]",1,w\n',
        "votes.csv",
    )
    assert preferred(read(source, columns=PATHS, values=ZERO_IS_FIRST)) == ["two"]


def test_a_column_whose_own_name_has_a_dot_is_that_column(write):
    source = write([ROW | {"info.post": "x", "info": {"post": "y"}}])
    assert read(source, columns={"prompt": "info.post"}).annotations["prompt"].tolist() == ["x"]


def test_a_path_that_leads_nowhere_is_named_with_what_there_is(write):
    with pytest.raises(
        UserError, match=r"nothing stands at 'info\.title' in any row \(data\.columns\.prompt\)"
    ) as caught:
        read(write([NESTED]), columns=PATHS | {"prompt": "info.title"})
    assert "'post', 'id'" in caught.value.remedy
    with pytest.raises(UserError, match=r"no column 'inf\.post'"):
        read(write([NESTED]), columns=PATHS | {"prompt": "inf.post"})


def test_a_path_that_leads_nowhere_in_one_row_makes_that_row_bad(write):
    result = read(write([NESTED, NESTED | {"summaries": []}]), columns=PATHS, values=ZERO_IS_FIRST)
    assert [(row.line, row.reasons) for row in result.rejected] == [
        (2, ["response_a is missing", "response_b is missing"])
    ]


@pytest.mark.parametrize("mapping", [{}, {"chosen": "left one", "rejected": "right one"}])
def test_a_preference_beside_chosen_and_rejected_is_not_passed_over(write, mapping):
    names = mapping or {"chosen": "chosen", "rejected": "rejected"}
    rows = [
        {"prompt": f"q{n}", names["chosen"]: "x", names["rejected"]: "y", "preference": "ab"[n % 2]} for n in (0, 1)
    ]
    with pytest.raises(UserError, match="column 'preference' looks like the vote and would not be read"):
        read(write(rows), columns=mapping)


def test_a_hint_can_be_copied_whatever_the_columns_are_called(write):
    row = {"prompt": "q", "a response: long": "one", "b response: long": "two", "preference": "b"}
    source = write([row])
    with pytest.raises(UserError, match="fit no layout") as caught:
        read(source)
    hint = caught.value.remedy.partition("data: ")[2]
    assert preferred(read(source, columns=yaml.safe_load(hint)["columns"])) == ["two"]


def test_conversations_that_hold_the_prompt_need_no_prompt_column_in_the_hint(write):
    def turns(reply):
        return [{"role": "user", "content": "q"}, {"role": "assistant", "content": reply}]

    source = write([{"conversation_a": turns("x"), "conversation_b": turns("y"), "winner": "model_b"}])
    with pytest.raises(UserError, match="fit no layout") as caught:
        read(source)
    columns = yaml.safe_load(caught.value.remedy.partition("data: ")[2])["columns"]
    assert columns == {"response_a": "conversation_a", "response_b": "conversation_b", "preference": "winner"}
    assert "y" in preferred(read(source, columns=columns))[0]


def test_half_a_character_in_nested_json_text_does_no_harm(write):
    source = write(
        'info,chosen,rejected\n"{""post"": ""half \\ud83d""}",good,bad\n',
        "votes.csv",
    )
    assert read(source, columns={"prompt": "info.post"}).annotations["prompt"].tolist() == ["half \ufffd"]


def test_entries_of_a_list_that_no_path_names_are_told(write):
    votes = [{"score": 1}, {"score": 0}, {"score": 0}]
    row = {"prompt": "q", "response_a": "x", "response_b": "y", "votes": votes}
    names = {"preference": "votes.0.score"}
    notes = read(write([row]), columns=names, values=ZERO_IS_FIRST).notes
    assert any("some rows hold more entries than data.columns names, in votes" in note for note in notes)
    assert not [note for note in read(write([NESTED]), columns=PATHS, values=ZERO_IS_FIRST).notes if "entries" in note]


@pytest.mark.parametrize("name", ["WorkerId", "judge", "PROLIFIC_PID"])
def test_a_column_that_may_say_who_judged_is_named(write, name):
    source = write([ROW | {name: "w1"}, ROW | {name: "w2", "prompt": "r"}])
    assert any(f"data.columns={{annotator_id: {name}}}" in note for note in read(source).notes)
    assert read(source, columns={"annotator_id": name}).annotations["annotator_id"].tolist() == ["w1", "w2"]


def test_ties_with_a_column_of_their_own_are_not_taken_for_votes(write):
    outcomes = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    names = ("winner_model_a", "winner_model_b", "winner_tie")
    pair = {"response_a": "x", "response_b": "y"}
    rows = [pair | {"prompt": f"q{n}"} | dict(zip(names, out, strict=True)) for n, out in enumerate(outcomes)]
    one_hot = {"columns": {"preference": "winner_model_a"}, "values": {"a": [1], "b": [0]}}
    with pytest.raises(UserError, match="column 'winner_tie' looks like the vote's ties") as caught:
        read(write(rows), **one_hot)
    assert "one column that says a, b or tie" in caught.value.remedy
    assert preferred(read(write(rows), ignore=["winner_tie"], **one_hot)) == ["x", "y", "y"]
    with_ties = [pair | {"prompt": "q", "preference": word, "tie_reason": word} for word in ("a", "b", "tie")]
    assert len(read(write(with_ties)).annotations) == 3


def test_a_column_that_is_needed_cannot_be_ignored(write):
    with pytest.raises(UserError, match=r"data\.ignore leaves out rejected, which no layout can do without"):
        read(write([ROW]), ignore=["rejected"])
