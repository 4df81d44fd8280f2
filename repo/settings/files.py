"""Settings from and to YAML: one file with the sections' shape, `--set` overrides, and errors that name the key."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from repo.errors import UserError
from repo.settings.sections import Section, Settings, leaves


def load_settings(config: Path | str | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Read a YAML file and apply `section.key=value` overrides. A section with nothing in it keeps its defaults.

    Raises:
        UserError: the file is missing or no YAML, a key is unknown, or a value is out of its bounds.
    """
    values = {} if config is None else parse_yaml(_read_config(Path(config)), str(config))
    overrides = list(overrides)
    for override in overrides:
        _apply_override(values, override)
    sources = ([] if config is None else [str(config)]) + (["--set"] if overrides else [])
    return build_settings(values, " with ".join(sources))


def build_settings(values: dict[str, Any], source: str) -> Settings:
    """Turn nested values into Settings; `source` is named in the error."""
    try:
        return Settings.model_validate(_without_empty_sections(values, Settings))
    except ValidationError as error:
        raise _explain(error, values, source) from None


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


def _without_empty_sections(values: dict[str, Any], section: type[Section]) -> dict[str, Any]:
    """Leave out sections without a key, which YAML reads as null."""
    kept = dict(values)
    for name, field in section.model_fields.items():
        kind = field.annotation
        if name in kept and isinstance(kind, type) and issubclass(kind, Section):
            if kept[name] is None:
                del kept[name]
            elif isinstance(kept[name], dict):
                kept[name] = _without_empty_sections(kept[name], kind)
    return kept


def _explain(error: ValidationError, values: dict[str, Any], source: str) -> UserError:
    """One line a key, saying what is wrong with it; the nearest known key where one is misspelt."""
    known = [name for name, _ in leaves(Settings())] + list(Settings.model_fields)
    issues: dict[str, list[Any]] = {}
    for issue in error.errors():
        issues.setdefault(_key(issue["loc"], values), []).append(issue)
    lines, remedies = [], []
    for name, found in issues.items():
        ours = found[0].get("ctx", {}).get("error")
        if isinstance(ours, UserError):  # raised by a section, about several of its keys
            lines.append(f"{source}: {ours.problem}")
            remedies.append(f"{ours.remedy};")
        elif found[0]["type"] == "extra_forbidden":
            lines.append(f"{source}: unknown setting '{name}'")
            near = difflib.get_close_matches(name, known, n=1)
            remedies.extend([f"did you mean '{near[0]}'?"] if near else [])
        else:
            lines.append(f"{source}: {name} = {found[0]['input']!r}: {_why(found)}")
    return UserError("\n".join(lines), " ".join([*remedies, _LIST]))


def _key(location: tuple[int | str, ...], values: Any) -> str:
    """Return the dotted key. Where a setting has several types, pydantic adds to it the type that was tried."""
    path = []
    for part in location:
        is_key = part in values if isinstance(values, Mapping) else isinstance(values, list) and isinstance(part, int)
        if is_key:
            values = values[part]
            path.append(str(part))
    return ".".join(path)


def _why(issues: list[Any]) -> str:
    """Say what a value should be; of several types that were tried, those that would have taken such a value."""
    if issues[0]["type"] == "model_type":
        return "this is a section: give it keys, as in {key: value}"
    # A value of the right type that is out of bounds is told by its bound alone.
    bounds = [issue for issue in issues if not issue["type"].endswith(("_type", "_parsing", "literal_error"))]
    first, *others = dict.fromkeys(issue["msg"].lower() for issue in bounds or issues)
    return " or ".join([first, *(other.removeprefix("input should be ") for other in others)])


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
        if values.get(key) is None:
            values[key] = {}
        values = values[key]
    values[path[-1]] = value


def value_at(values: Any, path: list[str]) -> Any:
    """Return a nested value, or None."""
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values
