"""Packed comparisons against the model's own forward on each conversation alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from repo.policy import head, hopper
from repo.policy.batches import SIMILAR
from repo.policy.head import Head
from repo.policy.loading import Policy, add_lora
from repo.policy.logprobs import packed_logps
from repo.policy.packing import pack, packed_attention
from repo.policy.scoring import Scorer, make_scorer
from repo.policy.tokenization import EncodedComparisons
from repo.settings import LoraSettings, PolicySettings
from tests.policy.architectures import NOT_PACKED, PACKED, VOCABULARY, comparisons, policy

CPU = torch.device("cpu")
LENGTHS = [(50, 60, 40), (3, 10, 80), (120, 20, 2), (1, 1, 1), (30, 90, 91), (490, 700, 350), (300, 40, 120)]
sizes = st.integers(1, 9)
several = st.lists(st.tuples(sizes, sizes, sizes), min_size=1, max_size=6)


def alone(model: torch.nn.Module, encoded: EncodedComparisons) -> Tensor:
    """Return log π of both responses, each conversation by itself, shape [c, 2], with autograd."""
    rows = []
    for one in encoded:
        for response in (one.response_a, one.response_b):
            ids = torch.from_numpy(np.concatenate([one.prompt, response]).astype(np.int64))  # [T]
            logps = torch.log_softmax(model(ids[None]).logits[0].double(), dim=-1)[:-1]  # [T − 1, V]
            rows.append(logps.gather(1, ids[1:, None])[len(one.prompt) - 1 :].sum())
    return torch.stack(rows).reshape(-1, 2)


def packed(model: torch.nn.Module, encoded: EncodedComparisons) -> Tensor:
    logps = packed_logps(model, pack(encoded))
    return torch.stack([logps.a, logps.b], dim=1)


def gradients(model: torch.nn.Module) -> Tensor:
    found = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return found


@given(several)
def test_every_conversation_lies_whole_in_a_row_of_a_block_of_similar_ones(lengths: list[tuple[int, int, int]]) -> None:
    encoded = comparisons(lengths)
    batch = pack(encoded)
    branches, widths = batch.branches, {}
    start = 0
    for size, width, _ in branches.blocks:
        widths |= {start + row * width: width for row in range(size)}
        start += size * width
    assert start == len(branches.sources)
    firsts = torch.tensor([0, *np.cumsum([sum(n) for n in lengths])[:-1].tolist()])
    in_prompt = torch.tensor([0, *np.cumsum([n[0] for n in lengths])[:-1].tolist()])
    for number, e in enumerate(encoded):
        begins = int(branches.places[firsts[number]]), int(branches.prompt_again[in_prompt[number]])
        for begin, response in zip(begins, (e.response_a, e.response_b), strict=True):
            whole = [*e.prompt.tolist(), *response.tolist()]
            row = branches.sources[begin : begin + len(whole)]
            assert batch.input_ids[0][row].tolist() == whole
            assert batch.position_ids[0][row].tolist() == list(range(len(whole)))
            assert SIMILAR * widths.pop(begin) <= len(whole)
    assert not widths
    assert batch.input_ids.numel() == sum(map(sum, lengths))


@given(several)
def test_every_response_token_is_predicted_from_the_token_before_it(lengths: list[tuple[int, int, int]]) -> None:
    encoded = comparisons(lengths)
    batch = pack(encoded)
    positions = batch.position_ids[0]
    for number, e in enumerate([*encoded, *encoded]):
        response = e.response_a if number < len(encoded) else e.response_b
        own = batch.response == number
        assert batch.targets[own].tolist() == response.tolist()
        expected = [int(e.prompt[-1]), *response[:-1].tolist()]
        assert batch.input_ids[0][batch.predictors[own]].tolist() == expected
        assert positions[batch.predictors[own]].tolist() == [len(e.prompt) - 1 + i for i in range(len(response))]


@pytest.mark.parametrize("name", PACKED)
def test_packed_log_probabilities_and_gradients_are_those_of_single_forwards(name: str) -> None:
    model, encoded = policy(PACKED[name]).model, comparisons(LENGTHS)
    weight = torch.randn(len(encoded), 2, generator=torch.Generator().manual_seed(1))
    expected = alone(model, encoded)
    assert float(expected.detach().min()) < -2000
    (weight * expected).sum().backward()
    wanted = gradients(model)
    with packed_attention(model):
        found = packed(model, encoded)
        (weight * found).sum().backward()
    assert float((found - expected).detach().abs().max()) <= 1e-3
    assert float((gradients(model) - wanted).norm() / wanted.norm()) <= 1e-4


@pytest.mark.parametrize("name", PACKED)
def test_such_models_are_packed(name: str) -> None:
    scorer = make_scorer(policy(PACKED[name]), comparisons(LENGTHS), CPU, 4096)
    assert scorer.unpacked == ""
    assert scorer.difference <= 1e-3


@pytest.mark.parametrize("name", NOT_PACKED)
def test_a_model_that_packing_would_change_is_scored_as_its_own_forward_scores(name: str) -> None:
    chosen, encoded = policy(NOT_PACKED[name]), comparisons(LENGTHS[:-1])
    scorer = make_scorer(chosen, encoded, CPU, 4096)
    assert scorer.unpacked
    with torch.no_grad():
        expected = alone(chosen.model, encoded)
    logps = scorer.score_all(encoded)
    torch.testing.assert_close(torch.stack([logps.a, logps.b], 1).double(), expected, atol=2e-3, rtol=0)


def test_a_response_without_a_token_is_packed_and_has_log_probability_0() -> None:
    encoded = comparisons([(5, 0, 4), (3, 6, 0), (4, 0, 0), (9, 9, 9)])
    scorer = make_scorer(policy(PACKED["llama"]), encoded, CPU, 4096)
    assert scorer.unpacked == ""
    logps = scorer.score_all(encoded)
    assert [float(logps.a[0]), float(logps.b[1]), float(logps.a[2]), float(logps.b[2])] == [0.0] * 4
    with torch.no_grad():
        expected = alone(scorer.policy.model, encoded[np.array([0, 1, 3])])
    torch.testing.assert_close(torch.stack([logps.a, logps.b], 1)[[0, 1, 3]].double(), expected, atol=1e-3, rtol=0)


def test_no_comparison_at_all_is_scored_as_none() -> None:
    encoded = comparisons([(5, 6, 4)])[:0]
    scorer = make_scorer(policy(PACKED["llama"]), encoded, CPU, 4096)
    assert len(scorer.score_all(encoded).a) == 0


def test_an_adapter_on_the_output_layer_is_not_left_out() -> None:
    settings = PolicySettings(lora=LoraSettings(target_modules=["lm_head", "q_proj"]))
    adapted = add_lora(policy(PACKED["llama"]), settings, seed=0)
    assert "output layer" in make_scorer(adapted, comparisons(LENGTHS[:3]), CPU, 4096).unpacked


def test_adapters_below_the_output_layer_are_trained_packed() -> None:
    encoded = comparisons(LENGTHS[:3])
    adapted = add_lora(policy(PACKED["llama"]), PolicySettings(lora=LoraSettings()), seed=0)
    with torch.no_grad():
        for name, parameter in adapted.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    scorer = make_scorer(adapted, encoded, CPU, 4096)
    assert scorer.unpacked == ""
    with scorer.attention():
        packed(adapted.model, encoded).sum().backward()
    assert all(p.grad is not None for n, p in adapted.model.named_parameters() if "lora_" in n)


def test_the_model_attends_as_before_afterwards() -> None:
    model, encoded = policy(PACKED["llama"]).model, comparisons(LENGTHS[:3])
    with torch.no_grad():
        before = alone(model, encoded)
        make_scorer(Policy(model, policy(PACKED["llama"]).tokenizer), encoded, CPU, 4096)
        assert torch.equal(alone(model, encoded), before)


@given(st.lists(st.tuples(sizes, sizes, sizes), min_size=1, max_size=30), st.integers(1, 120), st.booleans())
def test_passes_hold_each_comparison_once_and_no_more_tokens_than_allowed(
    lengths: list[tuple[int, int, int]], tokens: int, is_packed: bool
) -> None:
    encoded = comparisons(lengths)
    scorer = Scorer(policy=None, device=CPU, tokens=tokens, unpacked="" if is_packed else "asked")  # type: ignore[arg-type]
    passes = scorer.passes(encoded)
    assert sorted(np.concatenate(passes).tolist()) == list(range(len(lengths)))
    for chosen in passes:
        of = encoded.lengths[chosen]
        computed = int(of.sum()) if is_packed else int(of.sum() + of[:, 0].sum())
        assert len(chosen) == 1 or computed <= tokens


def a_head(cap: float | None, scale: float, biased: bool) -> Head:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(11, 5, generator=random, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(11, generator=random, dtype=torch.float64, requires_grad=True) if biased else None
    return Head(weight, bias, scale, cap)


@pytest.mark.parametrize(("chunk", "kept"), [(11, 0), (33, 44), (33, 1000), (10_000, 10_000)])
@pytest.mark.parametrize(("cap", "scale", "biased"), [(None, 1.0, False), (None, 0.3, True), (2.0, 1.5, True)])
def test_the_head_is_log_softmax_and_its_gradient_whatever_the_chunk(
    chunk: int, kept: int, cap: float | None, scale: float, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "CHUNK", chunk)
    monkeypatch.setattr(head, "KEPT", kept)
    one = a_head(cap, scale, biased)
    random = torch.Generator().manual_seed(1)
    hidden = torch.randn(7, 5, generator=random, dtype=torch.float64, requires_grad=True)
    targets, out = torch.randint(0, 11, (7,), generator=random), torch.randn(7, generator=random)
    logits = hidden @ one.weight.T + (0 if one.bias is None else one.bias)
    logits = scale * logits if cap is None else cap * torch.tanh(scale * logits / cap)
    expected = torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0]
    found = one.token_logps(hidden, targets)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
    inputs = [x for x in (hidden, one.weight, one.bias) if x is not None]
    for ours, theirs in zip(
        torch.autograd.grad(found, inputs, out), torch.autograd.grad(expected, inputs, out.double()), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


class _Largest(TorchDispatchMode):
    """Notes the most elements that any tensor made within it has."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_logits_of_a_whole_pass_are_never_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model, encoded = policy(PACKED["llama"]).model, comparisons([(40, 300, 300)] * 3)
    monkeypatch.setattr(head, "CHUNK", 100 * VOCABULARY)
    largest = _Largest()
    with packed_attention(model), largest:
        packed(model, encoded).sum().backward()
    parameters = max(p.numel() for p in model.parameters())
    assert largest.elements <= max(parameters, 100 * VOCABULARY, 3 * 640 * 128 * 2)
    assert largest.elements < 1800 * VOCABULARY


@pytest.mark.parametrize(("capability", "because"), [((9, 0), "not installed"), ((8, 0), "not a Hopper card")])
def test_without_liger_or_its_card_the_head_goes_in_chunks(
    capability: tuple[int, int], because: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(hopper, "find_spec", lambda name: None)
    hopper.unusable.cache_clear()
    assert because in a_head(None, 1.0, False).without_kernel(torch.device("cuda"), torch.bfloat16)
    hopper.unusable.cache_clear()


@pytest.mark.parametrize(("cap", "biased"), [(2.0, False), (None, True)])
def test_a_head_that_the_kernel_does_not_know_goes_in_chunks(cap: float | None, biased: bool) -> None:
    assert "a bias or a cap" in a_head(cap, 1.0, biased).without_kernel(torch.device("cuda"), torch.bfloat16)
    assert "float32" in a_head(None, 1.0, False).without_kernel(torch.device("cuda"), torch.float32)
