"""The other side: TRL's `DPOTrainer` on the same world, in a process of its own, tuned for it.

float32 on a CPU and bfloat16 on a GPU, as ours; no gradient checkpointing; the reference's scores computed beforehand;
AdamW fused; as many pairs a step. Rows lie sorted by length and are taken in that order, which is what grouping by
length comes to at its best: no padding but for nearly equal neighbours. (TRL's own way,
train_sampling_strategy="group_by_length", needs a column `length` and remove_unused_columns=False, and sorts so few
rows only within quarters.) An annotation is a row of its own: TRL knows no annotators.

One step on other comparisons of the same kind is the warm-up; then every row of the world is trained on once. The clock
runs from the end of the warm-up to the end of the last step, so neither tokenizing nor the reference's scores count.
The peak is reset where the clock starts and read where it ends.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.speed.base import held_with_base
from benchmarks.speed.device import held_bytes, now, peak_bytes, reset_peak
from benchmarks.speed.ours import BATCH, BETA, LEARNING_RATE
from benchmarks.speed.worlds import World

WARM_UP = 1
"""Steps."""


def rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return one row an annotation, the longest first: chosen and rejected are what its annotator said."""
    sides = table[["prompt", "response_a", "response_b", "preference"]].itertuples(index=False)
    pairs = [
        (row.prompt, row.response_a, row.response_b)
        if row.preference == "a"
        else (row.prompt, row.response_b, row.response_a)
        for row in sides
    ]
    pairs.sort(key=lambda pair: len(pair[0].split()) + max(len(text.split()) for text in pair[1:]), reverse=True)
    return [dict(zip(("prompt", "chosen", "rejected"), pair, strict=True)) for pair in pairs]


def measure(base: Path, world: World, comparisons: int, batch: int = BATCH, rank: int = 0) -> dict[str, Any]:
    """Return what the steps on the world's rows took, and what is held with the base alone; see `ours.measure`."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    clock: dict[str, Any] = {}

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock["ended"], clock["peak_bytes"] = now(), peak_bytes()
            if state.global_step == WARM_UP:
                clock["before_bytes"] = held_bytes()
                reset_peak()
                clock["began"] = now()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            clock.setdefault("first_loss", logs.get("loss"))

    counted = rows(world.comparisons(comparisons))
    warm_up = rows(world.comparisons(WARM_UP * batch, seed=1))[: WARM_UP * batch]
    loaded, on_gpu = held_with_base(base), torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder,
            beta=BETA,
            learning_rate=LEARNING_RATE,
            max_length=world.max_length,
            per_device_train_batch_size=batch,
            num_train_epochs=1,
            bf16=on_gpu,
            model_init_kwargs={"dtype": "bfloat16" if rank and on_gpu else "float32"},
            gradient_checkpointing=False,
            precompute_ref_log_probs=True,
            optim="adamw_torch_fused",
            train_sampling_strategy="sequential",
            dataloader_num_workers=0,
            save_strategy="no",
            logging_strategy="no",
            logging_first_step=True,
            report_to="none",
            disable_tqdm=True,
            use_cpu=not on_gpu,
        )
        trainer = DPOTrainer(
            model=str(base),
            args=config,
            train_dataset=Dataset.from_list([*warm_up, *counted]),
            processing_class=AutoTokenizer.from_pretrained(base),
            callbacks=[Clock()],
            peft_config=_adapters(rank),
        )
        assert len(trainer.train_dataset) == len(warm_up) + len(counted), "no row is left out"
        trainer.train()
    return {
        "seconds": clock["ended"] - clock["began"],
        "before_bytes": clock["before_bytes"],
        "peak_bytes": clock["peak_bytes"],
        "first_loss": clock["first_loss"],
        "loaded_bytes": loaded,
        "comparisons": comparisons,
        "annotations": len(counted),
    }


def _adapters(rank: int) -> Any:
    """Return what our own policy.lora.rank comes to, or None."""
    if rank == 0:
        return None
    from repo.policy.loading import lora_config
    from repo.settings import LoraSettings

    return lora_config(LoraSettings(rank=rank))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("world", type=World.parse)
    parser.add_argument("comparisons", type=int)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rank", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(measure(options.base, options.world, options.comparisons, options.batch, options.rank)))
    sys.stdout.flush()
