"""Annotators who have become somebody else: their votes before a change and after it are those of two people."""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import replace

from repo.reliability.state import ReliabilityState

_FORMER = re.compile(r"(?P<name>.*) \(until version (?P<version>\d+)\)", re.DOTALL)


def former(name: Hashable, version: str) -> str:
    """Return the name that stands for an annotator's votes up to a model version."""
    return f"{name} (until version {version})"


def is_former(name: Hashable) -> bool:
    """Tell whether a name stands for somebody's votes before a change."""
    return isinstance(name, str) and _FORMER.fullmatch(name) is not None


def set_apart(state: ReliabilityState, changed: Iterable[Hashable], version: str) -> ReliabilityState:
    """Return the state with the evidence of these annotators under their former names.

    Args:
        state: what is known after the votes that `version` had seen.
        changed: who has become somebody else since.
        version: the model version that the state belongs to.
    """
    renamed = {name: former(name, version) for name in changed}
    return replace(state, annotators={renamed.get(name, name): found for name, found in state.annotators.items()})


class Eras:
    """Under which name a state knows a vote: its annotator's, or a former one."""

    def __init__(self, state: ReliabilityState) -> None:
        self._ends: dict[str, list[int]] = defaultdict(list)
        for name in state.annotators:
            found = _FORMER.fullmatch(name) if isinstance(name, str) else None
            if found:
                self._ends[found["name"]].append(int(found["version"]))

    def name(self, annotator: str, version: str) -> str:
        """Return the name for a vote of this annotator that this model version was the first to see."""
        ends = [end for end in self._ends.get(annotator, ()) if end >= int(version)]
        return former(annotator, str(min(ends))) if ends else annotator
