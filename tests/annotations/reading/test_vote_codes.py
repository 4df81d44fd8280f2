import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repo.annotations.reading.reader import read_annotations
from repo.annotations.reading.vote_codes import VoteCodes
from repo.errors import UserError
from repo.ids import code_text
from repo.settings import DataSettings, load_settings

SPELLINGS = {"a": (1, 1.0, "1", " 1.0 "), "b": (2, 2.0, "2", "2.00")}


def winners(source, **settings):
    """The text that each annotation prefers, or 'tie'."""
    rows = read_annotations(source, DataSettings(**settings)).annotations.to_dict("records")
    return [row.get(f"response_{row['preference']}", row["preference"]) for row in rows]


def coded(vote, codes):
    return [vote(number, preference=code) for number, code in enumerate(codes)]


@pytest.mark.parametrize(
    "words", ["a b", "A B", "left right", "model_a model_b", "response_a response_b", "First second"]
)
def test_words_for_the_two_responses_are_known(write, vote, words):
    assert winners(write(coded(vote, words.split()))) == ["first answer 0", "second answer 1"]


@pytest.mark.parametrize("word", ["tie", "Tie", "tie (bothbad)", "both_bad"])
def test_words_for_a_tie_are_known(write, vote, word):
    assert winners(write(coded(vote, ["a", word]))) == ["first answer 0", "tie"]


@pytest.mark.parametrize("codes", [(1, 2), (0, 1), ("1", "2"), (True, False), (-1, 1), ("x", "y")])
def test_codes_are_never_guessed_and_each_line_of_the_hint_says_when_it_holds(write, vote, codes):
    first, second = codes
    source = write(coded(vote, [first, first, second]))
    with pytest.raises(UserError, match="what does preference mean by") as caught:
        winners(source)
    assert f"{code_text(first)!r} (2 times), {code_text(second)!r} (1 times)" in caught.value.problem
    hints = re.findall(r"(--set .*?) if (?:'(.*?)' means that response_a|it means response_b)", caught.value.remedy)
    assert len(hints) == 2
    said = {}
    for hint, meaning in hints:
        data = load_settings(None, [shlex.split(hint)[1]]).data
        if meaning:
            named = meaning
        said[bool(meaning)] = winners(source, values=data.values)
    of_first = ["first answer 0", "first answer 1", "second answer 2"]
    of_second = ["second answer 0", "second answer 1", "first answer 2"]
    assert said == (
        {True: of_first, False: of_second} if named == code_text(first) else {True: of_second, False: of_first}
    )


def test_more_than_two_codes_are_shown_with_their_counts_and_a_line_to_fill_in(write, vote):
    source = write(coded(vote, [0, 1, 1, 2, 2, 2]))
    with pytest.raises(UserError, match=r"'2' \(3 times\), '1' \(2 times\), '0' \(1 times\)") as caught:
        winners(source)
    (hint,) = re.findall(r"--set .*", caught.value.remedy)
    with pytest.raises(UserError, match="stands there twice"):
        load_settings(None, [shlex.split(hint)[1]])


def test_a_file_whose_votes_are_names_is_not_asked_for_hundreds_of_codes(write, vote):
    with pytest.raises(UserError, match="and 12 more") as caught:
        winners(write(coded(vote, [f"model {number}" for number in range(20)])))
    assert "which column is the vote" in caught.value.remedy


@pytest.mark.parametrize("odd", ["--5", "9" * 5000, "-" + "9" * 5000, "٣", "word " * 5000])
def test_codes_that_look_like_numbers_or_are_whole_texts_are_shown_in_a_few_lines(write, vote, odd):
    with pytest.raises(UserError, match="what does preference mean by") as caught:
        read_annotations(write([vote(1, preference=odd), vote(2, preference="x")]), DataSettings())
    assert len(str(caught.value)) < 1000


