"""Move the champion alias to a version that passed the gate."""

from components.step import step


@step()
def promote(run_id: str, settings: str, version: str, champion: str) -> None:
    """Promote, or leave it to a person with gate.approval=manual; the old champion becomes previous-champion.

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        version: the version to promote.
        champion: the version it was compared with, or ''.
    """
    from repo.console import say
    from repo.settings import settings_from_json
    from repo.tracking.candidates import head_promoted
    from repo.tracking.promotion import promote_candidate
    from repo.tracking.runs import step_run

    with step_run(run_id, "promote"):
        name = settings_from_json(settings).registry.model
        say(promote_candidate(name, version, champion or None, run_id))
        head_promoted(run_id, name, version)
