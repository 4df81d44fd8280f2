"""What the steps' containers see of this machine: what was named, under its own name, and nothing else."""

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from repo.annotations.reading.sources import expand_sources, sources_in
from repo.annotations.simulation import is_simulated
from repo.settings import Settings


@dataclass(frozen=True)
class Seen:
    """What a run was given, as its containers find it.

    Attributes:
        source: the annotations or the inbox, local ones by their absolute paths.
        settings: the settings, with absolute paths.
        paths: files and folders to show, read-only.
    """

    source: str
    settings: Settings
    paths: tuple[str, ...]


def seen(source: str, settings: Settings) -> Seen:
    """Find what of this machine a run names."""
    names = [] if is_simulated(source) else [_absolute(name) for name in sources_in(source)]
    policy, state = settings.policy.base, settings.reliability.prior_state
    local = {name: _absolute(name) for name in (policy, state) if _is_here(name)}
    paths = [path for name in names for path in _paths(name)] + list(local.values())
    absolute = settings.model_copy(
        update={
            "policy": settings.policy.model_copy(update={"base": local.get(policy, policy)}),
            "reliability": settings.reliability.model_copy(update={"prior_state": local.get(state, state)}),
        }
    )
    behind = [path for shown in paths for path in _behind_links(shown)]
    return Seen(",".join(names) or source, absolute, tuple(dict.fromkeys(paths + behind)))


def _paths(name: str) -> list[str]:
    """Return what of this machine one name means: of a pattern, the folder above its first wildcard."""
    if name.startswith("file:"):
        return expand_sources(name)
    if "://" in name:
        return []
    if os.path.exists(name) or not glob.has_magic(name):
        return [name]
    parts = Path(name).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return [str(Path(*parts[:fixed]))]


def _behind_links(folder: str) -> list[str]:
    """Return what links inside a folder lead to outside of it; Docker follows those that are named themselves."""
    links = (path for path in Path(folder).rglob("*") if path.is_symlink())
    targets = (os.path.realpath(path) for path in links)
    return [target for target in targets if not Path(target).is_relative_to(os.path.realpath(folder))]


def _is_here(name: str) -> bool:
    return bool(name) and "://" not in name and not name.startswith("models:/") and os.path.exists(_absolute(name))


def _absolute(name: str) -> str:
    return name if "://" in name else os.path.abspath(os.path.expanduser(name))
