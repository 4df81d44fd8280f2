"""What a wide vocabulary adds to the peak of memory, over the length of the prompt.

The same training twice, with a vocabulary of a few words and with the usual one: what the second takes more is the
head's share, with the gradients and AdamW's moments of its weights. Logits of prompts would make it grow.
"""

from benchmarks.speed.base import VOCABULARY
from benchmarks.speed.beside import above
from benchmarks.speed.growth import trained
from benchmarks.speed.worlds import Lengths, World
from benchmarks.table import Row

PROMPTS, RESPONSE = (128, 512, 2048, 4096), 255
QUICK_PROMPTS, QUICK_RESPONSE = (16, 64), 15
NARROW = 1024
TIMES = 1.1
"""The longest prompt's share is at most so many times the shortest's."""


def rows(quick: bool) -> list[Row]:
    """Return the head's share at each length of the prompt, and how it grows."""
    prompts, response = (QUICK_PROMPTS, QUICK_RESPONSE) if quick else (PROMPTS, RESPONSE)
    shares = [_peak(prompt, response, VOCABULARY) - _peak(prompt, response, NARROW) for prompt in prompts]
    times = shares[-1] / shares[0]
    return [
        *(
            Row(f"prompts of {p:,}: the head's share, GB", "", s / 1e9, None)
            for p, s in zip(prompts, shares, strict=True)
        ),
        Row(
            f"times as much beside prompts of {prompts[-1]:,} as of {prompts[0]:,}",
            f"≤ {TIMES:g}",
            times,
            None if quick else times <= TIMES,
        ),
    ]


def _peak(prompt: int, response: int, vocabulary: int) -> float:
    """Return the peak of a training's steps above the loaded model, in bytes."""
    of = Lengths(prompt, prompt, prompt), Lengths(response, response, response)
    longest = prompt + response + 1
    return above(trained(World(*of, max_length=longest, max_prompt_length=prompt, vocabulary=vocabulary)))
