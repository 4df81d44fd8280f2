"""Which features meet in which run: a covering design, so that every pair of features meets in all four ways."""

from dataclasses import dataclass
from pathlib import Path

from pipeline_runs import SMALL

PINNED = "katherine-johnson"
"""Who is pinned: an annotator's id as it stands in the annotations."""

SETTINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gold": ((), ("reliability.use_gold=true",)),
    "pinned": ((), (f"reliability.pinned={{{PINNED}: 0.9}}",)),
    "prior": ((), ("reliability.prior_state={prior}",)),
    "pseudonyms": ((), ("data.pseudonymise=true",)),
    "ties": ((), ("data.ties=split",)),
    "coins": (("reliability.coins=1",), ("reliability.coins=2",)),
    "lora": ((), ("policy.lora.rank=4",)),
    "first_visit": ((), ("train.epochs=4", "reliability.margins=first_visit")),
    "own_loss": ((), ("train.loss=my_losses:SmoothHinge", "train.loss_options={beta: 0.2}")),
    "truncation": ((), ("policy.max_length=40", "policy.max_prompt_length=24")),
    "resume": ((), ("train.checkpoint_every=2",)),
}
"""Feature → the settings when it is off, and when it is on; `{prior}` stands for a reliability_state.json."""

# One run a line, one feature a column, in the order of SETTINGS. Seven runs would do for the pairs; these ten were
# searched for, and hold nine in ten of the triples too.
_TABLE = """
00000000000
01110101010
11110010100
10011011010
00100011111
00011110101
11000111001
10101101100
11011000111
01101110010
"""


@dataclass(frozen=True)
class Case:
    """One run of the design: the features that are on."""

    on: frozenset[str]

    @property
    def name(self) -> str:
        """The features, in the design's order."""
        return "+".join(feature for feature in SETTINGS if feature in self.on) or "plain"

    @property
    def prior_coins(self) -> int:
        """Coins of the earlier estimate. With `pinned` it is one: so both numbers meet both of `coins`."""
        return 1 if "pinned" in self.on else 2

    def settings(self, prior: Path) -> tuple[str, ...]:
        """Return what stands behind --set; `prior` is the state that an earlier estimate left."""
        chosen = [setting for feature, both in SETTINGS.items() for setting in both[feature in self.on]]
        return (*SMALL, *(f"reliability.prior_state={prior}" if "{prior}" in s else s for s in chosen))


CASES = tuple(
    Case(frozenset(feature for feature, mark in zip(SETTINGS, line, strict=True) if mark == "1"))
    for line in _TABLE.split()
)
