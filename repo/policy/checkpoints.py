"""Checkpoints: one file each, either whole or not there; the newest few are kept."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from repo.errors import UserError


@dataclass(frozen=True)
class CheckpointFolder:
    """Checkpoints of one training run.

    Attributes:
        directory: where they lie, one `step-N.pt` each.
        fingerprint: digest of everything that decides the run; a checkpoint of another run is never continued.
        keep: newest checkpoints kept.
    """

    directory: Path
    fingerprint: str
    keep: int

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step` under a temporary name, rename it, then delete the oldest ones."""
        self.directory.mkdir(parents=True, exist_ok=True)
        temporary = self.directory / f".step-{step}.partial"
        torch.save({"fingerprint": self.fingerprint, "step": step, "state": state}, temporary)
        os.replace(temporary, self._path(step))
        for old in self._steps()[: -self.keep]:
            self._path(old).unlink()

    def newest(self) -> tuple[int, dict[str, Any]] | None:
        """Return (step, state) of the newest checkpoint, or None when there is none.

        Raises:
            UserError: it belongs to a run with other settings or data.
        """
        steps = self._steps()
        if not steps:
            return None
        saved = torch.load(self._path(steps[-1]), map_location="cpu", weights_only=True)
        if saved["fingerprint"] != self.fingerprint:
            raise UserError(
                f"{self.directory}: the checkpoints there belong to a run with other settings or data",
                "train into another output directory, or delete that one",
            )
        state: dict[str, Any] = saved["state"]
        return int(saved["step"]), state

    def _steps(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("step-")) for path in self.directory.glob("step-*.pt"))

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step}.pt"
