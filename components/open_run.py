"""Open the pipeline's MLflow run and settle every setting, before anything costs time."""

from kfp import dsl

from components.step import step


@step()
def open_run(
    pipeline_run: str,
    name: str,
    data: str,
    experiment: str,
    model: str,
    policy: str,
    loss: str,
    m_step: str,
    epochs: int,
    batch_size: int,
    learning_rate: str,
    seed: int,
    estimator: str,
    initial_reliability: float,
    step_size: float,
    config: str,
    finish: bool,
    settings: dsl.OutputPath(str),  # type: ignore[valid-type]
) -> str:
    """Check the settings and return the id of the parent MLflow run.

    Args:
        pipeline_run: Kubeflow's id of this pipeline run.
        name: name of the MLflow run; empty: the pipeline run's id.
        data: where the annotations are.
        experiment: MLflow experiment.
        model: registered model name.
        policy: 'tiny', a path, or a hub id.
        loss: preference loss.
        m_step: likelihood or weighted.
        epochs: passes over the data.
        batch_size: comparisons an optimiser step.
        learning_rate: a number, or auto.
        seed: seed of weights and order.
        estimator: full, incremental, paper, or none for plain training.
        initial_reliability: η₀.
        step_size: α.
        config: YAML text with any other setting.
        finish: whether to finish what an interrupted run left undone of a promotion.
        settings: all settings as JSON, for the steps that follow.
    """
    from pathlib import Path

    from repo.annotations.reading.pseudonyms import with_pseudonyms
    from repo.annotations.simulation import is_simulated
    from repo.console import say, user_errors
    from repo.settings import PIPELINE_PARAMETERS, from_parameters, leaves
    from repo.tracking.exams import frozen_exam
    from repo.tracking.outages import tell_outages
    from repo.tracking.policies import check_champion
    from repo.tracking.promotion import finish_promotion
    from repo.tracking.registry import check_line
    from repo.tracking.rights import refusals_told
    from repo.tracking.runs import open_parent
    from repo.tracking.store import check_shared
    from repo.uris import public_name

    given = locals()
    with user_errors(), refusals_told():
        check_shared()
        tell_outages()
        resolved = with_pseudonyms(from_parameters({key: given[key] for key in PIPELINE_PARAMETERS}, config))
        check_line(resolved.registry.model, is_simulated(data))
        check_champion(resolved.registry.model)
        if resolved.evaluation.exam == "frozen":
            frozen_exam(resolved.registry.model)
        parameters = {key: str(value) for key, value in leaves(resolved)}
        parameters["data"] = public_name(data)
        run_id = open_parent(experiment, name or pipeline_run, pipeline_run, parameters, {})
        finished = finish_promotion(resolved.registry.model, run_id) if finish else None
        if finished:
            say(f"{resolved.registry.model} version {finished} had passed; its promotion is finished now")
    Path(settings).write_text(resolved.model_dump_json(), encoding="utf-8")
    say(f"MLflow run {run_id} in experiment {experiment}")
    return run_id
