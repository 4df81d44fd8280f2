"""Token boundaries, chat templates and truncation."""

import copy
import json

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from repo.errors import UserError
from repo.policy.loading import Policy
from repo.policy.tokenization import common_prefix, encode_comparisons


def comparison(prompt: str, a: str, b: str, messages: bool = False) -> pd.DataFrame:
    return pd.DataFrame([{"prompt": prompt, "response_a": a, "response_b": b, "messages": messages}])


@given(st.lists(st.lists(st.integers(0, 2), max_size=6), min_size=1, max_size=3))
def test_common_prefix_is_shared_and_longest(sequences: list[list[int]]) -> None:
    n = common_prefix(*sequences)
    assert len({tuple(s[:n]) for s in sequences}) == 1
    longer = {tuple(s[: n + 1]) for s in sequences}
    assert len(longer) > 1 or any(len(s) == n for s in sequences)


text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text, text, text)
def test_prompt_and_response_tokens_are_the_whole_conversation(
    tiny_policy: Policy, prompt: str, a: str, b: str
) -> None:
    tokenizer = tiny_policy.tokenizer
    encoded = encode_comparisons(comparison(prompt, a, b), tokenizer, 10_000, 10_000)[0]
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": a}], tokenize=False
    )
    assert [*encoded.prompt, *encoded.response_a] == tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert not encoded.truncated


def test_messages_go_through_the_chat_template(tiny_policy: Policy) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    answer = [[{"role": "assistant", "content": c}] for c in ("Yes.", "No.")]
    row = comparison(json.dumps(turns), *(json.dumps(x) for x in answer), messages=True)
    encoded = encode_comparisons(row, tiny_policy.tokenizer, 100, 100)[0]
    decode = tiny_policy.tokenizer.decode
    assert decode(encoded.prompt) == "<s><|system|>Be brief.</s><|user|>Hello?</s><|assistant|>"
    assert decode(encoded.response_b) == "No.</s>"


def test_a_conversation_that_the_template_refuses_is_named_with_its_line(tiny_policy: Policy) -> None:
    strict = copy.deepcopy(tiny_policy.tokenizer)
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    strict.chat_template = refusal + str(strict.chat_template)
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    answer = [json.dumps([{"role": "assistant", "content": c}]) for c in ("Yes.", "No.")]
    fine = comparison(json.dumps(turns[1:]), *answer, messages=True).assign(file="votes.jsonl", line=3)
    refused = comparison(json.dumps(turns), *answer, messages=True).assign(file="votes.jsonl", line=7)
    words = r"votes\.jsonl, line 7: .*system, user, assistant: System role not supported\n.*leave out the system turn"
    with pytest.raises(UserError, match=words):
        encode_comparisons(pd.concat([fine, refused]), strict, 100, 100)


def test_plain_texts_end_with_the_end_token_where_there_is_no_template(tiny_policy: Policy) -> None:
    bare = copy.deepcopy(tiny_policy.tokenizer)
    bare.chat_template = None
    encoded = encode_comparisons(comparison("Why? ", "Because.", "So."), bare, 100, 100)[0]
    assert bare.decode(encoded.response_a).endswith("Because.</s>")
    with pytest.raises(UserError, match="no chat template"):
        encode_comparisons(comparison("[]", "[]", "[]", messages=True), bare, 100, 100)


def test_long_prompts_keep_their_end_and_long_responses_their_beginning(tiny_policy: Policy) -> None:
    row = comparison("x " * 200 + "the end", "good " * 100, "bad " * 100)
    encoded = encode_comparisons(row, tiny_policy.tokenizer, 64, 16)[0]
    assert (len(encoded.prompt), len(encoded.response_a), len(encoded.response_b)) == (16, 48, 48)
    assert "the end" in tiny_policy.tokenizer.decode(encoded.prompt)
    assert tiny_policy.tokenizer.decode(encoded.response_b).startswith("bad bad")
    assert encoded.truncated
    assert encoded.usable


def test_responses_that_truncation_makes_equal_are_not_usable(tiny_policy: Policy) -> None:
    row = comparison("?", "same " * 100 + "x", "same " * 100 + "y")
    assert not encode_comparisons(row, tiny_policy.tokenizer, 32, 16)[0].usable


def conversation(prompt: list, a: list, b: list) -> pd.DataFrame:
    return comparison(*(json.dumps(turns) for turns in (prompt, a, b)), messages=True)


def bare(policy: Policy):
    """The tiny policy's tokenizer without its chat template."""
    tokenizer = copy.deepcopy(policy.tokenizer)
    tokenizer.chat_template = None
    return tokenizer


CONTROLS = ["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>", "\U000f0000", "\U000f0001", "\U00100000"]
USER = {"role": "user", "content": "Weather?"}
TOOLS = [{"type": "function", "function": {"name": "forecast", "description": "Tells the weather."}}]


def call(city: str) -> dict:
    return {"role": "assistant", "tool_calls": [{"function": {"name": "forecast", "arguments": {"city": city}}}]}


@pytest.mark.parametrize("templated", [True, False])
@pytest.mark.parametrize("ending", ["</s>", " </s>", "</s>\n", "</s></s>"])
def test_a_text_that_ends_in_the_end_token_gets_no_second_one(
    tiny_policy: Policy, templated: bool, ending: str
) -> None:
    tokenizer = tiny_policy.tokenizer if templated else bare(tiny_policy)
    plain, ended = (
        encode_comparisons(comparison("How?", f"Fine.{end}", f"Bad.{end}"), tokenizer, 100, 100)[0]
        for end in ("", ending)
    )
    for tokens in (ended.response_a, ended.response_b):
        assert tokens.tolist().count(tokenizer.eos_token_id) == 1
        assert tokens[-1] == tokenizer.eos_token_id
    if not ending.startswith(" "):
        assert [plain.response_a.tolist(), plain.response_b.tolist()] == [
            ended.response_a.tolist(),
            ended.response_b.tolist(),
        ]


