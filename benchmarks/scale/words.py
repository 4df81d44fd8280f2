"""Texts to measure with: words drawn at random, five bytes each."""

from pathlib import Path

import numpy as np

_WORDS = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()


def text(random: np.random.Generator, words: int) -> str:
    """Return so many words."""
    return " ".join([_WORDS[place] for place in random.integers(len(_WORDS), size=words)])
