"""Options that several commands of the command line share."""

import json
from pathlib import Path
from typing import Any

import click

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=None,
    help="Directory of the embedded MLflow store; default .repo, or the server in MLFLOW_TRACKING_URI.",
)
config_option = click.option(
    "--config", type=click.Path(path_type=Path), default=None, help="YAML file with settings; see `settings`."
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting; may be repeated."
)
verbose_option = click.option("--verbose", is_flag=True, help="Show everything the steps print.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
data_option = click.option(
    "--data", required=True, help="File, glob, directory, URI or hf:// id; several separated by commas."
)
model_option = click.option("--model", default=None, help="Registered model name; default: registry.model's default.")


def print_json(content: Any) -> None:
    """Print what --json asks for."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def with_model(overrides: tuple[str, ...], model: str | None) -> tuple[str, ...]:
    """Return the overrides with --model among them, if it was given."""
    return overrides if model is None else (*overrides, f"registry.model={json.dumps(model)}")


def model_name(model: str | None) -> str:
    """Return the registered model that --model means.

    Raises:
        UserError: no model can have that name.
    """
    from repo.settings import build_settings

    return build_settings({"registry": {"model": model}} if model is not None else {}, "--model").registry.model