def test_an_earlier_reply_that_ends_in_the_end_token_gets_no_second_one(tiny_policy: Policy) -> None:
    turns = [USER, {"role": "assistant", "content": "Where?</s>"}, USER]
    answers = ([{"role": "assistant", "content": text}] for text in ("Wet.", "Dry."))
    encoded = encode_comparisons(conversation(turns, *answers), tiny_policy.tokenizer, 100, 100)[0]
    assert tiny_policy.tokenizer.decode(encoded.prompt).count("</s>") == 3


written = st.lists(st.sampled_from([*CONTROLS, "a", " b", "\n", "é"]), min_size=1, max_size=6).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(written, written, written, st.booleans())
def test_control_tokens_in_a_text_are_ordinary_text(
    tiny_policy: Policy, prompt: str, a: str, b: str, templated: bool
) -> None:
    tokenizer = tiny_policy.tokenizer if templated else bare(tiny_policy)
    row = comparison(prompt, f"{a}.", f"{b}.")
    encoded = encode_comparisons(row, tokenizer, 10_000, 10_000)[0]
    harmless = encode_comparisons(comparison("?", "x.", "y."), tokenizer, 10_000, 10_000)[0]
    controls = [token for token, added in tokenizer.added_tokens_decoder.items() if added.special]
    for response, text, expected in (
        (encoded.response_a, a, harmless.response_a),
        (encoded.response_b, b, harmless.response_b),
    ):
        tokens, usual = ([*encoded.prompt, *response], [*harmless.prompt, *expected])
        assert [t for t in tokens if t in controls] == [t for t in usual if t in controls]
        words = [t for t in tokens if t not in controls]
        assert tokenizer.decode(words) == f"{prompt}{text}."


def test_a_text_with_a_control_token_does_not_change_the_tokens_of_others(tiny_policy: Policy) -> None:
    rows = [comparison("Why?", "Because.", "So."), comparison("Why <s>?", "</s> ends it.", "So.")]
    together = encode_comparisons(pd.concat(rows), tiny_policy.tokenizer, 100, 100)
    alone = encode_comparisons(rows[0], tiny_policy.tokenizer, 100, 100)
    assert together[0].response_a.tolist() == alone[0].response_a.tolist()
    assert together[0].prompt.tolist() == alone[0].prompt.tolist()


@pytest.fixture(params=["first", "always"])
def word_tokenizer(request: pytest.FixtureRequest):
    """A tokenizer that marks the words of a text, the first one only at the text's beginning or everywhere."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=request.param)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=request.param)
    trainer = trainers.BpeTrainer(special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(["how are you today", "fine I think", "bad [ASK] </ s > me"], trainer)
    template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[ASK]{{ m.content }}[ASK]"
        "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=template
    )


def test_a_control_token_in_one_response_moves_neither_the_boundary_nor_other_tokens(word_tokenizer) -> None:
    row = comparison("how are you", "fine I </s> think", "fine I think")
    encoded = encode_comparisons(row, word_tokenizer, 100, 100)[0]
    plain = encode_comparisons(comparison("how are you", "fine", "fine I think"), word_tokenizer, 100, 100)[0]
    assert encoded.prompt.tolist() == plain.prompt.tolist()
    assert encoded.response_b.tolist() == plain.response_b.tolist()
    assert encoded.response_a.tolist().count(word_tokenizer.eos_token_id) == 1
    assert word_tokenizer.decode(encoded.response_a[:-1]) == "fine I </s> think"


def test_tools_and_tool_calls_go_through_the_chat_template(tiny_policy: Policy) -> None:
    row = conversation([{"role": "tools", "content": TOOLS}, USER], [call("Lyon")], [call("Rome")])
    encoded = encode_comparisons(row, tiny_policy.tokenizer, 500, 400)[0]
    decode = tiny_policy.tokenizer.decode
    assert '"description": "Tells the weather."' in decode(encoded.prompt)
    assert decode(encoded.response_b).endswith('Rome"}}}]</s>')
    assert "None" not in decode(encoded.response_b)


SILENT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
STUMBLES = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "prompt", "words"),
    [
        (SILENT, [USER], "leaves out the tool calls of a message\n.*policy.base whose template renders tools"),
        (STUMBLES, [USER], "refuses the conversation user, assistant.*\n.*give messages with tool calls a text"),
        (SILENT, [USER, call("Rome"), {"role": "tool", "content": "wet"}], "leaves out the tool calls"),
        (SILENT, [{"role": "tools", "content": TOOLS}, USER], "leaves out the tools"),
    ],
)
def test_a_template_that_cannot_take_tools_or_calls_is_refused_by_line(
    tiny_policy: Policy, template: str, prompt: list, words: str
) -> None:
    strict = copy.deepcopy(tiny_policy.tokenizer)
    strict.chat_template = template
    row = conversation(prompt, [call("Lyon")], [{"role": "assistant", "content": "?"}]).assign(file="v.jsonl", line=7)
    with pytest.raises(UserError, match=rf"v\.jsonl, line 7: .*{words}"):
        encode_comparisons(row, strict, 100, 100)
