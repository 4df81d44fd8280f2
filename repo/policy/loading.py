"""Policies by name: 'tiny', a local path or a hub id; safetensors only, no code from the hub."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch

from repo.annotations.schema import display_text
from repo.errors import UserError
from repo.settings import LoraSettings, PolicySettings, Settings

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TINY = "tiny"


@dataclass(frozen=True)
class Policy:
    """A causal language model with its tokenizer; dropout is off, as preference training wants it."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"

    @property
    def pad(self) -> int:
        """The token that fills up a batch."""
        token = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id or 0) if token is None else int(token)

    def save(self, directory: Path) -> None:
        """Write weights (safetensors), configuration and tokenizer in Hugging Face's format."""
        _quiet()
        self.model.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)


def load_policy(
    base: str | Path, revision: str = "main", dtype: torch.dtype = torch.float32, max_length: int = 0
) -> Policy:
    """Load a causal language model and its tokenizer.

    Args:
        base: a local path (`~` is the home directory) or a hub id.
        revision: hub revision.
        dtype: type of the linear layers' weights, nearly all of a model; see `_narrow`. The rest is float32.
        max_length: the longest sequence that the model is to read; 0: not known here.

    Raises:
        UserError: the path or hub id does not exist, is no causal language model, holds no safetensors weights, or the
            model has fewer positions than `max_length`.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    _quiet()
    check_base(str(base), max_length)
    name = os.path.expanduser(base)
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    try:
        # Before the weights: they may be gigabytes.
        _check_positions(str(base), AutoConfig.from_pretrained(name, **common).to_dict(), max_length)
        tokenizer = AutoTokenizer.from_pretrained(name, **common)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, use_safetensors=True, **common)
    except UserError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"policy.base: cannot load {str(base)!r}: {str(error).strip().splitlines()[0]}",
            "give 'tiny', a directory with config.json, tokenizer and .safetensors weights, or a hub id you can reach",
        ) from None
    _narrow(model, dtype)
    return Policy(model.eval(), tokenizer)


def mixed_precision(settings: PolicySettings) -> Literal["no", "bf16"]:
    """Return what every forward, of training, its reference and evaluation alike, computes in: bf16 is autocast's.

    "auto" is bf16 on a GPU that has it, and float32 without one.
    """
    if settings.precision == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    return "no" if settings.precision == "float32" else "bf16"


def frozen_dtype(settings: PolicySettings) -> torch.dtype:
    """Return the type of linear layers that nothing trains: a policy that is evaluated, the base below adapters.

    Weights that are trained stay float32 whatever the precision: an update is smaller than bfloat16's step.
    """
    return torch.bfloat16 if mixed_precision(settings) == "bf16" else torch.float32


def _narrow(model: "PreTrainedModel", dtype: torch.dtype) -> None:
    """Keep the linear layers in the type that autocast computes them in: half the memory, the same numbers to the bit.

    Embeddings and norms stay as they are: autocast does not round them, and what runs between the layers has their
    type. So does an output layer that shares the embedding's weights.
    """
    from transformers.pytorch_utils import Conv1D

    shared = model.get_input_embeddings().weight
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | Conv1D) and module.weight is not shared:
            module.to(dtype)


def make_tiny_policy(annotations: pd.DataFrame, settings: Settings) -> Policy:
    """Make the `tiny` policy from the annotations' own texts (labels are not used)."""
    from repo.policy.tiny import make_model, make_tokenizer, warm_start
    from repo.policy.tokenization import encode_comparisons

    tiny = settings.policy.tiny
    comparisons = annotations.drop_duplicates("comparison_id")
    columns = [comparisons[name] for name in ("prompt", "response_a", "response_b")]
    texts = (
        display_text(text, messages) for c in columns for text, messages in zip(c, comparisons["messages"], strict=True)
    )
    tokenizer = make_tokenizer(texts, tiny)
    model = make_model(len(tokenizer), settings.policy.max_length, tiny, settings.train.seed)
    model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    encoded = encode_comparisons(comparisons, tokenizer, settings.policy.max_length, settings.policy.max_prompt_length)
    warm_start(model, encoded, tiny, settings.train.seed)
    return Policy(model.eval(), tokenizer)


