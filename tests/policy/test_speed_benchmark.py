"""What `python -m benchmarks.speed.run` compares is what it says."""

import json
from math import log
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import beside, dialogues, growth, head, overhead, peer, run
from benchmarks.speed.base import VOCABULARY, make_base
from benchmarks.speed.ours import measure
from benchmarks.speed.worlds import FOUR, LONG, PROMPT_HEAVY, ULTRAFEEDBACK, Lengths, World
from benchmarks.table import Row

SMALL = World(Lengths(12, 15, 30), Lengths(8, 10, 20), annotations=3, vocabulary=300)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("speed") / "base", SMALL.vocabulary)


def test_two_dozen_comparisons_have_the_lengths_that_are_named() -> None:
    random = np.random.default_rng(0)
    means = {
        name: (world.prompt.sample(24, random).mean(), world.response.sample(24, random).mean())
        for name, world in (("ultrafeedback", ULTRAFEEDBACK), ("prompt_heavy", PROMPT_HEAVY), ("long", LONG))
    }
    assert means["ultrafeedback"] == (pytest.approx(160, rel=0.03), pytest.approx(280, rel=0.03))
    assert means["prompt_heavy"] == (pytest.approx(450, rel=0.03), pytest.approx(90, rel=0.03))
    assert means["long"] == (490, pytest.approx(680, rel=0.03))
    assert np.median(ULTRAFEEDBACK.prompt.sample(24, random)) == pytest.approx(90, rel=0.05)
    for world in (ULTRAFEEDBACK, PROMPT_HEAVY, LONG, FOUR):
        assert world.prompt.most <= world.max_prompt_length
        assert world.prompt.most + world.response.most + 1 <= world.max_length


def test_both_sides_read_the_same_texts_of_known_lengths(base: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    table = World.parse(SMALL.text()).comparisons(5)
    for row in table.itertuples():
        text = f"{row.prompt}{row.response_a}"
        ids = tokenizer(text + tokenizer.eos_token)["input_ids"]
        assert len(ids) == len(text.split()) + 1
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.unk_token_id not in ids
    assert table.equals(SMALL.comparisons(5))


def test_trl_gets_a_row_an_annotation_with_what_its_annotator_said() -> None:
    table = SMALL.comparisons(20)
    rows = peer.rows(table)
    assert len(rows) == len(table) == 60
    said = {
        (row.prompt, *((row.response_a, row.response_b) if row.preference == "a" else (row.response_b, row.response_a)))
        for row in table.itertuples()
    }
    assert {(row["prompt"], row["chosen"], row["rejected"]) for row in rows} == said
    assert 20 < len(said) <= 40, "annotators disagree"
    lengths = [len(r["prompt"].split()) + max(len(r[s].split()) for s in ("chosen", "rejected")) for r in rows]
    assert lengths == sorted(lengths, reverse=True)


def test_our_side_counts_every_comparison_once(base: Path) -> None:
    found = measure(base, SMALL, 6, batch=4)
    assert (found["comparisons"], found["annotations"]) == (6, 18)
    assert found["first_loss"] == pytest.approx(log(2), abs=1e-3)
    assert found["seconds"] > 0
    assert found["peak_bytes"] >= found["before_bytes"] > 0
    assert found["loaded_bytes"] > 0


def test_a_ratio_below_its_target_is_missed_and_judged_by_the_median_of_neighbours() -> None:
    contest = beside.CONTESTS["ultrafeedback"]
    turn = {"comparisons": 8, "loaded_bytes": 1e9, "peak_bytes": 2e9}
    ours = [{**turn, "seconds": seconds} for seconds in (1.0, 2.0, 1.0)]
    slow = [{**turn, "seconds": seconds} for seconds in (4.5, 9.0, 1.0)]
    fast = [{**turn, "seconds": seconds} for seconds in (3.0, 9.0, 3.0)]
    assert [beside._speed(contest, ours, peers, quick=False)[-1].ok for peers in (slow, fast)] == [True, False]
    assert not beside._memory(contest, ours, slow, quick=False)[-1].ok
    assert beside._memory(contest, ours, slow, quick=True)[-1].ok is None


def test_what_was_not_measured_is_missed_except_in_the_quick_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "find_spec", lambda name: None)
    monkeypatch.setattr(dialogues, "DATA", tmp_path)
    for rows in (beside.rows_of("long"), dialogues.rows):
        assert {(row.measured, row.ok) for row in rows(False)} == {("not measured", False)}
        assert {(row.measured, row.ok) for row in rows(True)} == {("not measured", None)}
    assert not dialogues._unpack("0" * 40, tmp_path)


