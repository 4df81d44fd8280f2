"""Checkpoints: one folder each, either whole or not there; the newest few are kept.

A checkpoint is `state.json`, which a person can read, and `tensors.safetensors`: nothing in it can run code.
"""

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torch import Tensor

from repo.errors import UserError
from repo.files import read_json, text_digest, write_json

_STATE, _TENSORS = "state.json", "tensors.safetensors"
_SETTINGS = "settings"

Identity = Mapping[str, Any]
"""What decides a run: digests by name, and under "settings" their values by name."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after a step.

    Attributes:
        step: optimiser steps done.
        tensors: by name, on the CPU.
        facts: everything else: plain values.
    """

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


@dataclass(frozen=True)
class CheckpointFolder:
    """Checkpoints of one training run.

    Attributes:
        directory: where they lie, one `step-N` each.
        identity: everything that decides the run; a checkpoint of another run is never continued.
        keep: newest checkpoints kept.
    """

    directory: Path
    identity: Identity
    keep: int

    @classmethod
    def among(cls, root: Path, identity: Identity, keep: int) -> "CheckpointFolder":
        """Return the folder of this run among those of many: it is named by what decides the run."""
        return cls(root / text_digest(json.dumps(identity, sort_keys=True))[:16], identity, keep)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write it under a temporary name, rename that, then delete the oldest ones.

        Raises:
            UserError: it cannot be written; earlier ones are still there.
        """
        from safetensors import SafetensorError

        temporary = self.directory / f".step-{checkpoint.step}.partial"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            self._write(checkpoint, temporary)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            kept = self._steps()
            raise UserError(
                f"{self.directory}: the checkpoint of step {checkpoint.step} cannot be written: {error}",
                "make room there, or set train.checkpoint_every=0 to keep none; the same command then "
                + (f"goes on from step {kept[-1]}" if kept else "begins anew"),
            ) from None
        shutil.rmtree(self._path(checkpoint.step), ignore_errors=True)
        temporary.rename(self._path(checkpoint.step))
        for old in self._steps()[: -self.keep]:
            shutil.rmtree(self._path(old))

    def _write(self, checkpoint: Checkpoint, folder: Path) -> None:
        from safetensors.torch import save_file

        folder.mkdir(parents=True)
        save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, folder / _TENSORS)
        write_json(folder / _STATE, {"step": checkpoint.step, "identity": self.identity, **checkpoint.facts})

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that can be read, or None when there is none.

        One that was damaged is passed over with a warning.

        Raises:
            UserError: it belongs to another run; the message says what differs.
        """
        for step in reversed(self._steps()):
            path = self._path(step)
            try:
                checkpoint = _read(path)
            except Exception as error:  # safetensors, json and the file system each raise their own kinds
                warnings.warn(f"{path}: this checkpoint is damaged and left aside: {error}", stacklevel=2)
                continue
            found = checkpoint.facts.pop("identity")
            if found != self.identity:
                raise UserError(
                    f"{self.directory}: the checkpoints there belong to another run; these differ: "
                    + "; ".join(_differences(found, self.identity)),
                    "train into another output directory, or delete that one",
                )
            os.utime(self.directory)
            return checkpoint
        return None

    def _steps(self) -> list[int]:
        return sorted(int(path.name.removeprefix("step-")) for path in self.directory.glob("step-*"))

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step}"


def tensors_digest(tensors: Iterable[Any]) -> str:
    """Return a digest (hex) of tensors or arrays, in their order: values, types and shapes."""
    digest = blake2b(digest_size=32)
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous() if isinstance(tensor, Tensor) else tensor
        digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
        digest.update(_bytes(array))
    return digest.hexdigest()


def _bytes(array: Any) -> Any:
    """The memory of a tensor (numpy knows no bfloat16) or of an array."""
    if isinstance(array, Tensor):
        import torch

        return array.reshape(-1).view(torch.uint8).numpy().data
    return array.tobytes()


def _read(path: Path) -> Checkpoint:
    from safetensors.torch import load_file

    facts = read_json(path / _STATE)
    return Checkpoint(int(facts.pop("step")), load_file(path / _TENSORS), facts)


def _differences(there: Identity, here: Identity) -> Iterator[str]:
    """Name what differs; of settings also both values."""
    for name in sorted({*there, *here} - {_SETTINGS}):
        if there.get(name) != here.get(name):
            yield name
    old, new = there.get(_SETTINGS, {}), here.get(_SETTINGS, {})
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{name} ({old.get(name)!r} there, {new.get(name)!r} here)"
