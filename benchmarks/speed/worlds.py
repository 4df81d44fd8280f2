"""Comparisons of random words whose numbers of tokens are known.

Lengths are quantiles of a lognormal distribution in a random order, not draws from it: two dozen comparisons have the
lengths that a large sample would have, the long ones included.
"""

import json
import math
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.speed.base import SPECIAL, VOCABULARY, word

ANNOTATORS = 10
RELIABILITIES = np.linspace(0.6, 0.95, ANNOTATORS)
"""How often each annotator says what the better response is."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of a text: lognormal, cut to between 2 and `most`.

    Attributes:
        median: of the lognormal distribution.
        mean: of it, before the cut; as large as the median where all texts have one length.
        most: the longest.
    """

    median: float
    mean: float
    most: int

    def sample(self, size: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return so many lengths."""
        deviation = math.sqrt(2 * math.log(self.mean / self.median))
        normal = NormalDist()
        scores = np.array([normal.inv_cdf((rank + 0.5) / size) for rank in range(size)])
        lengths = self.median * np.exp(deviation * scores)
        return random.permutation(lengths.round().clip(2, self.most).astype(np.int64))

    def shortened(self) -> "Lengths":
        """Return a sixteenth of them."""
        return Lengths(self.median / 16, self.mean / 16, self.most // 16)


@dataclass(frozen=True)
class World:
    """What the comparisons are like.

    Attributes:
        prompt, response: lengths; a response's end token comes on top of them.
        max_length, max_prompt_length: what either side is told, so that nothing is cut.
        annotations: a comparison.
        vocabulary: of the base that reads them.
    """

    prompt: Lengths
    response: Lengths
    max_length: int = 1024
    max_prompt_length: int = 512
    annotations: int = 1
    vocabulary: int = VOCABULARY

    def comparisons(self, size: int, seed: int = 0) -> pd.DataFrame:
        """Return canonical annotations of so many comparisons."""
        random = np.random.default_rng(seed)
        texts = {
            "prompt": self._texts(self.prompt.sample(size, random), random),
            # The space keeps a response's first word apart from the prompt's last.
            "response_a": [" " + text for text in self._texts(self.response.sample(size, random), random)],
            "response_b": [" " + text for text in self._texts(self.response.sample(size, random), random)],
        }
        rows = [
            {
                "comparison_id": f"{seed}-{number}",
                **{name: values[number] for name, values in texts.items()},
                "messages": False,
                "preference": preference,
                "annotator_id": f"annotator-{annotator}",
                "gold": "",
                "shown_first": "",
                "listed_first": "a",
                "weight": 1.0,
                "created_at": "",
                "file": "words.jsonl",
                "line": number + 1,
            }
            for number in range(size)
            for annotator, preference in self._votes(random)
        ]
        return pd.DataFrame(rows)

    def _texts(self, lengths: npt.NDArray[np.int64], random: np.random.Generator) -> list[str]:
        return [" ".join(map(word, random.integers(len(SPECIAL), self.vocabulary, length))) for length in lengths]

    def _votes(self, random: np.random.Generator) -> list[tuple[int, str]]:
        """Return (annotator, preference) of a comparison; they disagree as often as their reliabilities say."""
        better, worse = random.permutation(["a", "b"]).tolist()
        chosen = random.choice(ANNOTATORS, self.annotations, replace=False)
        return [(int(one), better if random.random() < RELIABILITIES[one] else worse) for one in chosen]

    def shortened(self) -> "World":
        """Return the same kind of comparisons, of a sixteenth of the lengths: for the quick form."""
        return replace(self, prompt=self.prompt.shortened(), response=self.response.shortened())

    def text(self) -> str:
        """Return what `parse` reads: a command line's argument."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "World":
        """Undo `text`."""
        values: dict[str, Any] = json.loads(text)
        return cls(**{**values, "prompt": Lengths(**values["prompt"]), "response": Lengths(**values["response"])})


# The lengths for which the targets were set. UltraFeedback's: prompts of 160 tokens on average, half of them below 90,
# responses of 280, once cut. The others move the weight to the prompt (450 and 90) and to long responses (490 and 680).
_PROMPT, _RESPONSE = Lengths(90, 230, 511), Lengths(255, 300, 511)
ULTRAFEEDBACK = World(_PROMPT, _RESPONSE)
PROMPT_HEAVY = World(Lengths(450, 460, 511), Lengths(75, 90, 511))
LONG = World(Lengths(490, 490, 490), Lengths(640, 700, 1114), max_length=2048)
FOUR = World(_PROMPT, _RESPONSE, annotations=4)
