"""Move the champion alias to a version that passed the gate."""

from components.step import step


@step()
def promote(run_id: str, settings: str, version: str, champion: str) -> None:
    """Promote; the old champion becomes previous-champion.

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        version: the version to promote.
        champion: the version it was compared with, or ''.
    """
    from repo.console import say
    from repo.settings import settings_from_json
    from repo.tracking.registry import promote_version
    from repo.tracking.runs import step_run

    with step_run(run_id, "promote"):
        name = settings_from_json(settings).registry.model
        promote_version(name, version, champion or None)
        say(f"{name} version {version} is champion" + (f", version {champion} previous-champion" if champion else ""))
