"""Log-probabilities under the reference, computed once: kept on disk by what decides them, comparison by comparison.

A comparison's two numbers depend on its tokens and on the reference alone. So tomorrow's training, which sees today's
comparisons again, computes only what is new, whatever tokenizer, template or lengths led to the tokens.
"""

import contextlib
import json
import os
import shutil
import warnings
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from torch.nn.functional import logsigmoid

from repo.files import text_digest
from repo.policy.checkpoints import tensors_digest
from repo.policy.logprobs import ResponseLogps
from repo.policy.scoring import Scorer, evenly_by_length
from repo.policy.tokenization import EncodedComparisons

Keys = npt.NDArray[np.bytes_]

KEPT_REFERENCES = 20
"""Folders of references kept, the last used ones."""

_KEY = 16
_NOT_THE_FUNCTION = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}
"""Parts of a model's configuration that change nothing of what it computes from given weights."""


def reference_logps(scorer: Scorer, encoded: EncodedComparisons, cache: Path | None = None) -> ResponseLogps:
    """Return the log-probabilities of all comparisons under the scorer's policy, on the CPU.

    Args:
        scorer: of the reference; call this under the autocast that it scores in.
        encoded: C comparisons.
        cache: folder for what was computed; None: it is computed anew.
    """
    if cache is None:
        return scorer.score_all(encoded)
    folder = cache / _reference_digest(scorer)
    keys = _keys(encoded)  # [C]
    values, missing = _known(folder, keys)  # [C, 2], [C]
    if folder.exists():
        os.utime(folder)
    if missing.any():
        logps = scorer.score_all(encoded[missing])
        values[missing] = torch.stack([logps.a, logps.b], dim=1).numpy()
        _keep(folder, keys[missing], values[missing])
    _remove_old(cache)
    a, b = torch.from_numpy(values).unbind(dim=1)  # [C] each
    return ResponseLogps(a.contiguous(), b.contiguous())


def first_loss(scorer: Scorer, reference: ResponseLogps, encoded: EncodedComparisons) -> float:
    """Return DPO's mean loss (β = .1) on a few comparisons: ln 2 where the policy is still its reference.

    It says nothing of a fault that both share: that is what `make_scorer` compares with single forwards for.
    """
    chosen = evenly_by_length(encoded)
    policy = scorer.score_all(encoded[chosen])
    log_ratio = (policy.a - reference.a[chosen]) - (policy.b - reference.b[chosen])  # [c]
    return float(-logsigmoid(0.1 * log_ratio).mean())


def _reference_digest(scorer: Scorer) -> str:
    """Name everything but the tokens that decides a log-probability."""
    model = scorer.policy.model
    config = {name: value for name, value in model.config.to_dict().items() if name not in _NOT_THE_FUNCTION}
    device = scorer.device.type
    precision = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else "as stored"
    facts = json.dumps(config, sort_keys=True, default=str), precision, scorer.unpacked
    return text_digest(tensors_digest(model.state_dict().values()), *facts)[:32]


def _keys(encoded: EncodedComparisons) -> Keys:
    """Return a digest of each comparison's tokens, shape [C]."""
    digests = bytearray()
    ends = encoded.starts + encoded.lengths.sum(axis=1)  # [C]
    for start, end, lengths in zip(encoded.starts.tolist(), ends.tolist(), encoded.lengths, strict=True):
        digests += blake2b(lengths.tobytes() + encoded.tokens[start:end].tobytes(), digest_size=_KEY).digest()
    return np.frombuffer(bytes(digests), f"S{_KEY}")


def _known(folder: Path, keys: Keys) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the values kept of each comparison, shape [C, 2], and which are missing, shape [C]."""
    values, missing = np.zeros((len(keys), 2), np.float32), np.ones(len(keys), bool)
    for path in sorted(folder.glob("*.safetensors")):
        kept = _read(path)
        if kept is not None:
            there, logps = kept  # [K] in order, [K, 2]
            place = np.minimum(np.searchsorted(there, keys), len(there) - 1)  # [C]
            hit = there[place] == keys  # [C]
            values[hit], missing[hit] = logps[place[hit]], False
    return values, missing


def _read(path: Path) -> tuple[Keys, npt.NDArray[np.float32]] | None:
    """Return keys and values of a file; one that is not whole is passed over with a warning."""
    from safetensors.numpy import load_file

    try:
        content = load_file(path)
        if _content_digest(content) != path.stem:
            raise ValueError("its content is not what was written")
    except Exception as error:  # safetensors and the file system each raise their own kinds
        warnings.warn(f"{path}: kept log-probabilities are damaged and computed anew: {error}", stacklevel=2)
        return None
    return content["keys"].view(f"S{_KEY}")[:, 0], content["logps"]


def _keep(folder: Path, keys: Keys, values: npt.NDArray[np.float32]) -> None:
    """Write a file under a temporary name and rename it: what is there is whole."""
    from safetensors.numpy import save_file

    ordered, first = np.unique(keys, return_index=True)  # [K] each
    content: dict[str, npt.NDArray[Any]] = {"keys": ordered.view(np.uint8).reshape(-1, _KEY), "logps": values[first]}
    path = folder / f"{_content_digest(content)}.safetensors"
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(content, partial)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        warnings.warn(f"{folder}: log-probabilities could not be kept for the next training: {error}", stacklevel=2)


def _content_digest(content: dict[str, npt.NDArray[Any]]) -> str:
    return tensors_digest([content["keys"], content["logps"]])[:32]


def _remove_old(cache: Path) -> None:
    """Forget the references that were used longest ago."""
    if not cache.is_dir():
        return
    folders = sorted((path for path in cache.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for folder in folders[:-KEPT_REFERENCES]:
        shutil.rmtree(folder, ignore_errors=True)
