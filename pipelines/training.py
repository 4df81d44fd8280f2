"""The training pipeline: annotations → validate → split → train → report, evaluate → gate → register → promote."""

from kfp import dsl

from components.close_run import close_run
from components.evaluate import evaluate
from components.gate import gate
from components.open_run import open_run
from components.promote import promote
from components.register import register
from components.report import report
from components.split import split
from components.train import train
from components.validate import validate
from repo.settings import Settings

_DEFAULTS = Settings()


@dsl.pipeline(
    name="repo-training",
    description="Align a policy on noisy preferences with RE-PO, report annotator reliabilities, and promote if better",
)
def training(
    data: str,
    name: str = "",
    experiment: str = _DEFAULTS.registry.experiment,
    model: str = _DEFAULTS.registry.model,
    policy: str = _DEFAULTS.policy.base,
    loss: str = _DEFAULTS.train.loss,
    m_step: str = _DEFAULTS.train.m_step,
    epochs: int = _DEFAULTS.train.epochs,
    batch_size: int = _DEFAULTS.train.batch_size,
    learning_rate: str = str(_DEFAULTS.train.learning_rate),
    seed: int = _DEFAULTS.train.seed,
    estimator: str = _DEFAULTS.reliability.estimator,
    initial_reliability: float = _DEFAULTS.reliability.initial,
    step_size: float = _DEFAULTS.reliability.step_size,
    config: str = "",
) -> None:
    """Run the main job; parameters as in components/open_run.py.

    No step is cached: each one reads or writes MLflow, and a skipped registration would look like a done one.
    """
    closing = close_run(pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    with dsl.ExitHandler(closing, name="steps"):
        opened = open_run(
            pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            name=name,
            data=data,
            experiment=experiment,
            model=model,
            policy=policy,
            loss=loss,
            m_step=m_step,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            estimator=estimator,
            initial_reliability=initial_reliability,
            step_size=step_size,
            config=config,
            finish=True,
        )
        common = {"run_id": opened.outputs["Output"], "settings": opened.outputs["settings"]}
        validated = validate(**common, data=data)
        halves = split(**common, annotations=validated.outputs["annotations"])
        trained = train(**common, parts=halves.outputs["parts"])
        reported = report(**common, data=data, training=trained.outputs["training"])
        evaluated = evaluate(**common, parts=halves.outputs["parts"], policy=trained.outputs["policy"])
        decided = gate(**common, evaluation=evaluated.outputs["evaluation"])
        registered = register(
            **common,
            data=data,
            policy=trained.outputs["policy"],
            training=trained.outputs["training"],
            reported=reported.outputs["result"],
            evaluation=evaluated.outputs["evaluation"],
            verdict=decided.outputs["verdict"],
        )
        with dsl.If(decided.outputs["Output"] == "promote", name="passed"):
            promoted = promote(**common, version=registered.output, champion=evaluated.outputs["Output"])
    steps = (closing, opened, validated, halves, trained, reported, evaluated, decided, registered, promoted)
    for task in steps:
        task.set_caching_options(False)
