"""Simulated annotations: text written here, one response truly better, annotators of known reliability.

A response is an opening, a body and a closing, each helpful or not; the one with more helpful parts is better (`gold`),
for certain or, with `utility_scale`, by Bradley–Terry: with probability σ(scale · difference of helpful parts), drawn
once for each comparison. An annotator of reliability η names it with probability η. Nothing else tells good from bad:
lengths and topics are balanced.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from repo.settings import SimulationSettings

SOURCE = "simulated"
"""The data source that stands for these annotations."""


def is_simulated(source: str) -> bool:
    """Tell whether a data source stands for simulated annotations."""
    return source.strip() == SOURCE


_SUBJECTS = (
    "a bicycle", "a sourdough loaf", "a rain barrel", "a bird house", "a small garden", "a camping stove", "a violin",
    "a fish tank", "a bookshelf", "a home network", "a compost heap", "a leather boot", "a sewing machine", "a kite",
    "a wooden table", "a coffee grinder", "a tent", "a piano", "a greenhouse", "a chess opening",
)  # fmt: skip
_TASKS = (
    "How do I look after {}?", "What should I know before I buy {}?", "Explain {} to a child.",
    "My friend asked me about {}. What do I say?", "Write three sentences about {}.", "What can go wrong with {}?",
    "How would you describe {} to a newcomer?", "Give me a plan for a weekend with {}.",
    "Which mistakes do people make with {}?", "Why do people care about {}?", "How much work is {}?",
    "What do I need for {}?", "Compare {} with the alternatives.", "Where do I start with {}?",
    "Tell me something useful about {}.", "Is {} worth the money?", "How long does {} last?",
    "What is the history of {}?", "How do I teach somebody about {}?", "What would an expert say about {}?",
)  # fmt: skip
_HELPFUL = (
    ("Happy to help with that.", "Good question, I am glad you ask.", "Certainly, here is what matters."),
    (
        "First check the parts that wear, then clean them gently and write it down.",
        "Start small, measure it once a week, and change only one thing at a time.",
        "Keep it dry, look at it every month, and ask a local shop for spare parts.",
    ),
    ("Tell me more and I go deeper.", "I can list the tools if you like.", "Shall I add an example?"),
)
_UNHELPFUL = (
    ("Why would you ask me that?", "Whatever, if you must know then.", "That is a boring thing to ask for."),
    (
        "Just do something and hope, because nobody knows and nobody cares at all.",
        "It is all the same anyway, so do not bother me with any of the details.",
        "Some say this, some say that, and who could possibly tell what is right.",
    ),
    ("Look the rest up by yourself.", "Do not ask me about it again.", "That is all you get."),
)


def simulate(settings: SimulationSettings) -> Iterator[dict[str, Any]]:
    """Yield annotations as rows of the paired layout, with gold; the same settings give the same rows."""
    random = np.random.default_rng(settings.seed)
    prompts = prompt_pool(settings.prompts, random)
    return annotate(range(settings.comparisons), prompts, settings.reliabilities, settings, random)


def annotate(
    numbers: Iterable[int],
    prompts: Sequence[str],
    reliabilities: Mapping[str, float],
    settings: SimulationSettings,
    random: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    """Yield the annotations of the comparisons of these numbers, which take the prompts in turn."""
    annotators = list(reliabilities)
    for number in numbers:
        prompt = prompts[number % len(prompts)]
        better, worse = _responses(random, settings.utility_scale)
        for annotator in random.permutation(annotators)[: settings.annotations_per_comparison]:
            gold_first = bool(random.random() < 0.5)
            right = bool(random.random() < reliabilities[str(annotator)])
            yield {
                "comparison_id": f"simulated-{number}",
                "prompt": prompt,
                "response_a": better if gold_first else worse,
                "response_b": worse if gold_first else better,
                "preference": "a" if right == gold_first else "b",
                "annotator_id": str(annotator),
                "gold": "a" if gold_first else "b",
            }


def prompt_pool(count: int, random: np.random.Generator) -> list[str]:
    """Return distinct prompts in a seeded order; past the sentences written here they are numbered variants."""
    every = [task.format(subject) for subject in _SUBJECTS for task in _TASKS]
    order = random.permutation(len(every))
    rounds = [every[i] for i in order]
    return [rounds[i % len(every)] + (f" (variant {i // len(every)})" if i >= len(every) else "") for i in range(count)]


def _responses(random: np.random.Generator, scale: float) -> tuple[str, str]:
    """Return (better, worse): unlike in helpful parts, and the one with more of them better unless chance has it."""
    while True:
        helpful = random.random((2, 3)) < 0.5
        better, worse = sorted(helpful, key=lambda parts: -int(parts.sum()))
        difference = int(better.sum() - worse.sum())
        if difference:
            if scale and random.random() > 1 / (1 + np.exp(-scale * difference)):
                better, worse = worse, better
            return _write(better, random), _write(worse, random)


def _write(helpful: Any, random: np.random.Generator) -> str:
    parts = [(_HELPFUL if good else _UNHELPFUL)[place] for place, good in enumerate(helpful)]
    return " ".join(part[int(random.integers(len(part)))] for part in parts)