def test_the_settings_say_what_codes_mean(write, vote):
    source = write(coded(vote, [1, "2", 0, "tie", -100, 1.0]))
    values = {"a": [1], "b": [2, "right"], "tie": [0], "skip": [-100]}
    assert winners(source, values=values) == ["first answer 0", "second answer 1", "tie", "tie", "first answer 5"]
    notes = read_annotations(source, DataSettings(values=values)).notes
    assert any(note.endswith("1 rows are no vote (data.values.skip)") for note in notes)
    lines = read_annotations(source, DataSettings(values=values)).annotations["line"].tolist()
    assert lines == [1, 2, 3, 4, 6]


def test_the_settings_go_before_the_known_words(write, vote):
    source = write(coded(vote, ["left", "right"]))
    assert winners(source, values={"a": ["right"], "b": ["left"]}) == ["second answer 0", "first answer 1"]


def test_the_files_own_names_of_the_responses_are_words_too(write):
    row = {"prompt": "q", "answer_1": "one", "answer_2": "two"}
    source = write([{**row, "preference": "answer_1"}, {**row, "preference": "answer_2"}])
    names = {"response_a": "answer_1", "response_b": "answer_2"}
    turned = {"response_a": "answer_2", "response_b": "answer_1"}
    assert winners(source, columns=names) == winners(source, columns=turned) == ["one", "two"]


def test_a_few_unknown_votes_are_bad_rows_not_a_reason_to_refuse_the_file(write, vote):
    result = read_annotations(write(coded(vote, ["a", "b", "b", "C"])), DataSettings())
    assert result.annotations["preference"].tolist()[-1] == "C"


def test_a_file_of_nothing_but_skipped_rows_is_refused(write, vote):
    with pytest.raises(UserError, match=r"data\.values skips every row"):
        winners(write(coded(vote, [-100, -100])), values={"a": [1], "skip": [-100]})


def test_one_code_cannot_mean_two_things():
    with pytest.raises(UserError, match=r"data\.values.*the code '1' stands there twice"):
        load_settings(None, ["data.values={a: [1], b: ['1']}"])


def test_gold_is_read_by_the_same_codes(write, vote):
    rows = [vote(0, preference=1, gold=2), vote(1, preference=2, gold=2.0)]
    table = read_annotations(write(rows), DataSettings(values={"a": [1], "b": [2]})).annotations
    assert [row[f"response_{row['gold']}"] for row in table.to_dict("records")] == [
        "second answer 0",
        "second answer 1",
    ]


@given(st.sampled_from(["a", "b"]), st.data())
def test_a_code_means_the_same_in_every_spelling_that_files_produce(side, data):
    codes = VoteCodes.of(DataSettings(values={"a": [1], "b": [2]}))
    assert codes.read(data.draw(st.sampled_from(SPELLINGS[side]))) == side


@pytest.mark.parametrize(("shown", "first"), [("a", "first"), ("right", "second"), (2, "second"), (None, "")])
def test_a_column_may_say_which_response_was_displayed_first(write, vote, shown, first):
    settings = DataSettings(display="on_top", values={"a": [1], "b": [2]})
    (row,) = read_annotations(write([vote(on_top=shown)]), settings).annotations.to_dict("records")
    assert row.get(f"response_{row['shown_first']}", "").startswith(first)
    assert bool(row["shown_first"]) == bool(first)


def test_the_display_order_may_be_unknown_and_the_names_of_the_responses_stay(write, vote):
    (row,) = read_annotations(write([vote()]), DataSettings(display="unknown")).annotations.to_dict("records")
    assert row["shown_first"] == ""
    assert row[f"response_{row['listed_first']}"] == "first answer 0"


def test_chosen_or_rejected_may_have_been_displayed_first(write):
    row = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    source = write([row | {"top": "rejected"}, row | {"top": "chosen"}])
    table = read_annotations(source, DataSettings(display="top")).annotations.to_dict("records")
    assert [row[f"response_{row['shown_first']}"] for row in table] == ["bad", "good"]


def test_a_display_column_that_is_missing_or_says_something_else_is_named(write, vote):
    with pytest.raises(UserError, match=r"no column 'top' \(data\.display\)"):
        read_annotations(write([vote()]), DataSettings(display="top"))
    (bad,) = read_annotations(write([vote(top="above")]), DataSettings(display="top")).rejected
    assert bad.reasons == ["top (data.display) is 'above', not one of the responses (data.values)"]
