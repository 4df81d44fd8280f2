"""This machine: versions, settings, room on its disks, and whether the policy needs a GPU that there is none of."""

import json
import math
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipelines.doctor.finding import Outcome, failed, ok, skipped, warning
from pipelines.graphs import executors
from pipelines.preflight import check_settings
from repo.settings import Settings
from repo.tracking.store import Server, Store

_PACKAGES = ("repo-pipeline", "mlflow", "kfp", "torch")
_ROOM = 1 << 30
"""Bytes below which a disk is short of room."""
_LARGE = 1_000_000_000
"""Parameters above which training without a GPU takes days."""
_TINY = "tiny"
_SMALLER = "take a smaller policy.base, or train adapters on a machine with a GPU (policy.lora)"
_STEPS = ("train", "evaluate")
"""The steps that load the policy."""


def versions() -> Outcome:
    """Say which versions are at work, for whoever is asked for help."""
    return ok(", ".join(f"{package} {_version(package)}" for package in _PACKAGES))


def settings_are_sound(settings: Settings) -> Outcome:
    """Check what can be told of the settings: policy, loss, earlier state, pseudonym key, locale."""
    check_settings(settings)
    return ok("policy, loss, earlier state and pseudonym key are in order")


def room(store: Store | Server) -> Outcome:
    """Compare what is free where temporary files and the embedded store lie with what a run may take."""
    folders = [Path(tempfile.gettempdir())]
    if isinstance(store, Store):
        folders.append(next(path for path in (store.root, *store.root.parents) if path.exists()))
    free = {folder: shutil.disk_usage(folder).free for folder in folders}
    words = ", ".join(f"{folder}: {size / _ROOM:.1f} GiB free" for folder, size in free.items())
    if min(free.values()) < _ROOM:
        return warning(words, "make room there, or choose another TMPDIR and --store DIR")
    return ok(words)


def model(settings: Settings) -> Outcome:
    """Tell from files here how large the policy's base is, and whether it finds a GPU on this machine."""
    base = settings.policy.base
    if base == _TINY:
        return ok("tiny: needs no GPU")
    folder = _folder(base, settings.policy.revision)
    if folder is None:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            remedy = f"fetch it once without HF_HUB_OFFLINE: hf download {base}, or name a directory"
            return failed(f"{base}: is not in the hub's cache, and HF_HUB_OFFLINE is set", remedy)
        return skipped(f"{base}: is not on this machine yet; its size is known once it is fetched")
    parameters = sum(_parameters(file) for file in sorted(folder.glob("*.safetensors")))
    words = f"{base}: {parameters / 1e6:,.0f} M parameters"
    if parameters <= _LARGE:
        return ok(f"{words}: needs no GPU")
    if _has_gpu():
        return ok(f"{words}: there is a GPU")
    return warning(f"{words}, and no GPU here", _SMALLER)


def accelerators(settings: Settings) -> Outcome:
    """Tell whether the compiled pipelines ask Kubeflow for a GPU where the policy needs one."""
    if settings.policy.base == _TINY:
        return ok("tiny: needs no GPU")
    folder = _folder(settings.policy.base, settings.policy.revision)
    without = sorted({name for name, container in executors() if name in _STEPS and not _asks_for_gpu(container)})
    if not without:
        return ok("the compiled pipelines ask for one")
    sizes = [_parameters(file) for file in sorted(folder.glob("*.safetensors"))] if folder else []
    if sizes and sum(sizes) <= _LARGE:
        return ok(f"{settings.policy.base}: needs no GPU")
    words = f"{settings.policy.base}: the compiled pipelines ask for no GPU in {', '.join(without)}"
    return warning(words, "take a smaller policy.base, or ask for one in the pipelines' graphs and compile again")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _folder(base: str, revision: str) -> Path | None:
    """Return where the base's files lie on this machine, or None; nothing is fetched."""
    local = Path(os.path.expanduser(base))
    if local.is_dir():
        return local
    if base.count("/") > 1 or ":" in base:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(base, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _parameters(file: Path) -> int:
    """Return how many numbers a safetensors file holds, from its header."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _asks_for_gpu(container: dict[str, Any]) -> bool:
    return bool(container.get("resources", {}).get("accelerator"))
