"""What makes a prompt, where it ends, and the spellings of messages."""

import json

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from readings import PAIRED, TRL

from repo.annotations.reading.canonical import canonical_row
from repo.annotations.reading.reader import read_annotations
from repo.annotations.reading.texts import read_pair
from repo.annotations.reading.values import BadRowError
from repo.annotations.schema import display_text, encode_text
from repo.annotations.validation.measures import measure_rows
from repo.settings import DataSettings


def user(text):
    return {"role": "user", "content": text}


def reply(text):
    return {"role": "assistant", "content": text}


def system(text):
    return {"role": "system", "content": text}


def call(arguments, **others):
    return {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": arguments}}], **others}


WEATHER = {"type": "function", "function": {"name": "weather", "description": "Tells the weather."}}


def pair(**row):
    return read_pair({"chosen": "yes", "rejected": "no"} | row, "chosen", "rejected")


def prompt(**row):
    return pair(**row)[0]


def reasons(**row):
    with pytest.raises(BadRowError) as caught:
        pair(**row)
    return caught.value.reasons


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"system": "Be brief."}, [system("Be brief."), user("q")]),
        ({"input": "Ann, Bob"}, "q\nAnn, Bob"),
        ({"history": [["u", "a"], ["v", "b"]]}, [user("u"), reply("a"), user("v"), reply("b"), user("q")]),
        ({"history": [user("hi"), reply("hello")]}, [user("hi"), reply("hello"), user("q")]),
        ({"context": [user("hi"), reply("hello")]}, [user("hi"), reply("hello"), user("q")]),
        ({"context": [user("hi"), reply("hello"), user("q")]}, [user("hi"), reply("hello"), user("q")]),
        ({"context": "A story."}, "A story.\n\nq"),
        ({"tools": [WEATHER]}, [{"role": "tools", "content": [WEATHER]}, user("q")]),
        ({"tools": json.dumps([WEATHER])}, [{"role": "tools", "content": [WEATHER]}, user("q")]),
        (
            {"system": "s", "input": "i", "context": "c", "history": [["u", "a"]], "tools": [WEATHER]},
            [{"role": "tools", "content": [WEATHER]}, system("s"), user("u"), reply("a"), user("c\n\nq\ni")],
        ),
    ],
)  # fmt: skip
def test_every_column_that_belongs_to_the_prompt_is_read(columns, expected):
    assert prompt(prompt="q", **columns) == expected


@pytest.mark.parametrize("column", ["conversations", "system", "input", "history", "context", "tools"])
@pytest.mark.parametrize("blank", [None, "", " \n", [], float("nan")])
def test_blank_columns_change_nothing(column, blank):
    assert pair(prompt="q", **{column: blank}) == ("q", "yes", "no")


@pytest.mark.parametrize(
    "columns",
    [
        {"context": [user("q")]},
        {"conversations": [user("q")]},
        {"conversations": [user("q")], "prompt": "q"},
        {"conversations": [user("q")], "prompt": ""},
        {"conversations": [user("q")], "prompt": None},
    ],
)
def test_messages_are_the_prompt_where_there_is_no_other(columns):
    assert pair(**columns) == ([user("q")], [reply("yes")], [reply("no")])


@pytest.mark.parametrize("column", ["context", "input", "history"])
def test_a_text_beside_no_prompt_is_the_prompt(column):
    assert pair(**{column: "q"}) == ("q", "yes", "no")


def test_a_system_text_is_not_doubled():
    turns = [system("Be brief."), user("q")]
    assert prompt(system="Be brief.", prompt=turns) == turns
    sides = {"chosen": [*turns, reply("yes")], "rejected": [*turns, reply("no")]}
    assert pair(system="Be brief.", prompt="q", **sides) == (turns, [reply("yes")], [reply("no")])
    assert pair(prompt="q", **sides) == (turns, [reply("yes")], [reply("no")])
    assert pair(**sides) == (turns, [reply("yes")], [reply("no")])


