"""Policies with the shapes of well-known models and random weights: as fast as those, and nothing to download.

All of them are Llamas to transformers. What sets Qwen2 and Mistral apart (biases of three projections, a window longer
than any comparison here) costs nothing that could be seen.
"""

import argparse
import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.speed.base import SPECIAL, llama_config, save_random

if TYPE_CHECKING:
    from transformers import LlamaConfig


@dataclass(frozen=True)
class Shape:
    """A decoder's sizes, and what of it is trained.

    Attributes:
        hidden, intermediate, layers, heads, key_value_heads, vocabulary: as transformers' configurations call them.
        tied: whether the head's weights are the embedding's.
        rank: of the adapters on all linear layers but the head; 0: all weights are trained.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tied: bool
    rank: int = 0

    @property
    def _linear(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of a decoder layer's linear layers."""
        keys = self.hidden // self.heads * self.key_value_heads
        wide = (self.hidden, self.intermediate)
        return (
            (self.hidden, self.hidden),
            (self.hidden, keys),
            (self.hidden, keys),
            (self.hidden, self.hidden),
            wide,
            wide,
            wide[::-1],
        )

    @property
    def body(self) -> int:
        """Parameters of the linear layers that every token passes, adapters left out."""
        return self.layers * sum(one * other for one, other in self._linear)

    @property
    def adapters(self) -> int:
        """Parameters of the adapters."""
        return self.layers * sum(self.rank * (one + other) for one, other in self._linear)

    @property
    def head(self) -> int:
        """Parameters of the head, which response tokens alone pass."""
        return self.hidden * self.vocabulary

    def flops(self, tokens: int, response_tokens: int) -> float:
        """Return the useful work of one training step on so many tokens, in floating-point operations.

        Two a parameter and token forward, two for the gradient of what went in, and two for the gradient of a parameter
        that is trained. Useful is each prompt once, however often it is computed, the head on response tokens only, no
        padding, nothing computed again, no pass of the reference; attention's own products are left out.
        """
        trained = 2 if self.rank == 0 else 0
        of_body = (4 + trained) * self.body + 6 * self.adapters
        return float(of_body * tokens + (4 + trained) * self.head * response_tokens)

    def config(self, positions: int) -> "LlamaConfig":
        """Return the configuration of a Llama of this shape."""
        return llama_config(
            self.vocabulary,
            positions,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            tie_word_embeddings=self.tied,
        )

    def save(self, folder: Path, positions: int) -> None:
        """Write a policy of this shape in Hugging Face format, in bfloat16 where nothing trains its weights."""
        save_random(self.config(positions), folder, "bfloat16" if self.rank else "float32")

    def shortened(self) -> "Shape":
        """Return a shape of the same kind that trains on a CPU in a moment: for the quick form."""
        small = replace(self, hidden=64, intermediate=128, layers=2, heads=4, vocabulary=len(SPECIAL) + 300)
        return replace(small, key_value_heads=min(2, self.key_value_heads), rank=min(4, self.rank))


SHAPES = {
    "qwen2-0.5b": Shape(896, 4864, 24, 14, 2, 151_936, tied=True),
    "llama-1b": Shape(2048, 8192, 16, 32, 8, 128_256, tied=True),
    "mistral-7b-lora": Shape(4096, 14_336, 32, 32, 8, 32_768, tied=False, rank=16),
}


def card() -> dict[str, str]:
    """Return the name and the power limit of the GPU that trainings run on; both are empty without one."""
    import torch

    if not torch.cuda.is_available():
        return {"card": "", "power_limit": ""}
    asked = ["nvidia-smi", "--query-gpu=power.limit", "--format=csv,noheader", "--id=0"]
    limit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {"card": torch.cuda.get_device_name(), "power_limit": limit or "not known"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a policy of random weights, and say what card there is.")
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("positions", type=int)
    parser.add_argument("--quick", action="store_true", help="a small shape of the same kind")
    options = parser.parse_args()
    chosen = SHAPES[options.shape]
    (chosen.shortened() if options.quick else chosen).save(options.folder, options.positions)
    print(json.dumps(card()))
