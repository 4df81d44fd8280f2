"""The options of a loss, from settings: each is read as the type that the loss's class declares for it."""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from repo.errors import UserError

_WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text", type(None): "null"}


def read_options(name: str, kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the dataclass `kind` with the types it declares.

    An option may be declared as float, int, bool, str, a Literal, or a union of these such as `float | None`. A number
    may be written as text, as YAML reads 1e-1. It must be finite, and no smaller than the field's metadata say:
    `beta: float = field(default=0.1, metadata={"minimum": 0})`. Without that any number goes.

    Raises:
        UserError: an option is unknown, missing, or has a value that is not of its type.
    """
    known = {field.name: field for field in fields(kind) if field.init}
    for option in options:
        if option not in known:
            remedy = f"its options are {', '.join(known)}" if known else "leave train.loss_options empty"
            raise UserError(f"train.loss_options: {name} has no option {option!r}", remedy)
    for option, field in known.items():
        if field.default is MISSING and field.default_factory is MISSING and option not in options:
            raise UserError(f"train.loss_options: {name} needs {option!r}", f"set train.loss_options.{option}")
    declared = _declared(name, kind)
    return {option: _read(name, known[option], declared[option], value) for option, value in options.items()}


def _declared(name: str, kind: type) -> dict[str, Any]:
    """Return the types of a class's fields, also of one that writes them as text."""
    try:
        return get_type_hints(kind)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise UserError(
            f"train.loss: the types of the options of {name} cannot be found: {error}",
            "declare them as float, int, bool, str or a Literal, imported at the top of its module",
        ) from None


def _read(name: str, field: Field[Any], declared: Any, value: Any) -> Any:
    setting, kinds = f"train.loss_options.{field.name}", _alternatives(declared)
    if not all(kind in _WORDS or get_origin(kind) is Literal for kind in kinds):
        raise UserError(
            f"{setting}: settings cannot hold an option declared as {declared}",
            "declare it as float, int, bool, str or a Literal, or pass a made loss to repo.train",
        )
    minimum = field.metadata.get("minimum", -math.inf)
    # A value that already has one of the types keeps it; only then is it converted.
    for take in (_as_it_is, _converted):
        for kind in kinds:
            found = take(kind, value)
            if found is not None and _in_bounds(found[0], minimum):
                return found[0]
    bound = f" ≥ {minimum}" if minimum > -math.inf else ""
    words = " or ".join(_words(kind) + (bound if kind in (int, float) else "") for kind in kinds)
    raise UserError(f"{setting} = {value!r}: {words} is expected", f"it is an option of the loss {name}")


def _alternatives(declared: Any) -> tuple[Any, ...]:
    return get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)


def _words(kind: Any) -> str:
    return _WORDS[kind] if kind in _WORDS else f"one of {', '.join(map(str, get_args(kind)))}"


def _as_it_is(kind: Any, value: Any) -> tuple[Any] | None:
    """Return the value, in a tuple, when it is of this very type (True is no 1)."""
    if get_origin(kind) is Literal:
        matches = any(type(value) is type(choice) and value == choice for choice in get_args(kind))
    else:
        matches = type(value) is kind
    return (value,) if matches else None


def _converted(kind: Any, value: Any) -> tuple[Any] | None:
    """Return a number written as text, or with another type of number, as the number meant."""
    if kind not in (int, float) or isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if kind is float:
        return (number,)
    return (int(number),) if number.is_integer() else None


def _in_bounds(value: Any, minimum: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return math.isfinite(value) and value >= minimum
