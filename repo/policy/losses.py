"""Preference losses. Each gives L(first ≻ second), unreduced; RE-PO needs nothing else from it.

A loss of your own is one small dataclass: subclass PreferenceLoss, implement `__call__`, and name it in LOSSES (or pass
an instance to `train`). The swapped orientation, the link p = σ(L_swap − L), the posterior and both M-steps follow from
it (repo.policy.objective).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from repo.errors import UserError


@dataclass(frozen=True)
class PairLogps:
    """Log-probabilities of two responses to the same prompt; every tensor has one entry a comparison.

    Attributes:
        first, second: log π(y | x), summed over the response's tokens.
        reference_first, reference_second: the same under the reference policy; zeros when the loss needs none.
        first_length, second_length: response tokens, float.
    """

    first: Tensor
    second: Tensor
    reference_first: Tensor
    reference_second: Tensor
    first_length: Tensor
    second_length: Tensor

    def swapped(self) -> "PairLogps":
        """Return the same pairs with the responses exchanged."""
        return PairLogps(
            self.second,
            self.first,
            self.reference_second,
            self.reference_first,
            self.second_length,
            self.first_length,
        )


class PreferenceLoss(ABC):
    """L(first ≻ second) of a comparison, for whichever response stands first."""

    needs_reference: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, pair: PairLogps) -> Tensor:
        """Return L(first ≻ second), unreduced, shape [comparisons]. It alone decides p = σ(L_swap − L)."""

    def anchor(self, pair: PairLogps) -> Tensor | None:
        """Return a regulariser of the first response that stays outside the link, or None (most losses)."""
        return None

    def rewards(self, pair: PairLogps) -> tuple[Tensor, Tensor]:
        """Return the implicit rewards of (first, second), for metrics only: β · log-ratio to the reference."""
        beta: float = getattr(self, "beta", 1.0)
        return beta * (pair.first - pair.reference_first), beta * (pair.second - pair.reference_second)


@dataclass(frozen=True)
class DPO(PreferenceLoss):
    """L = −log σ(β h), h the difference of policy/reference log-ratios (Rafailov et al. 2023, Eq. 7)."""

    beta: float = 0.1

    def __call__(self, pair: PairLogps) -> Tensor:
        """Return −log σ(β h)."""
        log_ratio = (pair.first - pair.reference_first) - (pair.second - pair.reference_second)  # [c]
        return -logsigmoid(self.beta * log_ratio)


@dataclass(frozen=True)
class IPO(PreferenceLoss):
    """L = (h − 1/(2β))², h from length-averaged log-ratios (Azar et al. 2024, Eq. 17; averaging as in TRL)."""

    beta: float = 0.1

    def __call__(self, pair: PairLogps) -> Tensor:
        """Return (h − 1/(2β))²."""
        first, second = self._mean_log_ratios(pair)  # [c] each
        return (first - second - 1 / (2 * self.beta)) ** 2

    def rewards(self, pair: PairLogps) -> tuple[Tensor, Tensor]:
        """Return β · length-averaged log-ratio of (first, second)."""
        first, second = self._mean_log_ratios(pair)
        return self.beta * first, self.beta * second

    def _mean_log_ratios(self, pair: PairLogps) -> tuple[Tensor, Tensor]:
        return (
            (pair.first - pair.reference_first) / pair.first_length,
            (pair.second - pair.reference_second) / pair.second_length,
        )


@dataclass(frozen=True)
class SimPO(PreferenceLoss):
    """L = −log σ(s − γ), s = β (log π(y_w)/|y_w| − log π(y_l)/|y_l|) (Meng et al. 2024, Eq. 6)."""

    needs_reference: ClassVar[bool] = False
    beta: float = 2.0
    gamma: float = 1.0

    def __call__(self, pair: PairLogps) -> Tensor:
        """Return −log σ(s − γ)."""
        first, second = self.rewards(pair)  # [c] each
        return -logsigmoid(first - second - self.gamma)

    def rewards(self, pair: PairLogps) -> tuple[Tensor, Tensor]:
        """Return β · mean token log-probability of (first, second)."""
        return self.beta * pair.first / pair.first_length, self.beta * pair.second / pair.second_length


@dataclass(frozen=True)
class CPO(PreferenceLoss):
    """L = −log σ(β Δ) + λ · NLL(y_w)/|y_w|, Δ = log π(y_w) − log π(y_l) (Xu et al. 2024, Eq. 5).

    With link "literal" the NLL term takes part in p = σ(L_swap − L), as RE-PO Eq. 2 reads. Either way early posteriors
    follow the base model's likelihood, mostly length; with link "preference" p = σ(βΔ) alone and the NLL stands outside
    the link, weighted by w.
    """

    needs_reference: ClassVar[bool] = False
    beta: float = 0.1
    nll: float = 1.0
    link: Literal["literal", "preference"] = "literal"

    def __call__(self, pair: PairLogps) -> Tensor:
        """Return −log σ(β Δ), plus the NLL term when the link is literal."""
        preference = -logsigmoid(self.beta * (pair.first - pair.second))  # [c]
        return preference + self._nll(pair) if self.link == "literal" else preference

    def anchor(self, pair: PairLogps) -> Tensor | None:
        """Return λ · NLL(first)/|first| when the link is on the preference term alone."""
        return self._nll(pair) if self.link == "preference" else None

    def rewards(self, pair: PairLogps) -> tuple[Tensor, Tensor]:
        """Return β · log π of (first, second)."""
        return self.beta * pair.first, self.beta * pair.second

    def _nll(self, pair: PairLogps) -> Tensor:
        return -self.nll * pair.first / pair.first_length


LOSSES: dict[str, type[PreferenceLoss]] = {"dpo": DPO, "ipo": IPO, "simpo": SimPO, "cpo": CPO}
"""Every loss by name; add yours here."""


def make_loss(name: str, options: Mapping[str, Any]) -> PreferenceLoss:
    """Return the loss called `name` with its options.

    Raises:
        UserError: the name, an option or an option's value is unknown.
    """
    if name not in LOSSES:
        raise UserError(f"train.loss: unknown loss {name!r}", f"use one of {', '.join(LOSSES)}")
    kind = LOSSES[name]
    known = {f.name: f.type for f in fields(kind)}  # type: ignore[arg-type]
    for option, value in options.items():
        if option not in known:
            raise UserError(
                f"train.loss_options: {name} has no option {option!r}", f"its options are {', '.join(known)}"
            )
        _check_option(f"train.loss_options.{option}", known[option], value)
    return kind(**options)


def _check_option(name: str, declared: Any, value: Any) -> None:
    if declared is float:
        if not isinstance(value, int | float) or not torch.isfinite(torch.tensor(float(value))) or value < 0:
            raise UserError(
                f"{name} = {value!r}: a number ≥ 0 is expected", "see the loss's class in repo/policy/losses.py"
            )
    elif value not in declared.__args__:
        raise UserError(f"{name} = {value!r}: unknown", f"use one of {', '.join(declared.__args__)}")
