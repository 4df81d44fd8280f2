"""Settings from and to YAML: one file with the sections' shape, `--set` overrides, and errors that name the key."""

import difflib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from repo.errors import UserError
from repo.settings.sections import Section, Settings, leaves


def load_settings(config: Path | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Read a YAML file and apply `section.key=value` overrides.

    Raises:
        UserError: the file is missing or no YAML, a key is unknown, or a value is out of its bounds.
    """
    values = parse_yaml(_read_config(config), str(config)) if config else {}
    for override in overrides:
        _apply_override(values, override)
    return build_settings(values, str(config) if config else "--set")


def build_settings(values: dict[str, Any], source: str) -> Settings:
    """Turn nested values into Settings; `source` is named in the error."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise _explain(error, source) from None


def settings_from_json(text: str) -> Settings:
    """Read settings back from the JSON that one pipeline step hands to the next."""
    return build_settings(json.loads(text), "the pipeline's settings")


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Parse YAML that must be a mapping."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not valid YAML: {error}", "check indentation and quotes at that place") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{source}: a mapping of sections is expected, found {type(values).__name__}", _EXAMPLE)
    return values


_LIST = "repo-pipeline settings lists every key and its default"
_EXAMPLE = "for example:\n      train:\n        loss: ipo"


def _read_config(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "give the path of a YAML file to --config") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a UTF-8 text file", "give the path of a YAML file to --config") from None


def _apply_override(values: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise UserError(f"--set {override}: expected section.key=value", "for example --set train.loss=ipo")
    parsed = parse_yaml(f"value: {text}", f"--set {override}")["value"]
    for depth in range(1, len(keys)):
        if not isinstance(value_at(values, keys[:depth]), dict | None):
            raise UserError(f"--set {override}: {keys[depth - 1]} is a value, not a section", _LIST)
    put_value(values, keys, parsed)


def _explain(error: ValidationError, source: str) -> UserError:
    """One line a mistake, each naming the key; the nearest known key where one is misspelt."""
    known = [name for name, _ in leaves(Settings())] + list(Settings.model_fields)
    lines, remedies = [], []
    for issue in error.errors():
        name = ".".join(
            str(part) for part in issue["loc"] if part not in ("float", "constrained-float", "bool", "literal['auto']")
        )
        if issue["type"] == "extra_forbidden":
            lines.append(f"{source}: unknown setting '{name}'")
            near = difflib.get_close_matches(name, known, n=1)
            remedies.extend([f"did you mean '{near[0]}'?"] if near else [])
        else:
            lines.append(f"{source}: {name} = {issue['input']!r}: {issue['msg'].lower()}")
    return UserError("\n".join(dict.fromkeys(lines)), " ".join([*remedies, _LIST]))


def to_commented_yaml(settings: Settings) -> str:
    """Return all settings as YAML, each with its meaning as a comment."""
    return "".join(_commented(settings, 0))


def _commented(section: Section, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield f"{indent}{name}:\n"
            yield from _commented(value, depth + 1)
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True, sort_keys=False)
            scalar = text.removesuffix("...\n").strip()
            yield f"{indent}{name}: {scalar}  # {field.description}\n"


def put_value(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a nested value, its sections made where they are missing."""
    for key in path[:-1]:
        values = values.setdefault(key, {})
    values[path[-1]] = value


def value_at(values: Any, path: list[str]) -> Any:
    """Return a nested value, or None."""
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values