def test_responses_may_repeat_the_prompt_without_its_system_turn():
    sides = {"chosen": [user("q"), reply("yes")], "rejected": [user("q"), reply("no")]}
    assert pair(system="s", prompt="q", **sides) == ([system("s"), user("q")], [reply("yes")], [reply("no")])
    assert pair(system="s", **sides) == ([system("s"), user("q")], [reply("yes")], [reply("no")])


def test_two_system_texts_are_refused():
    assert "system text differs" in reasons(system="Be brief.", prompt=[system("Be long."), user("q")])[0]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"system": 7}, "system is a number"),
        ({"tools": "weather"}, "tools is text, not a list of tools"),
        ({"tools": [7]}, "tools holds a number"),
        ({"history": [["u", "a", "u"]]}, "history holds a list that is no pair"),
        ({"history": "Earlier."}, "history is text beside a prompt"),
        ({"context": ["a passage"]}, "context holds text where a message"),
        ({"conversations": [user("other")]}, "conversations do not end in the prompt"),
        ({"conversations": [user("q"), reply("yes")], "prompt": ""}, "the prompt ends in one of the responses"),
    ],
)
def test_what_cannot_belong_to_a_prompt_is_refused_by_its_column(columns, reason):
    assert reason in reasons(**{"prompt": "q"} | columns)[0]


def test_a_system_column_makes_the_comparisons_of_the_same_messages(write):
    texts = [{"system": s, "prompt": "q", "chosen": "yes", "rejected": "no"} for s in ("Be brief.", "Be long.")]
    turns = [
        {"prompt": [system(row["system"]), user("q")], "chosen": [reply("yes")], "rejected": [reply("no")]}
        for row in texts
    ]
    one, other = (read_annotations(write(rows), DataSettings()).annotations for rows in (texts, turns))
    assert one.equals(other)
    assert one["comparison_id"].nunique() == 2


def test_shared_turns_belong_to_the_prompt_with_and_without_its_column():
    turns = [user("q"), reply("which?"), user("this")]
    sides = {"chosen": [*turns, reply("yes")], "rejected": [*turns, reply("no")]}
    short = {"chosen": sides["chosen"][1:], "rejected": sides["rejected"][1:]}
    for row in (sides, {"prompt": "q", **sides}, {"prompt": "q", **short}, {"prompt": [user("q")], **short}):
        assert pair(**row) == (turns, [reply("yes")], [reply("no")])


def test_turns_are_shared_up_to_a_reply_only():
    first, second = [reply("a"), user("one"), reply("b")], [reply("a"), user("two"), reply("c")]
    assert pair(prompt="q", chosen=first, rejected=second) == ([user("q")], first, second)
    assert pair(chosen=[user("q"), *first], rejected=[user("q"), *second]) == ([user("q")], first, second)


def test_a_shared_tool_call_and_its_answer_belong_to_the_prompt():
    turns = [call({"city": "Lyon"}), {"role": "tool", "content": "rain"}]
    read = pair(prompt="q", chosen=[*turns, reply("wet")], rejected=[*turns, reply("dry")])
    assert read == ([user("q"), *turns], [reply("wet")], [reply("dry")])


def test_of_two_equal_sides_the_last_reply_stays():
    side = [reply("which?"), user("this"), reply("yes")]
    assert pair(prompt="q", chosen=side, rejected=side) == ([user("q"), *side[:2]], side[2:], side[2:])


def test_tool_calls_are_read_whole_in_one_spelling(write):
    chosen = [call('{"city": "Lyon"}', content=None, name=None)]
    rejected = [call({"city": "London"}, content="")]
    read = pair(prompt="q", chosen=chosen, rejected=rejected)
    assert read == ([user("q")], [call({"city": "Lyon"})], [call({"city": "London"})])


def test_arguments_that_are_no_json_stay_text():
    assert pair(prompt="q", chosen=[call("Lyon {")])[1] == [call("Lyon {")]


