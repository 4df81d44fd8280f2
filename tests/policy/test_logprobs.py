"""Batched, padded log-probabilities against one unpadded forward a response."""

from collections.abc import Callable

import pandas as pd
import pytest
import torch

from repo.policy.batches import tokenize_annotations
from repo.policy.loading import Policy
from repo.policy.logprobs import comparison_logps, pair_logps
from repo.policy.scoring import Scorer


def plain_logp(policy: Policy, prompt: list[int], response: list[int]) -> float:
    with torch.no_grad():
        logits = policy.model(torch.tensor([[*prompt, *response]])).logits[0].double()
    rows = torch.log_softmax(logits, dim=-1)[len(prompt) - 1 : -1]
    return sum(float(row[token]) for row, token in zip(rows, response, strict=True))


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_batched_log_probabilities_equal_the_plain_forward(
    shape: str, policies: Callable[[str], Policy], annotations: pd.DataFrame
) -> None:
    policy = policies(shape)
    encoded = tokenize_annotations(annotations, policy.tokenizer, 128, 48).encoded[:6]
    with torch.no_grad():
        got = comparison_logps(policy.model, encoded, policy.pad, torch.device("cpu"))
    for i, e in enumerate(encoded):
        assert got.a[i].item() == pytest.approx(plain_logp(policy, e.prompt.tolist(), e.response_a.tolist()), abs=1e-3)
        assert got.b[i].item() == pytest.approx(plain_logp(policy, e.prompt.tolist(), e.response_b.tolist()), abs=1e-3)


@pytest.mark.parametrize("unpacked", ["", "as asked"])
def test_scoring_keeps_the_order_however_many_tokens_a_pass(
    unpacked: str, tiny_policy: Policy, annotations: pd.DataFrame
) -> None:
    encoded = tokenize_annotations(annotations, tiny_policy.tokenizer, 128, 48).encoded
    one, many = (Scorer(tiny_policy, torch.device("cpu"), tokens, unpacked).score_all(encoded) for tokens in (1, 1000))
    torch.testing.assert_close(one.a, many.a, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(one.b, many.b, atol=1e-3, rtol=1e-5)


def test_a_pair_without_reference_has_zeros_and_its_lengths(tiny_policy: Policy, annotations: pd.DataFrame) -> None:
    encoded = tokenize_annotations(annotations, tiny_policy.tokenizer, 128, 48).encoded[:2]
    logps = Scorer(tiny_policy, torch.device("cpu"), 1000).score_all(encoded)
    pair = pair_logps(logps, None, encoded)
    assert pair.reference_first.tolist() == [0.0, 0.0]
    assert pair.second_length.tolist() == [float(len(e.response_b)) for e in encoded]
