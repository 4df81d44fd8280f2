"""Where rows are bad for one reason, the message has that reason and its own remedy."""

from collections.abc import Callable
from typing import Any

import pytest

from repo.annotations.reading.reader import read_annotations
from repo.annotations.validation.suite import validate
from repo.errors import UserError
from repo.settings import Settings

Write = Callable[..., str]
Vote = Callable[..., dict[str, Any]]


@pytest.fixture
def refused(write: Write) -> Callable[[list[dict[str, Any]]], UserError]:
    def refused(rows: list[dict[str, Any]]) -> UserError:
        result = validate(read_annotations(write(rows), Settings().data), Settings())
        with pytest.raises(UserError) as caught:
            result.raise_if_failed()
        return caught.value

    return refused


Refused = Callable[[list[dict[str, Any]]], UserError]
ONE_REASON = [
    ({"prompt": ""}, "the prompt is empty", "data.columns"),
    ({"response_a": ""}, "a response is empty", "data.columns"),
    ({"response_a": "x", "response_b": "x"}, "both responses are the same text", "data.columns"),
    ({"annotator_id": "null"}, "annotator_id is missing", "the id of who judged"),
    ({"annotator_id": "x" * 300}, "annotator_id is longer than 256 characters", "validation.max_id_characters"),
    ({"prompt": "x" * 100_001}, "the prompt is longer than 100000 characters", "validation.max_characters"),
    ({"prompt": None}, "prompt is missing", "map it in data.columns"),
    ({"gold": "neither"}, "gold is neither a nor b nor the text of one of the responses", "leave it empty"),
]


@pytest.mark.parametrize(("changes", "reason", "remedy"), ONE_REASON)
def test_one_reason_has_its_own_remedy(
    refused: Refused, vote: Vote, changes: dict[str, Any], reason: str, remedy: str
) -> None:
    error = refused([vote(number, **changes) for number in range(12)])
    assert f"all 12 for one reason: {reason}; the first:" in error.problem
    assert error.problem.count(f"{reason}") == 4
    assert remedy in error.remedy
    assert "repair the rows in quarantine" not in error.remedy
    assert "collect more annotations" not in error.remedy


def test_ids_of_two_pairs_and_contradictions_have_theirs(refused: Refused, vote: Vote) -> None:
    error = refused([vote(number, f"w{number}", comparison_id=7) for number in range(12)])
    assert "all 12 for one reason: the same comparison_id names another prompt" in error.problem
    assert "leave the column out" in error.remedy
    error = refused([vote(number, preference=side) for number in range(6) for side in "ab"])
    assert "all 12 for one reason: the same annotator voted otherwise" in error.problem
    assert "created_at" in error.remedy


def test_unknown_preferences_are_counted_and_nothing_is_guessed(refused: Refused, vote: Vote) -> None:
    good = [vote(number) for number in range(100, 113)]
    error = refused([*good, *(vote(number, preference=1 if number % 3 else "both") for number in range(12))])
    assert "all 12 for one reason: preference is unknown" in error.problem
    assert "data.values: {a: [...], b: [...], tie: [...], skip: [...]}" in error.remedy
    assert error.remedy.endswith("found: '1' (8 times), 'both' (4 times)")


def test_nearly_all_is_enough_and_says_how_many(refused: Refused, vote: Vote) -> None:
    rows = [vote(number, preference="?") for number in range(19)]
    error = refused([vote(20, prompt=""), *rows, *(vote(number) for number in range(100, 120))])
    assert "19 of 20 for one reason: preference is unknown" in error.problem
    assert "line 1:" not in error.problem


def test_several_reasons_are_told_as_ever(refused: Refused, vote: Vote) -> None:
    rows = [vote(number, preference="?") if number % 2 else vote(number, prompt="") for number in range(12)]
    error = refused(rows)
    assert "for one reason" not in error.problem
    assert "repair the rows in quarantine" in error.remedy


def test_a_few_bad_rows_are_not_what_stops_a_batch_of_ties(refused: Refused, vote: Vote) -> None:
    error = refused([*[vote(number, preference="tie") for number in range(20)], vote(30, preference="?")])
    assert "for one reason" not in error.problem
    assert error.remedy.startswith("all votes are ties")


def test_values_found_do_not_part_one_reason(write: Write, vote: Vote) -> None:
    settings = Settings(data={"display": "seen"})
    rows = [vote(number, seen=bool(number % 2)) for number in range(12)]
    with pytest.raises(UserError) as caught:
        validate(read_annotations(write(rows), settings.data), settings).raise_if_failed()
    assert "all 12 for one reason: seen (data.display) is unknown, not one of the responses" in caught.value.problem
    assert "line 1: seen (data.display) is 'false', not one" in caught.value.problem
    assert "data.display=unknown" in caught.value.remedy
    assert "max_bad_rows" not in caught.value.remedy


def test_the_remedy_for_whole_conversations_beside_a_prompt_can_be_followed(write: Write) -> None:
    def talk(said: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"hi {said[-1]}"}, {"role": "assistant", "content": said}]

    rows = [
        {"prompt": f"user: hi {n}", "chosen": talk(f"good {n}"), "rejected": [talk(f"{n}")[0], talk(f"bad {n}")[1]]}
        for n in range(10, 22)
    ]
    path = write(rows)
    with pytest.raises(UserError, match="neither reply to the prompt") as caught:
        validate(read_annotations(path, Settings().data), Settings()).raise_if_failed()
    assert "data.ignore=[prompt]" in caught.value.remedy
    followed = Settings(data={"ignore": ["prompt"]})
    assert validate(read_annotations(path, followed.data), followed).passed