def test_keys_that_templates_may_read_are_kept():
    turn = {"role": "tool", "content": "rain", "tool_call_id": "c1", "name": "weather"}
    assert prompt(prompt=[user("q"), turn | {"tool_calls": [], "audio": None}]) == [user("q"), turn]


def test_parquet_and_json_lines_give_the_same_messages(tmp_path, write):
    rows = [
        {"prompt": [user("q")], "chosen": [call('{"city": "Lyon"}')], "rejected": [reply("no")], "tools": [WEATHER]},
        {"prompt": [user("r")], "chosen": [reply("yes")], "rejected": [reply("no")], "tools": []},
    ]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "pairs.parquet")
    columnar = read_annotations(str(tmp_path / "pairs.parquet"), DataSettings()).annotations
    assert columnar.drop(columns="file").equals(
        read_annotations(write(rows), DataSettings()).annotations.drop(columns="file")
    )


def test_parts_that_are_text_become_one_text():
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two", "image": None}]
    assert prompt(prompt=[{"role": "user", "content": parts}]) == [user("one two")]
    image = [{"type": "image_url", "image_url": {"url": "x"}}]
    assert reasons(prompt=[{"role": "user", "content": image}]) == [
        "prompt holds an image_url part: only text can be trained on"
    ]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "assistant", "content": None}, "content is missing"),
        ({"role": "assistant", "content": []}, "content is missing"),
        ({"role": "assistant", "tool_calls": "none"}, "whose tool_calls are text"),
        ({"role": "assistant", "tool_calls": ["weather"]}, "tool_calls holds text"),
        ({"from": "robot", "value": "x"}, "holds a message from 'robot'"),
        ({"from": "gpt", "value": None}, "value is missing"),
        ({"from": "function_call", "value": "weather"}, "function_call that is no JSON object"),
    ],
)
def test_a_message_that_cannot_be_read_is_named(message, reason):
    assert reason in reasons(prompt="q", chosen=[message])[0]


def test_deeply_nested_arguments_are_a_bad_row_not_a_crash():
    arguments = {}
    for _ in range(100_000):
        arguments = {"a": arguments}
    assert "more than 100 levels" in reasons(prompt="q", chosen=[call(arguments)])[0]
    text = "[" * 100_000
    assert pair(prompt="q", chosen=[call(text)])[1] == [call(text)]


def test_half_characters_in_json_text_are_replaced_as_in_rows():
    assert pair(prompt="q", chosen=[call('{"city": "\\ud800"}')])[1] == [call({"city": "\ufffd"})]


def test_a_column_may_hold_one_message_here_and_a_list_there(write):
    rows = [{"prompt": "q", "chosen": reply("yes"), "rejected": [reply(text)]} for text in ("no", "never")]
    rows[1]["chosen"] = [rows[1]["chosen"]]
    result = read_annotations(write(rows), DataSettings())
    assert (len(result.annotations), result.rejected) == (2, [])


def test_sharegpt_is_read_as_its_roles_mean():
    conversations = [
        {"from": "system", "value": "s"},
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Lyon"}}'},
        {"from": "observation", "value": "rain"},
    ]
    read = pair(conversations=conversations, chosen={"from": "gpt", "value": "wet"}, rejected=reply("dry"))
    called = call({"city": "Lyon"})
    called["tool_calls"][0]["type"] = "function"
    turns = [system("s"), user("q"), called, {"role": "tool", "content": "rain"}]
    assert read == (turns, [reply("wet")], [reply("dry")])


@pytest.mark.parametrize(
    ("role", "known"), [("prompter", "user"), ("model", "assistant"), ("User", "user"), ("AI", "assistant")]
)
def test_other_names_of_roles_are_understood(role, known):
    assert prompt(prompt=[{"role": role, "content": "q"}]) == [{"role": known, "content": "q"}]


