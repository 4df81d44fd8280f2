"""Register the candidate, whatever the verdict: a rejected one stays on record."""

from kfp.dsl import Artifact, Input, Model

from components.step import step


@step()
def register(
    run_id: str,
    settings: str,
    data: str,
    policy: Input[Model],
    training: Input[Artifact],
    reported: Input[Artifact],
    evaluation: Input[Artifact],
    verdict: Input[Artifact],
) -> str:
    """Register the policy as a version with its facts as tags, make it challenger, and return the version.

    Run, version and registered model are described for whoever opens them in MLflow.

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        data: where the annotations came from: a model of 'simulated' ones never replaces one of real ones.
        policy: pointer to the candidate.
        training: pointer to the training's record.
        reported: pointer to the report.
        evaluation: pointer to evaluation.json.
        verdict: pointer to verdict.json.
    """
    from repo.annotations.simulation import is_simulated
    from repo.console import say
    from repo.files import read_json, text_digest
    from repo.settings import settings_from_json
    from repo.tracking.candidates import Outcome, describe
    from repo.tracking.handover import Pointer, fetch, read_pointer
    from repo.tracking.ledger import ledger_tags
    from repo.tracking.policies import registered_metadata
    from repo.tracking.registry import register_version, version_tags
    from repo.tracking.runs import step_run

    with step_run(run_id, "register") as run:
        pointer = read_pointer(policy.path)
        metadata = registered_metadata(pointer)
        figures = read_json(fetch(read_pointer(evaluation.path)) / "evaluation.json")
        decided = read_json(fetch(read_pointer(verdict.path)) / "verdict.json")
        chosen = settings_from_json(settings)
        name = chosen.registry.model
        accuracy = figures["policies"]["candidate"][figures["target"]]["accuracy"]["value"]
        tags = version_tags(
            loss=metadata["loss"],
            accuracy=float("nan") if accuracy is None else accuracy,
            annotators=metadata["reliability_annotators"],
            mean_reliability=metadata["reliability_mean"],
            data_digest=metadata["data_digest"],
            config_digest=text_digest(settings),
            verdict=decided["decision"],
            reasons=decided["reasons"],
            run_id=run_id,
            exam=Pointer(**figures["exam"]),
            simulated=is_simulated(data),
            compared_with=figures["champion"],
            manual=chosen.gate.approval == "manual",
        )
        if "ledger_uri" in metadata:
            tags |= ledger_tags(Pointer(metadata["ledger_uri"], metadata["ledger_digest"]))
        version = register_version(pointer, name, tags)
        run.set_tags({"model_version": version})
        record = fetch(read_pointer(training.path))
        describe(Outcome(run_id, read_pointer(reported.path), name, version), figures, decided, record)
        say(f"{name} version {version} registered as challenger")
        return version
