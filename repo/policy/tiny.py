"""The `tiny` policy: a small Llama-shaped model made on the spot, so that a laptop needs no download."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from repo.policy.tokenization import EncodedComparisons
from repo.settings import TinySettings

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

_CHAT_TEMPLATE = (
    "{{ bos_token }}{% if tools %}<|system|>{{ tools | tojson }}{{ eos_token }}{% endif %}"
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['tool_calls'] %}{{ message['tool_calls'] | tojson }}{% endif %}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(texts: Iterable[str], settings: TinySettings) -> "PreTrainedTokenizerBase":
    """Train a byte-level BPE on the texts: no text is out of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    roles = [f"<|{role}|>" for role in ("system", "user", "assistant", "tool")]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=["<s>", "</s>", "<pad>", *roles],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=_CHAT_TEMPLATE,
    )


def make_model(vocabulary: int, max_length: int, settings: TinySettings, seed: int) -> "LlamaForCausalLM":
    """Return a freshly initialised model; the same seed gives the same weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=settings.hidden,
        intermediate_size=4 * settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=max_length,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def warm_start(
    model: "LlamaForCausalLM", encoded: EncodedComparisons, settings: TinySettings, seed: int, batch_size: int = 16
) -> None:
    """Teach the model the language of the responses, better and worse alike, in a few supervised steps."""
    from repo.policy.logprobs import packed_logps
    from repo.policy.packing import pack, packed_attention

    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.warm_start_learning_rate)
    order = np.random.default_rng(seed)
    for _ in range(settings.warm_start_steps):
        chosen = order.choice(len(encoded), size=min(batch_size, len(encoded)), replace=False)  # [c]
        batch = pack(encoded[chosen]).to(model.device)
        with packed_attention(model):
            logps = packed_logps(model, batch)
            loss = -(logps.a + logps.b).sum() / len(batch.targets)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