def test_dialogues_in_one_text_become_turns():
    opening = "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: A riddle?\n\nIn two lines.\n\nAssistant:"
    read = pair(chosen=f"{opening} Yes.", rejected=f"{opening} No.\n")
    turns = [user("Hi."), reply("Hello."), user("A riddle?\n\nIn two lines.")]
    assert read == (turns, [reply("Yes.")], [reply("No.")])
    assert pair(prompt=opening, chosen=" Yes.", rejected="No.") == read
    assert pair(prompt=opening, chosen=f"{opening} Yes.", rejected=f"{opening} No.") == read


def test_dialogues_that_part_early_share_what_comes_before():
    start = "\n\nHuman: Hi.\n\nAssistant:"
    read = pair(chosen=f"{start} One.\n\nHuman: So?\n\nAssistant: Yes.", rejected=f"{start} Two.")
    assert read == ([user("Hi.")], [reply("One."), user("So?"), reply("Yes.")], [reply("Two.")])


@pytest.mark.parametrize(
    "text", ["Human: hi", "He said:\n\nHuman: hi\n\nAssistant: yes", "Human beings.\n\nAssistant: x"]
)
def test_other_texts_are_no_dialogues(text):
    assert "no message lists that hold the prompt" in reasons(chosen=text, rejected=text + ".")[0]
    assert pair(prompt="q", chosen=text) == ("q", text, "no")


@pytest.mark.parametrize("gold", ["yes", [reply("yes")], {"from": "gpt", "value": "yes"}, [user("q"), reply("yes")]])
def test_gold_may_be_the_reply_or_the_conversation(gold):
    row = {"prompt": "q", "chosen": [reply("yes")], "rejected": [reply("no")], "gold": gold}
    read = canonical_row(row, TRL, "f", 1)
    assert json.loads(read[f"response_{read['gold']}"]) == [reply("yes")]


def test_responses_differ_where_their_calls_do_and_calls_are_no_empty_texts(write):
    rows = [
        {"prompt": "q", "chosen": [call({"city": "Lyon"})], "rejected": [call({"city": city}, content=content)]}
        for city, content in (("Rome", None), ("Lyon", " "))
    ]
    measured = measure_rows(read_annotations(write(rows), DataSettings()).annotations)
    assert (measured["response_a_text"] == measured["response_b_text"]).tolist() == [False, True]
    assert (measured["shorter_response_characters"] > 0).all()


def test_tool_calls_and_tools_are_displayed_as_calls():
    text = encode_text([{"role": "tools", "content": [WEATHER]}, call({"city": "Lyon"}, content="Let me see.")])
    assert display_text(text, True) == 'tools: weather\nassistant: Let me see.\nweather({"city": "Lyon"})'


contents = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
arguments = st.dictionaries(contents, st.none() | st.integers() | contents | st.lists(contents), max_size=3)
replies = contents.map(reply) | st.builds(call, arguments, content=st.none() | contents)
turns = st.builds(
    lambda first, rest: [*rest, first], replies, st.lists(st.one_of(contents.map(user), replies), max_size=3)
)


@st.composite
def shuffled(draw, value):
    """The same value, the keys of its objects in any order."""
    if isinstance(value, list):
        return [draw(shuffled(item)) for item in value]
    if isinstance(value, dict):
        return {key: draw(shuffled(value[key])) for key in draw(st.permutations(list(value)))}
    return value


@given(st.data(), turns, turns)
def test_neither_the_order_of_keys_nor_that_of_the_responses_changes_a_comparison(data, first, second):
    row = {"prompt": [user("q")], "response_a": [reply("x"), *first], "response_b": [reply("x"), *second]}
    row["preference"] = "tie"
    other = data.draw(shuffled(row | {"response_a": row["response_b"], "response_b": row["response_a"]}))
    one, same = (canonical_row(each, PAIRED, "f", 1) for each in (row, other))
    names = ["comparison_id", "prompt", "response_a", "response_b", "messages"]
    assert [one[name] for name in names] == [same[name] for name in names]


