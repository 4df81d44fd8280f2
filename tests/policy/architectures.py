"""Small decoders of many architectures with random weights, and comparisons of random tokens."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
import transformers

from repo.policy.loading import Policy
from repo.policy.tokenization import EncodedComparisons

VOCABULARY = 500
_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_GROUPED = {**_SMALL, "num_key_value_heads": 2}
_HEADS_OF_16 = {**_GROUPED, "head_dim": 16}
_SPECIAL = {name: _SMALL[name] for name in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}

PACKED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _GROUPED),
    "mistral": ("MistralConfig", {**_GROUPED, "sliding_window": 4096}),
    "mistral, a window of 32 tokens": ("MistralConfig", {**_GROUPED, "sliding_window": 32}),
    "qwen2": ("Qwen2Config", _GROUPED),
    "qwen3": ("Qwen3Config", _HEADS_OF_16),
    "gemma": ("GemmaConfig", _HEADS_OF_16),
    "gemma3, windows in some layers": ("Gemma3TextConfig", {**_HEADS_OF_16, "sliding_window": 32}),
    "granite, scaled logits": ("GraniteConfig", {**_GROUPED, "logits_scaling": 4.0}),
    "cohere, scaled logits": ("CohereConfig", _GROUPED),
    "gpt2": ("GPT2Config", {**_SPECIAL, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 2048}),
}
"""Name → configuration class and its options."""

NOT_PACKED: dict[str, tuple[str, dict[str, Any]]] = {
    "recurrent": ("MambaConfig", {**_SPECIAL, "hidden_size": 64, "num_hidden_layers": 2}),
    "positions of its own": ("BloomConfig", {**_SPECIAL, "hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "capped scores": ("Gemma2Config", {**_HEADS_OF_16, "attn_logit_softcapping": 5.0}),
    "sinks": ("GptOssConfig", {**_HEADS_OF_16, "num_local_experts": 4, "sliding_window": 32}),
}


def policy(kind: tuple[str, dict[str, Any]]) -> Policy:
    """Return a policy of this configuration; its tokenizer only knows the padding."""
    name, options = kind
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**options)).eval()
    return Policy(model, cast(Any, SimpleNamespace(pad_token_id=2, eos_token_id=1)))


def comparisons(lengths: Sequence[tuple[int, int, int]], seed: int = 0) -> EncodedComparisons:
    """Return random comparisons with these lengths of prompt, response a and response b."""
    numbers = np.array(lengths, np.int32).reshape(-1, 3)  # [C, 3]
    sizes = numbers.sum(axis=1).astype(np.int64)  # [C]
    tokens = np.random.default_rng(seed).integers(3, VOCABULARY, sizes.sum()).astype(np.int32)
    whole = np.zeros(len(numbers), bool)
    return EncodedComparisons(tokens, np.cumsum(sizes) - sizes, numbers, whole, ~whole)
