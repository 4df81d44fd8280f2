"""The base policy: a Llama of Qwen2's shape with random weights, and a tokenizer whose every word is one token.

Not Qwen2 itself: transformers 5 reads every tokenizer beside a Qwen2 as that family's own, and splits the words.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.speed.device import held_bytes

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

VOCABULARY, POSITIONS = 32_768, 2048
"""With them 22 million parameters."""
SPECIAL = ("<pad>", "<s>", "</s>")


def make_base(folder: Path, vocabulary: int = VOCABULARY, positions: int = POSITIONS) -> Path:
    """Save the base in Hugging Face format, the same weights every time, and return the folder."""
    sizes = {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": True}
    save_random(llama_config(vocabulary, positions, **sizes, **heads), folder)
    return folder


def llama_config(vocabulary: int, positions: int, **sizes: int) -> "LlamaConfig":
    """Return the configuration of a Llama for the tokenizer here; `sizes` by transformers' names."""
    from transformers import LlamaConfig

    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return LlamaConfig(vocab_size=vocabulary, max_position_embeddings=positions, **special, **sizes)


def save_random(config: "LlamaConfig", folder: Path, dtype: str = "float32") -> None:
    """Save a policy with random weights, the same ones every time on a device, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(), torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).save_pretrained(folder)
    make_tokenizer(config.vocab_size).save_pretrained(folder)


def word(number: int) -> str:
    """Return the text of a token."""
    return f"w{number}"


def held_with_base(base: Path) -> int:
    """Load the base as anybody would, and return the memory that then is held; the model is let go again.

    Either side loads it once more in a way of its own: what counts is the memory beyond a process that holds the
    libraries and the weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    sum(parameter.sum() for parameter in model.parameters())  # weights that lie in a mapped file are read now
    return held_bytes()


def make_tokenizer(vocabulary: int) -> "PreTrainedTokenizerFast":
    """Return a tokenizer of so many words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = (*SPECIAL, *map(word, range(len(SPECIAL), vocabulary)))
    tokenizer = Tokenizer(models.WordLevel({text: number for number, text in enumerate(words)}, unk_token=SPECIAL[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pad, begin, end = SPECIAL
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, bos_token=begin, eos_token=end)