def test_a_dialogue_has_another_prompt_with_its_answer_as_first_turn(tmp_path: Path) -> None:
    source = tmp_path / "annotations.jsonl"
    votes = [
        {
            "comparison_id": str(number),
            "prompt": f"prompt {number % 2}",
            "response_a": f"answer {number}",
            "response_b": "" if number == 3 else "another",
            "preference": preference,
            "annotator_id": preference,
        }
        for number in range(6)
        for preference in ("a", "b", "tie")
    ]
    source.write_text("".join(json.dumps(vote) + "\n" for vote in votes))
    rows = list(dialogues.two_turns(source, 7))
    assert len(rows) == 7
    assert [rows[place]["prompt"] for place in (0, 2, 4)] == [rows[place]["prompt"] for place in (1, 3, 5)]
    for row in rows:
        first, answer, second = row["prompt"]
        assert [turn["role"] for turn in row["prompt"]] == ["user", "assistant", "user"]
        assert first["content"] != second["content"]
        assert int(answer["content"].split()[1]) % 2 == int(first["content"].split()[1])
        assert row["preference"] in "ab"
        assert row["comparison_id"] != "3"


def test_a_missed_target_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "BENCHMARKS", [("overhead", lambda quick: [Row("slower", "≤ 2", 3.0, quick)])])
    assert run.main(["--output", str(tmp_path)]) == 1
    assert run.main(["--quick", "--output", str(tmp_path)]) == 0
    assert "| overhead | slower | ≤ 2 | 3 |" in (tmp_path / "results.md").read_text()


def test_growth_draws_what_it_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = [growth.Point(what, v, v / 100, 0.5) for what, values in growth.VALUES.items() for v in values]
    monkeypatch.setattr(growth, "points", lambda quick: measured)
    assert len(growth.rows(False)) == 2 * len(measured)
    drawn = growth.draw(False).axes
    assert [len(axes.lines[0].get_xdata()) for axes in drawn] == [5, 3, 4, 5, 3, 4]
    assert all(axes.get_ylim()[1] >= max(axes.lines[0].get_ydata()) for axes in drawn)


def test_the_overhead_is_the_median_over_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {"full": [[1.01, 2.02, 9.0], [1.01, 2.0]], "none": [[1.0, 2.0, 1.0], [1.0, 2.0]]}
    monkeypatch.setattr(overhead, "make_base", lambda folder: folder)
    monkeypatch.setattr(overhead, "in_its_own_process", lambda *_, **__: measured)
    row = overhead.rows(False)[-1]
    assert row.ok
    assert row.measured == pytest.approx(1.0)


@pytest.mark.parametrize(("growing", "met"), [(0.0, True), (1e5, False)])
def test_a_head_that_grows_with_the_prompt_misses_its_target(
    growing: float, met: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def peak(prompt: int, response: int, vocabulary: int) -> float:
        return 1e6 * prompt + (3e8 + growing * prompt if vocabulary == VOCABULARY else 0)

    monkeypatch.setattr(head, "_peak", peak)
    *shares, judged = head.rows(False)
    assert [row.measured for row in shares] == [pytest.approx(0.3 + growing * p / 1e9) for p in head.PROMPTS]
    assert judged.ok is met
