"""What users' code and scripts hold on to: public names with their signatures, commands with their options, JSON keys.

`python tests/public_face.py` prints all but the JSON keys as they are now; tests compare with public_face.json.
"""

import inspect
import json
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

FACE = Path(__file__).with_suffix(".json")
DECISION = "the public face changed; if that is meant, say so in the commit and edit tests/public_face.json: "


def frozen() -> dict[str, Any]:
    return dict(json.loads(FACE.read_text(encoding="utf-8")))


def names() -> dict[str, Any]:
    """Name → its parameters with their defaults; of a class also public methods and attributes; of a table its keys."""
    import repo

    return {name: _described(getattr(repo, name)) for name in repo.__all__}


def settings() -> dict[str, str]:
    """Setting → its default."""
    from repo.settings import Settings, leaves

    return {name: repr(value) for name, value in leaves(Settings())}


def _described(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted(value)
    if not inspect.isclass(value):
        return _parameters(value)
    own = {name: member for name, member in vars(value).items() if not name.startswith("_")}
    methods = {name: _parameters(member) for name, member in own.items() if inspect.isfunction(member)}
    annotated = [name for name in inspect.get_annotations(value) if not name.startswith("_")]
    properties = [name for name, member in own.items() if isinstance(member, property | cached_property)]
    return {"parameters": _parameters(value), "methods": methods, "attributes": sorted([*annotated, *properties])}


def _parameters(function: Any) -> str:
    """Names, kinds and plain defaults: what a caller can get wrong; annotations vary with the libraries' versions."""
    kept = [
        parameter.replace(annotation=inspect.Parameter.empty, default=_plain(parameter.default))
        for parameter in inspect.signature(function).parameters.values()
    ]
    return str(inspect.Signature(kept))


def _plain(default: Any) -> Any:
    known = default is inspect.Parameter.empty or default is None or isinstance(default, str | int | float | tuple)
    return default if known else Ellipsis


def commands() -> dict[str, list[str]]:
    """Command → its arguments and options."""
    from pipelines.cli import main

    return dict(_commands(main))


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, list[str]]]:
    for name, command in group.commands.items():
        options = (" ".join(sorted(parameter.opts + parameter.secondary_opts)) for parameter in command.params)
        yield before + name, sorted(options)
        yield from _commands(command, f"{before}{name} ") if hasattr(command, "commands") else ()


def keys(value: Any) -> Any:
    """Keys of nested JSON; of a list, those of its first entry; mappings by people's own names count as lists."""
    if isinstance(value, list):
        return [keys(value[0])] if value and isinstance(value[0], dict) else []
    return {name: keys(inner) for name, inner in value.items()} if isinstance(value, dict) else None


if __name__ == "__main__":
    json.dump(
        {"names": names(), "settings": settings(), "commands": commands()}, sys.stdout, indent=2, ensure_ascii=False
    )
