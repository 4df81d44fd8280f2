"""Preference losses. Each gives L(first ≻ second), unreduced; RE-PO needs nothing else from it.

A loss of your own is one small dataclass: subclass PreferenceLoss, implement `__call__`, and give `module:Class` as
train.loss (or pass an instance to `train`). The swapped orientation, the link p = σ(L_swap − L), the posterior and both
M-steps follow from it (repo.policy.objective). Its fields are its options: see read_options in
repo.policy.loss_options for their types, and for how to forbid negative ones.
"""

import importlib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from operator import attrgetter
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from repo.errors import UserError
from repo.policy.loss_options import read_options

_NOT_NEGATIVE = {"minimum": 0}


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

    beta: float = field(default=0.1, metadata=_NOT_NEGATIVE)

    def __call__(self, pair: PairLogps) -> Tensor:
        """Return −log σ(β h)."""
        log_ratio = (pair.first - pair.reference_first) - (pair.second - pair.reference_second)  # [c]
        return -logsigmoid(self.beta * log_ratio)


@dataclass(frozen=True)
class IPO(PreferenceLoss):
    """L = (h − 1/(2β))², h from length-averaged log-ratios (Azar et al. 2024, Eq. 17; averaging as in TRL)."""

    beta: float = field(default=0.1, metadata=_NOT_NEGATIVE)

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
    beta: float = field(default=2.0, metadata=_NOT_NEGATIVE)
    gamma: float = field(default=1.0, metadata=_NOT_NEGATIVE)

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
    beta: float = field(default=0.1, metadata=_NOT_NEGATIVE)
    nll: float = field(default=1.0, metadata=_NOT_NEGATIVE)
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

# As they are before a user adds to LOSSES: what is added in one process is not there in the next.
_OURS = {kind: name for name, kind in LOSSES.items()}


def make_loss(name: str, options: Mapping[str, Any]) -> PreferenceLoss:
    """Return the loss called `name` in LOSSES, or your own class `module:Class`, with its options.

    Raises:
        UserError: there is no such loss, it is no dataclass made of PreferenceLoss, or an option does not fit.
    """
    kind = _find(name)
    given = read_options(name, kind, options)
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise UserError(f"train.loss_options: {name} refuses {given}: {error}", "change train.loss_options") from None


def loss_record(loss: PreferenceLoss) -> dict[str, Any]:
    """Return what a training's record says of its loss, so that the policy can be scored as it was trained.

    Returns:
        `loss`: the name of one of our losses, or module:Class. `loss_options`: its options. `loss_importable`: whether
        make_loss makes the same loss of these in another process; not of a class defined in a script or a function.
    """
    kind = type(loss)
    name = _OURS.get(kind, f"{kind.__module__}:{kind.__qualname__}")
    options = _options_of(loss)
    plain = {key: value if _is_plain(value) else repr(value) for key, value in options.items()}
    importable = kind.__module__ != "__main__" and all(map(_is_plain, options.values())) and _is_made(kind, name, plain)
    return {"loss": name, "loss_options": plain, "loss_importable": importable}


def _options_of(loss: PreferenceLoss) -> dict[str, Any]:
    if is_dataclass(loss):
        return {option.name: getattr(loss, option.name) for option in fields(loss) if option.init}
    return dict(vars(loss))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _is_made(kind: type[PreferenceLoss], name: str, options: Mapping[str, Any]) -> bool:
    try:
        return type(make_loss(name, options)) is kind
    except UserError:
        return False


def _find(name: str) -> type[PreferenceLoss]:
    """Return the class of a loss, which must be one that can be made from its options."""
    if name not in LOSSES and ":" not in name:
        raise UserError(
            f"train.loss: unknown loss {name!r}",
            f"use one of {', '.join(LOSSES)}, or module:Class of your own, such as my_losses:Hinge",
        )
    kind = LOSSES[name] if name in LOSSES else _imported(name)
    if not (isinstance(kind, type) and issubclass(kind, PreferenceLoss)):
        raise UserError(f"train.loss: {name} is no PreferenceLoss", "write it as class Name(repo.PreferenceLoss)")
    if inspect.isabstract(kind):
        raise UserError(f"train.loss: {name} has no __call__", "implement __call__(self, pair), which returns L")
    if not is_dataclass(kind):
        raise UserError(
            f"train.loss: {name} is no dataclass, so its options are not known",
            "write @dataclass(frozen=True) above it",
        )
    return kind


def _imported(name: str) -> Any:
    module, _, path = name.partition(":")
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's module does while it is imported
        raise UserError(
            f"train.loss: {name}: importing {module!r} failed: {' '.join(f'{type(error).__name__}: {error}'.split())}",
            f"start in the directory that holds {module.split('.')[0]}, or install it as a package"
            if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
            else f"correct it until python -c 'import {module}' works",
        ) from None
    try:
        return attrgetter(path)(found)
    except AttributeError:
        raise UserError(
            f"train.loss: there is no class {path!r} in the module {module!r}", _missing(module, path)
        ) from None


def _missing(module: str, path: str) -> str:
    if module == "__main__" or "<locals>" in path:
        return (
            "it was defined in a script or inside a function, where no other process finds it: put it at the top level "
            "of a module file and train again"
        )
    return f"name a class at the top level of {module}, as module:Class"
