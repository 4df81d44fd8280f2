"""Options that several commands of the command line share."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repo.errors import UserError

if TYPE_CHECKING:
    from pipelines.containers.runner import Containers

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
runner_option = click.option(
    "--runner",
    type=click.Choice(["local", "docker"]),
    default="local",
    show_default=True,
    help="Steps as processes of this environment, or each in a container; the latter need an MLflow server.",
)
network_option = click.option("--network", default=None, help="The containers' network; default host.")
memory_option = click.option("--memory", default=None, metavar="SIZE", help="Memory each container may have: 4g, 800m.")
model_option = click.option("--model", default=None, help="Registered model name; default: registry.model's default.")


def containers_of(runner: str, network: str | None, memory: str | None) -> "Containers | None":
    """Return how --runner, --network and --memory would have the steps' containers run; None: there are none.

    Raises:
        UserError: something is said about containers, and there are none.
    """
    if runner == "docker":
        from pipelines.containers.runner import Containers

        return Containers(network or "host", memory or "")
    for name, given in {"--network": network, "--memory": memory}.items():
        if given is not None:
            raise UserError(f"{name} is about containers, and steps run as processes", "add --runner docker")
    return None


def print_json(content: Any) -> None:
    """Print what --json asks for."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def with_model(overrides: tuple[str, ...], model: str | None) -> tuple[str, ...]:
    """Return the overrides with --model among them, if it was given."""
    return overrides if model is None else (*overrides, f"registry.model={json.dumps(model)}")


def model_name(model: str | None, option: str = "--model") -> str:
    """Return the registered model that --model, or another option, means.

    Raises:
        UserError: no model can have that name.
    """
    from repo.settings import build_settings

    return build_settings({"registry": {"model": model}} if model is not None else {}, option).registry.model
