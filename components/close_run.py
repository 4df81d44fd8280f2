"""Close the pipeline's MLflow run with the pipeline's own status, also after a failure."""

from kfp.dsl import PipelineTaskFinalStatus

from components.step import step


@step()
def close_run(pipeline_run: str, status: PipelineTaskFinalStatus) -> None:
    """End the parent MLflow run, and children that a killed process left running.

    Args:
        pipeline_run: Kubeflow's id of this pipeline run.
        status: how the steps ended.
    """
    from repo.tracking.runs import close_parent

    close_parent(pipeline_run, status.state)