def add_lora(policy: Policy, settings: PolicySettings, seed: int) -> Policy:
    """Put low-rank adapters on the policy when the settings ask for them; the same seed gives the same adapters."""
    if settings.lora is None:
        return policy
    from peft import get_peft_model

    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Policy(get_peft_model(policy.model, lora_config(settings.lora)), policy.tokenizer)
    except ValueError as error:
        raise UserError(f"policy.lora: {error}", "name modules of this model in policy.lora.target_modules") from None


def lora_config(settings: LoraSettings) -> "LoraConfig":
    """Return what peft makes these adapters of."""
    from peft import LoraConfig, TaskType

    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=settings.target_modules,
    )


def checkpoint_gradients(policy: Policy) -> None:
    """Let the backward pass compute each layer anew from its input; dropout stays off.

    Raises:
        UserError: the model's code does not provide for it.
    """
    try:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        raise UserError(
            f"train.gradient_checkpointing: {error}", "set it to false, and policy.tokens_per_pass lower to save memory"
        ) from None
    for module in policy.model.modules():
        if hasattr(module, "gradient_checkpointing"):
            # Asked for only "in training", which would switch dropout on too: so of these modules alone.
            module.training = True


def compile_layers(policy: Policy) -> None:
    """Let torch.compile translate each decoder layer when it is first run; their shapes may differ from run to run.

    Raises:
        UserError: the model's code does not say what its layers are.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in policy.model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise UserError(f"train.compile: {type(policy.model).__name__} does not say what its layers are", _NO_COMPILE)
    for layer in layers:
        layer.compile(dynamic=True)


@contextmanager
def compiling(compiled: bool) -> Iterator[None]:
    """Say in words what keeps torch.compile from translating; `compiled` layers run for the first time within.

    Raises:
        UserError: torch.compile failed.
    """
    if not compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"train.compile: {said}", _NO_COMPILE) from error


_NO_COMPILE = "set it to false; what it needs is a C++ compiler, and Triton on a GPU"


def merge_lora(policy: Policy) -> Policy:
    """Fold adapters into the weights, so that what is handed on is an ordinary model, in float32."""
    merge = getattr(policy.model, "merge_and_unload", None)
    if merge is None:
        return policy
    policy.model.float()  # in bfloat16 a small update would be rounded away
    return Policy(merge(), policy.tokenizer)


def check_base(base: str, max_length: int = 0) -> None:
    """Check what can be told of a base without the network, from a local directory's config.json.

    Raises:
        UserError: the directory is missing or holds no model, or the model has fewer positions than `max_length`.
    """
    if base == TINY:
        return
    directory = Path(os.path.expanduser(base))
    looks_local = base.startswith((".", "/", "~")) or base.count("/") > 1 or directory.is_dir()
    if not looks_local:
        return
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = f"its config.json cannot be read: {error}" if (directory / "config.json").is_file() else _NO_CONFIG
        raise UserError(
            f"policy.base: {base!r} is no model directory ({why})",
            "give 'tiny', a directory saved by save_pretrained, or a hub id such as 'owner/name'",
        ) from None
    _check_positions(base, config, max_length)


_NO_CONFIG = "no config.json there"


def _check_positions(base: str, config: Any, max_length: int) -> None:
    """Refuse a model whose configuration states fewer positions than the longest sequence has tokens."""
    text = (config.get("text_config") or config) if isinstance(config, dict) else {}
    # GPT-2 and its relatives call them n_positions.
    positions = text.get("max_position_embeddings") or text.get("n_positions")
    if isinstance(positions, int) and 0 < positions < max_length:
        raise UserError(
            f"policy.base: {base!r} reads at most {positions} tokens, and policy.max_length is {max_length}",
            f"set policy.max_length={positions} or less, with policy.max_prompt_length below it (for example "
            f"{positions // 2}), or take a base with more positions",
        )


def _quiet() -> None:
    """Leave the terminal to our own progress bar."""
    from transformers.utils import logging

    logging.disable_progress_bar()
