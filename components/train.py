"""Train the policy with RE-PO."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.step import train_step


@train_step()
def train(
    run_id: str,
    settings: str,
    parts: Input[Dataset],
    policy: Output[Model],
    training: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Train on the training annotations; the policy becomes an MLflow model that carries the reliabilities.

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        parts: pointer to the split annotations.
        policy: pointer to the MLflow model.
        training: pointer to the record: reliabilities, posteriors, history and, for a tiny policy, its base.
        metrics: last logged metrics.
    """
    import os
    import tempfile
    from pathlib import Path

    import repo
    from repo.annotations.splitting import load_split
    from repo.console import Milestones, say
    from repo.settings import settings_from_json
    from repo.tracking.handover import fetch, figures_metadata, read_pointer, write_pointer
    from repo.tracking.models import log_policy
    from repo.tracking.passes import read_pass
    from repo.tracking.policies import policy_details, prior_state_of
    from repo.tracking.runs import step_run

    with step_run(run_id, "train") as run, tempfile.TemporaryDirectory() as directory:
        chosen = settings_from_json(settings)
        given = fetch(read_pointer(parts.path))
        annotations = load_split(given).train
        goes_on = read_pass(given)
        milestones = Milestones()

        def on_log(record: dict[str, float]) -> None:
            run.log_record(record)
            words = f"loss {record['loss']:.3f}, mean reliability {record['reliability/mean']:.3f}"
            milestones(record["epoch"] / chosen.train.epochs, f"step {record['step']}: {words}")

        source = chosen.reliability.prior_state
        earlier = goes_on.earlier(chosen) if goes_on else None
        prior_state = prior_state_of(source) if source else None
        # A place that outlives this process: the store's, or a volume of the cluster's.
        kept = os.environ.get("REPO_CHECKPOINTS")
        result = repo.train(
            annotations,
            chosen,
            Path(directory),
            prior_state=prior_state,
            on_log=on_log,
            on_note=say,
            checkpoints=Path(kept) if kept else None,
            earlier=earlier,
        )
        record = run.publish(result.record, "training")
        name = chosen.registry.model
        ledger = goes_on.ledger if goes_on else None
        details = policy_details(result.summary, record, name, parts.metadata["data_digest"], ledger)
        model = log_policy(run, result.policy, name, result.reliability, details, result.state)
        # Named apart from the curves: Kubeflow's MLflow plugin, where it is on, logs them to the same run.
        metrics.metadata.update(
            figures_metadata({f"final/{name}": value for name, value in result.history[-1].items()})
        )
        for artifact, pointer in ((policy, model), (training, record)):
            write_pointer(pointer, artifact.path)
            artifact.metadata.update(pointer.metadata)
        summary, last = result.summary, result.history[-1]
        say(
            f"{summary['steps']} steps on {summary['comparisons']:,} comparisons in {summary['seconds']:.0f} s "
            f"({summary['parameters'] / 1e6:.1f} M parameters, {summary['device']}); loss {last['loss']:.3f}"
        )
        truncated, dropped = (sum(c[key] for c in summary["tokenization"].values()) for key in ("truncated", "dropped"))
        if truncated or dropped:
            say(f"{truncated:,} annotations truncated, {dropped:,} dropped (equal after truncation): see training.json")
