"""The retraining pipeline: look → validate each batch → merge → train → report, evaluate → gate → register → promote.

It ends well, within seconds, where nothing is new: after the look, or after the batches turned out to be bad.
"""

from kfp import dsl

from components.close_run import close_run
from components.evaluate import evaluate
from components.gate import gate
from components.look import look
from components.merge import merge
from components.open_run import open_run
from components.promote import promote
from components.register import register
from components.report import report
from components.train import train
from components.validate_batches import validate_batches
from repo.settings import Settings

_DEFAULTS = Settings()


@dsl.pipeline(
    name="repo-retraining",
    description="Take the new batches of an inbox, train the champion's policy on, and promote if better",
)
def retraining(
    inbox: str,
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
    """Run one pass over the inbox; parameters as in components/open_run.py.

    No step is cached: an inbox is looked at anew, and each step reads or writes MLflow.
    """
    closing = close_run(pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    with dsl.ExitHandler(closing, name="steps"):
        opened = open_run(
            pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            name=name,
            data=inbox,
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
            finish=False,  # the look does, once it holds the line
        )
        common = {"run_id": opened.outputs["Output"], "settings": opened.outputs["settings"]}
        found = look(**common, inbox=inbox)
        tasks = [closing, opened, found]
        with dsl.If(found.outputs["Output"] == "train", name="new"):
            validated = validate_batches(**common, inbox=inbox, batches=found.outputs["batches"])
            tasks.append(validated)
            with dsl.If(validated.outputs["Output"] == "train", name="good"):
                merged = merge(**common, annotations=validated.outputs["annotations"])
                tasks.append(merged)
                with dsl.If(merged.outputs["Output"] == "train", name="votes"):
                    trained = train(**common, parts=merged.outputs["parts"])
                    reported = report(**common, data=inbox, training=trained.outputs["training"])
                    evaluated = evaluate(**common, parts=merged.outputs["parts"], policy=trained.outputs["policy"])
                    decided = gate(**common, evaluation=evaluated.outputs["evaluation"])
                    registered = register(
                        **common,
                        data=inbox,
                        policy=trained.outputs["policy"],
                        training=trained.outputs["training"],
                        reported=reported.outputs["result"],
                        evaluation=evaluated.outputs["evaluation"],
                        verdict=decided.outputs["verdict"],
                    )
                    tasks += [trained, reported, evaluated, decided, registered]
                    with dsl.If(decided.outputs["Output"] == "promote", name="passed"):
                        tasks.append(promote(**common, version=registered.output, champion=evaluated.outputs["Output"]))
    for task in tasks:
        task.set_caching_options(False)
