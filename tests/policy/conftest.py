"""A tiny policy, and GPT-2 and Llama shapes with random weights."""

from collections.abc import Callable

import pandas as pd
import pytest

from repo.policy.loading import Policy, make_tiny_policy
from repo.settings import Settings


@pytest.fixture(scope="session")
def tiny_policy(annotations: pd.DataFrame, small_settings: Settings) -> Policy:
    return make_tiny_policy(annotations, small_settings)


@pytest.fixture(scope="session")
def gpt2_policy(tiny_policy: Policy) -> Policy:
    """A model with learned absolute positions, which padding on the left must not shift."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tiny_policy.tokenizer), n_positions=256, n_embd=32, n_layer=2, n_head=2)
    return Policy(GPT2LMHeadModel(config).eval(), tiny_policy.tokenizer)


@pytest.fixture(scope="session")
def policies(tiny_policy: Policy, gpt2_policy: Policy) -> Callable[[str], Policy]:
    return {"llama": tiny_policy, "gpt2": gpt2_policy}.__getitem__