def test_a_prompt_that_is_the_last_question_of_both_conversations_is_not_doubled():
    earlier = [user("hi"), reply("hello")]
    row = {"chosen": [*earlier, user("q"), reply("yes")], "rejected": [*earlier, user("q"), reply("no")]}
    for asked in ("q", " q\n", [user("q")]):
        assert pair(prompt=asked, **row) == ([*earlier, user("q")], [reply("yes")], [reply("no")])
    assert prompt(prompt="q", system="Be brief.", **row) == [system("Be brief."), *earlier, user("q")]


def test_a_question_asked_again_in_the_responses_stays_there():
    again = [reply("What?"), user("q")]
    row = {"chosen": [*again, reply("yes")], "rejected": [*again, reply("no")]}
    assert prompt(prompt=[user("q")], **row) == [user("q"), *again]


def test_a_prompt_beside_conversations_that_do_not_hold_it_is_refused():
    row = {"chosen": [user("hi"), reply("yes")], "rejected": [user("hi"), reply("no")]}
    assert reasons(prompt="User: hi", **row) == [
        "a response starts with turns that neither reply to the prompt nor repeat it"
    ]


def test_dialogues_in_one_text_that_hold_the_prompt_are_its_conversations():
    row = {"chosen": "\n\nHuman: q\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nAssistant: no"}
    assert pair(prompt="q", **row) == ([user("q")], [reply("yes")], [reply("no")])
    assert pair(prompt="Write a dialogue.", **row) == ("Write a dialogue.", row["chosen"], row["rejected"])


def test_ids_and_times_of_messages_tell_no_turns_apart():
    def talk(said, number):
        return [user("q") | {"id": number}, reply(said) | {"message_id": f"m{number}", "timestamp": 1.5 * number}]

    expected = ([user("q")], [reply("yes")], [reply("no")])
    assert pair(chosen=talk("yes", 1), rejected=talk("no", 2)) == expected
    assert pair(prompt="q", chosen=talk("yes", 1), rejected=talk("no", 2)) == expected


def test_a_function_call_as_once_written_is_a_tool_call():
    old = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
    new = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Ulm"}}}
    assert pair(prompt="q", chosen=[old])[1] == [{"role": "assistant", "tool_calls": [new]}]
    assert reasons(prompt="q", chosen=[old | {"function_call": "weather"}]) == [
        "chosen holds a message whose function_call is no JSON object with a name and arguments"
    ]


def test_responses_whose_thoughts_differ_are_not_the_same_text(write):
    def thought(text):
        return [reply("4") | {"reasoning_content": text}]

    read = read_annotations(
        write([{"prompt": "2 + 2?", "chosen": thought("x"), "rejected": thought("y")}]), DataSettings()
    )
    rows = measure_rows(read.annotations)
    assert rows["response_a_text"].item() != rows["response_b_text"].item()


@pytest.mark.parametrize("write_lists", [json.dumps, lambda texts: texts])
def test_lists_of_texts_are_the_turns_of_a_conversation(write_lists):
    def row(asked, *sides):
        chosen, rejected = map(write_lists, sides)
        return {"prompt": write_lists(asked), "chosen": chosen, "rejected": rejected}

    assert pair(**row(["q"], ["yes"], ["no"])) == ([user("q")], [reply("yes")], [reply("no")])
    longer = pair(**row(["q", "r"], ["yes", "so"], ["no", None]), system="Be brief.")
    yes, no = [reply("yes"), user("r"), reply("so")], [reply("no"), user("r"), reply("")]
    assert longer == ([system("Be brief."), user("q")], yes, no)
    assert reasons(**row(["q", "r"], ["yes", "so"], ["no"])) == [
        "prompt, chosen and rejected are lists of texts, but not of as many"
    ]


def test_responses_that_are_json_lists_stay_text_where_the_prompt_is_none():
    assert pair(prompt="Keywords?", chosen='["a"]', rejected='["b"]') == ("Keywords?", '["a"]', '["b"]')
