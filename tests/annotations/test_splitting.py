import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from repo.annotations.schema import empty_table, pair_digest
from repo.annotations.splitting import load_split, save_split, split_annotations
from repo.errors import UserError
from repo.settings import DataSettings


def table(prompts, responses=("x", "y")):
    first, second = responses
    rows = [
        {
            "comparison_id": pair_digest(prompt, first, second),
            "prompt": prompt,
            "response_a": first,
            "response_b": second,
            "messages": False,
            "preference": "a",
            "annotator_id": "ann",
            "weight": 1.0,
            "line": number,
        }
        for number, prompt in enumerate(prompts)
    ]
    return pd.concat([empty_table(), pd.DataFrame(rows)]).fillna("").astype(empty_table().dtypes.to_dict())


SETTINGS = DataSettings(min_prompts=2, held_out=0.5)
prompt_sets = st.sets(st.text(st.characters(exclude_categories=("Cs",)), max_size=8), min_size=2, max_size=15)


def sides(split):
    return set(split.train["prompt"]), set(split.held_out["prompt"])


@settings(deadline=None)
@given(prompt_sets, prompt_sets)
def test_adding_data_never_moves_a_prompt(some, more):
    try:
        before = sides(split_annotations(table(sorted(some)), SETTINGS))
    except UserError:
        assume(False)
    after = sides(split_annotations(table(sorted(more | some, reverse=True)), SETTINGS))
    assert before[0] <= after[0]
    assert before[1] <= after[1]
    assert not after[0] & after[1]
    assert after[0] | after[1] == some | more


def test_no_prompt_stands_on_both_sides_and_no_row_is_lost():
    annotations = pd.concat([table([f"q{n}" for n in range(500)], pair) for pair in (("x", "y"), ("x", "z"))])
    split = split_annotations(annotations, DataSettings())
    assert split.by == "prompt"
    assert not split.notes
    train, held_out = sides(split)
    assert not train & held_out
    assert len(split.train) + len(split.held_out) == 1000
    assert 60 <= len(held_out) <= 140


HELD_OUT = ["q0", "q14", "q3", "q5", "q7"]
"""Those of q0 … q19 whose SHA-256 (behind the length, as 8 bytes) is under 0.2 of its range."""


def test_the_sides_are_the_same_for_ever():
    split = split_annotations(table([f"q{n}" for n in range(20)]), DataSettings())
    assert sorted(split.held_out["prompt"]) == HELD_OUT


def test_few_prompts_are_split_by_comparison_and_that_is_said():
    annotations = pd.concat([table(["one prompt"], ("x", f"y{n}")) for n in range(50)])
    split = split_annotations(annotations, DataSettings())
    assert split.by == "comparison"
    assert "says nothing of new prompts" in split.notes[0]
    assert "distinct prompts 1, fewer than data.min_prompts = 20" in split.notes[0]
    assert len(split.train) + len(split.held_out) == 50
    assert not set(split.train["comparison_id"]) & set(split.held_out["comparison_id"])


def test_the_same_pair_under_two_ids_stays_on_one_side():
    pairs = pd.concat([table(["one prompt"], ("x", f"y{n}")) for n in range(30)])
    split = split_annotations(pd.concat([pairs, pairs.assign(comparison_id="other")]), DataSettings())
    assert not set(split.train["response_b"]) & set(split.held_out["response_b"])


@pytest.mark.parametrize(
    ("share", "words"), [(0.001, "evaluation side.*\n.*raise"), (0.999, "training side.*\n.*lower")]
)
def test_an_empty_side_is_refused_with_a_remedy(share, words):
    with pytest.raises(UserError, match=words):
        split_annotations(table([f"q{n}" for n in range(20)]), DataSettings(held_out=share))


def test_a_saved_split_is_read_back_as_it_was(tmp_path):
    split = split_annotations(table([f"q{n}" for n in range(10)]), DataSettings(held_out=0.5))
    save_split(split, tmp_path)
    again = load_split(tmp_path)
    pd.testing.assert_frame_equal(again.train, split.train)
    pd.testing.assert_frame_equal(again.held_out, split.held_out)
    assert (again.by, again.notes) == (split.by, split.notes)
