"""Every setting of a run, its default and its meaning, in sections."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from repo.errors import UserError
from repo.ids import code_text, id_text


class Section(BaseModel):
    """A group of settings: unknown keys and numbers that are not finite are refused, values never change once read."""

    # JSON, which carries the settings from step to step, has no word for nan and inf.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SimulationSettings(Section):
    """Simulated annotations: text from our own generator, annotators of known reliability."""

    comparisons: int = Field(1334, ge=1, description="comparisons to write")
    annotations_per_comparison: int = Field(3, ge=1, description="annotators who judge each comparison")
    prompts: int = Field(400, ge=1, description="distinct prompts the comparisons are drawn from")
    reliabilities: dict[str, float] = Field(
        default={
            "careful-1": 0.95,
            "careful-2": 0.95,
            "careful-3": 0.95,
            "careful-4": 0.95,
            "hasty-1": 0.80,
            "hasty-2": 0.80,
            "hasty-3": 0.80,
            "guessing-1": 0.60,
            "guessing-2": 0.60,
            "adversarial-1": 0.20,
        },
        description="annotator id → probability that the annotator names the better response",
    )
    utility_scale: float = Field(
        0.0,
        ge=0,
        description="0: more helpful parts are better for certain; else with p = σ(scale · their difference), "
        "drawn once a comparison (Bradley–Terry; 1.1 makes p .8 on average)",
    )
    seed: int = Field(0, description="seed of texts and votes")


class DataSettings(Section):
    """How annotation files are read and split."""

    columns: dict[str, str] = Field(
        default={},
        description="our column name → the file's; a dotted path reaches into nested values: info.post, "
        "summaries.0.text",
    )
    values: dict[Literal["a", "b", "tie", "skip"], list[bool | int | float | str]] = Field(
        default={}, description="what the vote's codes mean, as {a: [1], b: [2], tie: [0], skip: [-100]}"
    )
    display: str = Field(
        "first",
        min_length=1,
        description="which response people saw first: first (response_a), unknown, or the column that says it",
    )
    ignore: list[str] = Field(default=[], description="columns that are not read on purpose: no note is made of them")
    ties: Literal["drop", "split"] = Field(
        "drop", description="drop ties, or split each into one vote for either response at half weight"
    )
    pseudonymise: bool = Field(
        False, description="replace annotator ids by an HMAC with the key in REPO_PSEUDONYM_KEY before anything is kept"
    )
    held_out: float = Field(0.2, gt=0, lt=1, description="share of prompts kept for evaluation")
    min_prompts: int = Field(20, ge=2, description="with fewer prompts than this, split by comparison and say so")

    @field_validator("values")
    @classmethod
    def _codes_mean_one_thing(cls, values: dict[str, list[Any]]) -> dict[str, list[Any]]:
        codes = [code_text(code) for given in values.values() for code in given]
        twice = next((code for code in codes if codes.count(code) > 1), None)
        if twice is not None:
            raise UserError(f"data.values: the code {twice!r} stands there twice", "say once what it means")
        return values


class InboxSettings(Section):
    """How the inbox that batches are dropped into is looked at."""

    settle_seconds: float = Field(
        2.0, ge=0, description="a file whose size or time changes within this many seconds is still being written"
    )
    marker: str = Field(
        "", description="a file, such as _SUCCESS, without which the files beside it wait; '' where there is none"
    )


class RetrainSettings(Section):
    """How the policy is trained anew when batches arrive."""

    warm_start: bool = Field(True, description="start from the champion's weights; else from policy.base")
    retain: Literal["all", "window", "replay"] = Field(
        "all",
        description="which votes that the champion has seen train once more (none of them counts twice): all; window, "
        "those of the newest versions; replay, some drawn anew each time",
    )
    window: int = Field(7, ge=0, description="versions whose votes are retained by `window`")
    replay: int = Field(10_000, ge=0, description="annotations retained by `replay`, whole comparisons at a time")
    drift_odds: float = Field(
        1000.0,
        gt=1,
        description="an annotator has changed where the new votes are so many times likelier of another reliability "
        "than of the earlier one; at most one in so many is named without cause, each time",
    )


class ValidationSettings(Section):
    """Bounds of the Great Expectations suite. Only `critical` expectations stop a run."""

    max_bad_rows: float = Field(0.2, ge=0, le=1, description="critical: share of rows that may go to quarantine")
    min_comparisons: int = Field(10, ge=2, description="critical: usable comparisons needed")
    max_characters: int = Field(100_000, ge=1, description="longest prompt or response; longer rows go to quarantine")
    max_id_characters: int = Field(256, ge=1, description="longest annotator or comparison id")
    min_annotations_per_annotator: int = Field(5, ge=1, description="warning below this")
    max_tie_share: float = Field(0.5, ge=0, le=1, description="warning above this")
    min_overlap: float = Field(
        0.1, ge=0, le=1, description="warning below: share of comparisons with several annotators"
    )
    max_position_bias: float = Field(
        0.1, ge=0, le=0.5, description="warning: distance of the first-shown response's share of votes from one half"
    )


class TinySettings(Section):
    """The `tiny` policy: a Llama-shaped model made on the spot, with a byte-level BPE trained on the annotations."""

    vocabulary: int = Field(2048, ge=300, description="tokens in the byte-level BPE")
    hidden: int = Field(128, ge=8, description="hidden size")
    layers: int = Field(2, ge=1, description="decoder layers")
    heads: int = Field(4, ge=1, description="attention heads")
    warm_start_steps: int = Field(60, ge=0, description="supervised steps on both responses before preference training")
    warm_start_learning_rate: float = Field(3e-3, gt=0, description="learning rate of those steps")

    @model_validator(mode="after")
    def _heads_share_the_hidden_size(self) -> "TinySettings":
        """Rotary positions turn the entries of a head in pairs."""
        pairs = 2 * self.heads
        if self.hidden % pairs:
            raise UserError(
                f"policy.tiny.hidden = {self.hidden} with policy.tiny.heads = {self.heads}: every head needs the same "
                "even share of the hidden size",
                f"set policy.tiny.hidden to a multiple of {pairs}, for example {-(-self.hidden // pairs) * pairs}",
            )
        return self


class LoraSettings(Section):
    """Low-rank adapters (peft); the adapter switched off is the reference."""

    rank: int = Field(16, ge=1, description="rank of the adapter")
    alpha: float = Field(32.0, gt=0, description="scale of the adapter")
    target_modules: str | list[str] = Field("all-linear", description="modules that get an adapter")


class PolicySettings(Section):
    """The language model to align."""

    base: str = Field("tiny", description="'tiny', a local path, or a Hugging Face hub id of a causal language model")
    revision: str = Field("main", description="hub revision; pin a commit for a reproducible run")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 on a GPU that has it")
    max_length: int = Field(1024, ge=8, description="tokens of prompt and response together")
    max_prompt_length: int = Field(512, ge=4, description="longer prompts keep their end")
    tokens_per_pass: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="most tokens computed at once (a longer comparison goes alone): more takes more memory and changes "
        "nothing else; auto: 4,096, and 16,384 on a GPU",
    )
    lora: LoraSettings | None = Field(None, description="train low-rank adapters instead of all weights")
    tiny: TinySettings = Field(default=TinySettings(), description="only read when base is 'tiny'")

    @model_validator(mode="after")
    def _room_for_a_response(self) -> "PolicySettings":
        """A prompt as long as everything together leaves no token to the response."""
        if self.max_prompt_length >= self.max_length:
            raise UserError(
                f"policy.max_prompt_length = {self.max_prompt_length} is not below policy.max_length = "
                f"{self.max_length}: no token is left for the response",
                f"set policy.max_prompt_length too, for example policy.max_prompt_length={self.max_length // 2}, "
                f"or policy.max_length to {2 * self.max_prompt_length}",
            )
        return self


class TrainSettings(Section):
    """The M-step for the policy: which loss, and how it is optimised."""

    loss: str = Field(
        "dpo",
        description="dpo, ipo, simpo or cpo; or module:Class of your own, importable from the working directory "
        "(my_losses:Hinge)",
    )
    loss_options: dict[str, bool | int | float | str | None] = Field(
        default={}, description="the loss's own options, such as beta"
    )
    m_step: Literal["likelihood", "weighted"] = Field(
        "likelihood", description="likelihood: RE-PO Eq. 5; weighted: w·L + (1−w)·L_swap, which keeps the loss's margin"
    )
    epochs: int = Field(2, ge=1, description="passes over the training comparisons")
    batch_size: int = Field(16, ge=1, description="comparisons an optimiser step, with all their annotations")
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        "auto", description="auto: 1e-3 for tiny, 1e-5 with LoRA, else 1e-6"
    )
    warmup: float = Field(0.1, ge=0, le=1, description="share of steps with rising learning rate; cosine afterwards")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    max_gradient_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    gradient_checkpointing: bool = Field(
        False, description="compute layers anew in the backward pass: much less memory, about a third more time"
    )
    compile: bool = Field(
        False, description="translate the policy's layers by torch.compile: slower to start; needs a C++ compiler"
    )
    seed: int = Field(0, description="seed of weights and batch order")
    log_every: int = Field(5, ge=1, description="steps between logged metrics")
    checkpoint_every: int = Field(100, ge=0, description="steps between checkpoints; 0: none")
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints kept")


class ReliabilitySettings(Section):
    """The E-step and the M-step for the annotators."""

    estimator: Literal["full", "incremental", "paper", "none"] = Field(
        "full",
        description="full: RE-PO Eq. 6 by comparison, and Eq. 7 while training; incremental: the same by running sums; "
        "paper: Eq. 4 and 7 alone; none: every label is believed (plain training)",
    )
    calibrate: Literal["auto"] | bool = Field(
        "auto", description="final estimates: fit the margins' temperature; auto: except by the paper's rule"
    )
    coins: Literal[1, 2, "auto"] = Field(
        "auto", description="2: one η by which position is right, which shows position bias; auto: what the data prefer"
    )
    initial: float = Field(0.9, gt=0, lt=1, description="η₀, every annotator's reliability at the start")
    step_size: float = Field(0.1, gt=0, le=1, description="α of the moving average in RE-PO Eq. 7")
    margins: Literal["auto", "first_visit", "last_visit"] = Field(
        "auto",
        description="margins the final estimates stand on; auto: the last visit's, or the first's where the policy has "
        "learnt labels by heart",
    )
    prior_strength: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        "auto",
        description="votes that the prior of each η is worth, half of them right; auto: mean and strength are those of "
        "the annotators' own population",
    )
    pinned: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default={}, description="annotator id → η that is known and stays"
    )
    use_gold: bool = Field(False, description="anchor: take the training split's gold comparisons as known")
    prior_state: str = Field(
        "", description="reliability_state.json of an earlier training, or models:/NAME@ALIAS, to start from"
    )
    forgetting: float = Field(0.0, ge=0, le=1, description="share of that earlier evidence to leave out")
    confidence: float = Field(0.9, gt=0, lt=1, description="coverage of the intervals for every η")

    @field_validator("pinned", mode="before")
    @classmethod
    def _ids_are_text(cls, pinned: Any) -> Any:
        """Ids are spelled as those of the annotations: a number in YAML means the text of that number."""
        if not isinstance(pinned, dict):
            return pinned
        named: dict[Any, Any] = {}
        for name, eta in pinned.items():
            spelled = name if isinstance(name, bool) else id_text(name)
            if spelled == "":
                raise ValueError(f"{name!r} is no annotator id: files write it where an id is missing")
            if named.setdefault(spelled, eta) != eta:
                raise ValueError(f"{spelled!r} has two values, {named[spelled]} and {eta}: {name!r} is the same id")
        return named

    @property
    def calibrated(self) -> bool:
        """Whether the final estimates fit a temperature."""
        return self.estimator not in ("paper", "none") if self.calibrate == "auto" else self.calibrate


class EvaluationSettings(Section):
    """Scoring on the held-out comparisons."""

    confidence: float = Field(0.9, gt=0, lt=1, description="coverage of the intervals")
    exam: Literal["frozen", "renew"] = Field(
        "frozen",
        description="frozen: the evaluation set that the model line's first champion sat; renew: this run's held-out "
        "comparisons, for the line from now on if the candidate is promoted",
    )
    doubtful: int = Field(50, ge=1, description="most doubtful labels shown in the report")


class GateSettings(Section):
    """What a candidate must reach to become champion. Anything non-finite rejects."""

    target: Literal["auto", "gold", "consensus", "labels"] = Field(
        "auto",
        description="which answers accuracy is measured against: gold; consensus, the votes weighed by reliability; "
        "labels, every vote. auto: the first of them of which there is enough by the two settings below",
    )
    min_judgements: int = Field(30, ge=1, description="least number of answers on held-out comparisons")
    min_held_out: int = Field(
        20,
        ge=1,
        description="least number of held-out prompts (or comparisons, if split by them) with such answers: the "
        "independent draws that intervals rest on, however many answers each has",
    )
    decide_by: Literal["lower_end", "value"] = Field(
        "lower_end",
        description="what the bounds on accuracy and gains are held against: the interval's lower end, or the figure",
    )
    min_accuracy: float = Field(0.5, ge=0, le=1, description="least held-out accuracy")
    min_gain_over_base: float = Field(0.01, description="least gain in accuracy over the base policy")
    min_gain_over_champion: float = Field(0.0, description="least gain in accuracy over the current champion")
    max_calibration_error: float = Field(1.0, ge=0, le=1, description="largest expected calibration error of p")
    leave_one_out: bool = Field(
        True,
        description="the gain over the champion (without one, over the base) must itself reach its bound, on "
        "min_held_out, also without any one annotator's votes; gold rests on no annotator",
    )
    large_share: float = Field(
        0.2, gt=0, le=1, description="share of the votes from which an annotator counts as large"
    )
    max_fall: float = Field(
        0.15,
        ge=0,
        le=1,
        description="largest fall of a large annotator's reliability since the champion, where the intervals do not "
        "overlap",
    )
    approval: Literal["none", "manual"] = Field(
        "none",
        description="manual: what passed waits for a person: `repo-pipeline models promote N --approve --by NAME`, or "
        "`repo-pipeline models decline N`",
    )


class RegistrySettings(Section):
    """Where runs and models are kept in MLflow."""

    experiment: str = Field("repo", min_length=1, description="MLflow experiment")
    model: str = Field("repo-policy", pattern=r"^[\w.-]+$", description="registered model name: letters, digits, . _ -")


class Settings(Section):
    """All settings of a training run."""

    data: DataSettings = DataSettings()
    inbox: InboxSettings = InboxSettings()
    retrain: RetrainSettings = RetrainSettings()
    simulation: SimulationSettings = SimulationSettings()
    validation: ValidationSettings = ValidationSettings()
    policy: PolicySettings = PolicySettings()
    train: TrainSettings = TrainSettings()
    reliability: ReliabilitySettings = ReliabilitySettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    gate: GateSettings = GateSettings()
    registry: RegistrySettings = RegistrySettings()


def leaves(section: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of every setting, nested sections included."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
