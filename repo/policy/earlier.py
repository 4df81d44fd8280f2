"""What a training goes on from: an earlier policy, what is known of annotators, and votes that are counted already.

A vote is evidence about its annotator once: in the training that was the first to see it, whose policy had not learnt
it by heart. Trained on again, it is weighed by the reliability that is known by then, but tells nothing new about it.
So earlier votes belong to stand-ins, whose reliability is pinned.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from repo.policy.loading import Policy, load_policy
from repo.reliability.drift import believed
from repo.reliability.eras import Eras
from repo.reliability.state import ReliabilityState
from repo.settings import Settings

_COUNTED = "{} (counted before)"


@dataclass(frozen=True)
class Earlier:
    """The model version that a training goes on from.

    Attributes:
        version: its number.
        policy: directory of its weights and tokenizer; None to start from the base.
        base: directory or hub id of its base, which is the reference.
        revision: hub revision of the base.
        state: what it knows of annotators; None where it was trained plainly.
        votes: canonical annotations that it or those before it have learnt, to be trained on once more; the column
            `version` names the one that was the first to see them.
    """

    version: str
    policy: Path | None
    base: Path | str
    revision: str
    state: ReliabilityState | None
    votes: pd.DataFrame

    def start(self, settings: Settings) -> Policy:
        """Load the weights to start from.

        Raises:
            UserError: they cannot be loaded.
        """
        import torch

        from repo.policy.loading import frozen_dtype

        dtype = frozen_dtype(settings.policy) if settings.policy.lora else torch.float32
        if self.policy is not None:
            return load_policy(self.policy, dtype=dtype, max_length=settings.policy.max_length)
        return load_policy(self.base, self.revision, dtype, settings.policy.max_length)

    @cached_property
    def _names(self) -> "pd.Series[str]":
        """The name under which the state knows each vote's annotator."""
        if self.state is None:
            return self.votes["annotator_id"]
        eras = Eras(self.state)
        rows = zip(self.votes["annotator_id"], self.votes["version"], strict=True)
        return pd.Series([eras.name(*row) for row in rows], index=self.votes.index, dtype="str")

    @cached_property
    def stand_ins(self) -> pd.DataFrame:
        """The votes, given by stand-ins."""
        names = self._names.map(_COUNTED.format)
        return self.votes.assign(annotator_id=names).drop(columns="version")

    def known(self, settings: Settings) -> dict[str, float]:
        """Return stand-in → its pinned reliability."""
        initial, pinned = settings.reliability.initial, settings.reliability.pinned
        names: list[Hashable] = list(self._names.unique())
        return {
            _COUNTED.format(name): pinned[str(name)]
            if name in pinned
            else initial
            if self.state is None
            else believed(self.state, name, initial)
            for name in names
        }
