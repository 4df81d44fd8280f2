"""The command line, `repo-pipeline`. Heavy imports stand inside the commands: help must come at once."""

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.environment import SECRET
from pipelines.doctor.commands import doctor
from pipelines.hooks import hooks
from pipelines.kubeflow.commands import submit
from pipelines.kubeflow.schedule_commands import schedule
from pipelines.models.commands import models
from pipelines.options import (
    config_option,
    containers_of,
    data_option,
    json_option,
    memory_option,
    model_option,
    network_option,
    print_json,
    runner_option,
    set_option,
    store_option,
    verbose_option,
    with_model,
)
from pipelines.stopping import StoppedError
from repo.errors import MAKE_ROOM, UserError, no_room
from repo.uris import public_name

if TYPE_CHECKING:
    from pipelines.containers.runner import Containers
    from repo.settings import SimulationSettings

DEMO = "repo-demo"
"""The demo's experiment and registered model: a toy never stands where a real policy does."""
_TRAIN = ("torch", "transformers", "accelerate", "peft", "safetensors", "tokenizers", "tqdm")
"""What the extra `train` brings."""


class _Commands(click.Group):
    """Shows a user's mistake as text with a remedy, exit code 1."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line; output never fails because the terminal lacks a character."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*arguments, **options)

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(0)
        except OSError as error:
            if not no_room(error):
                raise
            click.echo(f"error: {UserError(str(error), MAKE_ROOM)}", err=True)
            sys.exit(1)
        except ModuleNotFoundError as error:
            if error.name not in _TRAIN:
                raise
            missing = UserError(f"{error.name} is not installed here", 'pip install "repo-pipeline[train]"')
            click.echo(f"error: {missing}", err=True)
            sys.exit(1)
        except StoppedError as stopped:
            sys.exit(128 + stopped.number)

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the commands in the order a new user needs them."""
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="repo-pipeline")
def main() -> None:
    """Align a language model on noisy human preferences with RE-PO, and learn which annotators can be believed.

    \b
    Start here:
      repo-pipeline demo                            simulated annotations, one to three minutes
      repo-pipeline doctor                          whether everything is there that a run needs
      repo-pipeline inspect --data votes.jsonl      how your own annotations are understood
      repo-pipeline run --data votes.jsonl          a policy from them, and whom to believe
      repo-pipeline models                          what was trained, and which one is champion
      repo-pipeline ui                              MLflow's own pages on all of it
    """


@main.command()
@store_option
@set_option
@verbose_option
def demo(store: Path | None, overrides: tuple[str, ...], verbose: bool) -> None:
    """Run everything on simulated annotations whose truth is known.

    Runs and models go to an experiment and a registered model of their own, both called repo-demo.

    \b
    Examples:
      repo-pipeline demo
      repo-pipeline demo --set train.loss=simpo --set reliability.initial=0.8
    """
    own = (f"registry.experiment={DEMO}", f"registry.model={DEMO}")
    _run("simulated", None, (*own, *overrides), store, verbose)


@main.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="New or empty directory for the page and the inbox; default: one in the store's directory.",
)
@click.option("--nights", type=click.IntRange(min=1), default=14, show_default=True, help="How many.")
@store_option
@set_option
@verbose_option
def fortnight(output: Path | None, nights: int, store: Path | None, overrides: tuple[str, ...], verbose: bool) -> None:
    """Retrain night after night on simulated batches whose truth is known: 14 nights in about ten minutes.

    Every day brings a file, as `simulate --batches` writes them, into an inbox that starts empty; every night is one
    pass of `retrain`. On day 4 an annotator joins, on day 7 one turns adversarial, on day 9 a file comes again, on day
    10 a broken one comes too, on day 11 none, and on day 12 a slip in the settings makes a candidate that is rejected.
    Each time a new model line is begun: repo-fortnight, then repo-fortnight-2, and so on.

    \b
    Examples:
      repo-pipeline fortnight
      repo-pipeline fortnight --nights 8 --output week/ --set simulation.seed=1
    """
    from pipelines.fortnight import Fortnight, claim_line, fortnight_settings
    from pipelines.nights_screen import night_line, nights_table, truth_lines
    from pipelines.output import check_output
    from pipelines.preflight import check_settings
    from repo.annotations.nightly import Nightly
    from repo.reporting.text import count
    from repo.tracking.store import DEFAULT_ROOT, choose_store

    settings = fortnight_settings(nights, overrides)
    chosen = choose_store(store)
    Nightly(settings.simulation, nights)  # a mistake here is told before a store is made
    if output:
        check_output(output, ())
    check_settings(settings)
    chosen.check()
    chosen.open_experiment(settings.registry.experiment)
    with chosen.opened():
        settings = claim_line(settings, overrides)
    scratch = (store or DEFAULT_ROOT).absolute()
    line = settings.registry.model
    run = Fortnight(settings, nights, output or scratch / "fortnights" / line)
    click.echo(f"{count(nights, 'night')} of retraining of {line}; everything is kept in {chosen.name}")
    run.run(chosen, scratch, verbose, lambda night: click.echo(night_line(night)))
    click.echo("\n".join(["", *nights_table(run.nights), "", *truth_lines(run.errors()), f"page: {run.page}"]))


main.add_command(doctor)


@main.command()
@data_option
@config_option
@set_option
@json_option
def inspect(data: str, config: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say how annotations are understood, before anything is done with them.

    Layout, columns, counts, the first two annotations, and what is worth a second look. Takes what `run` takes, and
    crowd tables as `reliability` does. Nothing is written; rows are validated later, by `run`.

    \b
    Examples:
      repo-pipeline inspect --data votes.jsonl
      repo-pipeline inspect --data votes.csv --set data.columns="{prompt: question}" \\
        --set data.values="{a: [1], b: [2]}"
    """
    from dataclasses import asdict

    from repo.annotations import inspection
    from repo.settings import load_settings

    found = inspection.inspect(data, load_settings(config, overrides).data)
    if as_json:
        print_json(asdict(found))
        return
    from pipelines.inspection_screen import describe

    click.echo(describe(found))


@main.command()
@data_option
@config_option
@set_option
@store_option
@runner_option
@network_option
@memory_option
@verbose_option
def run(
    data: str,
    config: Path | None,
    overrides: tuple[str, ...],
    store: Path | None,
    runner: str,
    network: str | None,
    memory: str | None,
    verbose: bool,
) -> None:
    """Validate annotations, train a policy, report reliabilities, evaluate, and promote it if it is better.

    One row is one annotation, in either of two layouts: prompt, chosen, rejected; or prompt, response_a, response_b,
    preference (a, b or tie). Optional: annotator_id, comparison_id, created_at, gold. JSONL, JSON, CSV, Parquet,
    a `datasets` directory, or MultiPref's own layout.

    \b
    Examples:
      repo-pipeline run --data votes.jsonl
      repo-pipeline run --data "batches/*.csv" --set data.columns="{annotator_id: worker}"
      repo-pipeline run --data votes.jsonl --set policy.base=Qwen/Qwen2.5-0.5B-Instruct --set train.loss=ipo
      repo-pipeline run --data votes.parquet --config config.yaml --store runs/
      repo-pipeline run --data votes.jsonl --runner docker --memory 8g
    """
    _run(data, config, overrides, store, verbose, containers_of(runner, network, memory))


def _run(
    data: str,
    config: Path | None,
    overrides: tuple[str, ...],
    store: Path | None,
    verbose: bool,
    containers: "Containers | None" = None,
) -> None:
    from pipelines.preflight import check
    from repo.settings import load_settings
    from repo.tracking.store import DEFAULT_ROOT, choose_store

    settings = load_settings(config, overrides)
    chosen = choose_store(store)
    understood = check(data, settings)
    chosen.check()
    if containers:
        containers.check("training", chosen)
    from pipelines.local import run_training
    from repo.annotations.reading.pseudonyms import with_pseudonyms

    settings = with_pseudonyms(settings)
    click.echo(f"training pipeline on {public_name(data)}; everything is kept in {chosen.name}")
    if understood:
        click.echo(understood)
    finished = run_training(data, settings, chosen, (store or DEFAULT_ROOT).absolute(), verbose, containers)
    from pipelines.summary import summarise

    with chosen.opened():
        summary = summarise(finished, data, settings, store)
    click.echo(summary)


@main.command()
@click.option("--annotations", required=True, metavar="FILE", help="What `run --data` reads, or a crowd table.")
@click.option("--margins", default="", metavar="FILE", help="A model's log-odds, by comparison or by line.")
@click.option("--gold", default="", metavar="FILE", help="Known answers, by comparison: anchors for the estimate.")
@click.option("--prior-state", default="", metavar="FILE", help="reliability_state.json of an earlier run.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=None, metavar="DIR", help="Directory to write; default: none."
)
@config_option
@set_option
@json_option
def reliability(
    annotations: str,
    margins: str,
    gold: str,
    prior_state: str,
    output: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Estimate from labels alone, or with a model's margins, which annotators and which labels can be believed.

    Annotations are what `run` reads, or a crowd table without texts: task (or item), worker, label, with two classes.
    Nothing is trained.

    \b
    Margins are log-odds, up to a scale, in one of two forms:
      comparison_id (or task, item), margin   that response_a is better, as the first row of
                                              that comparison in the annotations has it
                                              (chosen; of two classes the one that sorts last)
      line, margin                            that this line's label is right: chosen over
                                              rejected, as TRL logs; with several files also file

    Gold is comparison_id (or task, item) and truth (or gold): the class, or which response is better as the first row
    has them: response_a or response_b, chosen or rejected.

    \b
    Written to --output:
      report.html, doubtful_labels.jsonl      to read
      labels.csv                              the answer to each comparison, and its posterior
      reliability.json                        every annotator
      reliability_state.json                  for the next --prior-state
      quarantine.jsonl                        rows left out, and why

    \b
    Examples:
      repo-pipeline reliability --annotations votes.jsonl
      repo-pipeline reliability --annotations crowd.csv --gold truth.csv --output out/
      repo-pipeline reliability --annotations votes.jsonl --margins margins.csv --json
      repo-pipeline reliability --annotations may.csv --output may/ \\
        --prior-state april/reliability_state.json --set reliability.forgetting=0.2
    """
    from repo.settings import load_settings

    if prior_state:
        overrides = (*overrides, f"reliability.prior_state={json.dumps(prior_state)}")
    chosen = load_settings(config, overrides)
    from pipelines.reliability import Sources, run

    outcome = run(Sources(annotations, margins, gold), chosen, output)
    for note in outcome.notes:
        click.echo(note, err=True)
    if as_json:
        print_json(outcome.report.reliability)
        return
    from pipelines.reliability_screen import describe

    click.echo(describe(outcome, output))


@main.command()
@click.option("--inbox", "folder", required=True, metavar="DIR", help="Folder, or URI of one, that batches come into.")
@config_option
@set_option
@store_option
@model_option
@json_option
def inbox(
    folder: str, config: Path | None, overrides: tuple[str, ...], store: Path | None, model: str | None, as_json: bool
) -> None:
    """List the batches in an inbox: new, waiting, consumed by a version, quarantined and why, duplicates.

    A batch is known by its content, not by its name. Consumed is what the champion has seen. Nothing is changed.

    \b
    Examples:
      repo-pipeline inbox --inbox batches/
      repo-pipeline inbox --inbox s3://bucket/votes --set inbox.marker=_SUCCESS
    """
    from repo.settings import load_settings
    from repo.tracking.store import choose_store

    settings = load_settings(config, with_model(overrides, model))
    chosen = choose_store(store)
    from pipelines.inbox import as_rows, describe
    from pipelines.inbox import look as look_into

    batches = look_into(folder, settings, chosen)
    if as_json:
        print_json(as_rows(batches))
    else:
        click.echo(describe(batches))


@main.command()
@click.option("--inbox", "folder", required=True, metavar="DIR", help="Folder, or URI of one, that batches come into.")
@config_option
@set_option
@store_option
@model_option
@runner_option
@network_option
@memory_option
@verbose_option
def retrain(
    folder: str,
    config: Path | None,
    overrides: tuple[str, ...],
    store: Path | None,
    model: str | None,
    runner: str,
    network: str | None,
    memory: str | None,
    verbose: bool,
) -> None:
    """Take what is new in an inbox, train the champion on with it, and promote the candidate if it is better.

    Each batch is known by its content and validated on its own; each vote counts once, whatever is delivered twice. A
    rejected candidate consumes nothing: its batches take part in the next pass. Where nothing is new the command says
    so and ends well, so it may run every night.

    \b
    Examples:
      repo-pipeline retrain --inbox batches/
      repo-pipeline retrain --inbox s3://bucket/votes --set retrain.retain=window --set retrain.window=14
      repo-pipeline retrain --inbox batches/ --set gate.min_gain_over_champion=-0.02
    """
    from repo.annotations.reading.sources import files_in
    from repo.settings import load_settings
    from repo.tracking.store import DEFAULT_ROOT, choose_store

    settings = load_settings(config, with_model(overrides, model))
    chosen = choose_store(store)
    containers = containers_of(runner, network, memory)
    files_in(folder)  # a mistake here is told before a store is made
    chosen.check()
    if containers:
        containers.check("retraining", chosen)
    from pipelines.local import run_retraining
    from pipelines.retraining_screen import describe_look, describe_pass
    from repo.annotations.reading.pseudonyms import with_pseudonyms

    settings = with_pseudonyms(settings)
    click.echo(f"retraining of {settings.registry.model} on {public_name(folder)}; everything is kept in {chosen.name}")
    scratch = (store or DEFAULT_ROOT).absolute()
    found, finished = run_retraining(folder, settings, chosen, scratch, verbose, containers)
    if finished is None:
        click.echo(describe_look(found))
        return
    with chosen.opened():
        summary = describe_pass(finished, folder, settings, store)
    click.echo(summary)


main.add_command(models)
main.add_command(submit)
main.add_command(schedule)
main.add_command(hooks)


@main.command()
@store_option
@click.option("--port", default=5000, show_default=True, help="Port on the loopback interface.")
@click.option(
    "--open", "open_pages", is_flag=True, help="Open the pages in the browser (that of BROWSER, if it is set)."
)
def ui(store: Path | None, port: int, open_pages: bool) -> None:
    """Serve MLflow's own pages on the store, and say where the newest run, its report and the champion are to be seen.

    Ctrl-C stops it. Of a server that MLFLOW_TRACKING_URI names, only the addresses are printed.

    \b
    Examples:
      repo-pipeline ui --open
      repo-pipeline ui --port 5001
    """
    import os

    from pipelines.browsing import in_browser, when_it_answers
    from pipelines.serving import serve
    from repo.tracking.store import choose_store

    chosen = choose_store(store)
    address = chosen.address(port)
    command = chosen.ui_command(port)
    with chosen.opened():
        from repo.tracking.pages import newest_pages

        pages = newest_pages()
    addresses = [f"{address}/{page.address}" for page in pages]
    click.echo(f"MLflow on {address}" + (" (Ctrl-C stops it)" if command else ""))
    width = max(len(page.title) for page in pages)
    for page, whole in zip(pages, addresses, strict=True):
        click.echo(f"  {page.title:{width}}  {whole}")
    if command is None:
        if open_pages:
            in_browser(addresses)
        return
    if open_pages:
        when_it_answers(address, lambda: in_browser(addresses))
    sys.exit(serve(command, os.environ | chosen.environment()))


@main.command()
@config_option
@set_option
def settings(config: Path | None, overrides: tuple[str, ...]) -> None:
    """Print every setting, its value and its meaning, as a YAML file for --config.

    \b
    Examples:
      repo-pipeline settings > config.yaml
      repo-pipeline settings --set train.loss=ipo
    """
    from repo.settings import load_settings, to_commented_yaml

    click.echo(to_commented_yaml(load_settings(config, overrides)), nl=False)


@main.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write, JSONL; with --batches a new or empty directory.",
)
@click.option("--batches", type=click.IntRange(min=1), default=None, metavar="DAYS", help="Write a file a day.")
@set_option
def simulate(output: Path, batches: int | None, overrides: tuple[str, ...]) -> None:
    """Write the demo's simulated annotations to a file, or with --batches to an inbox: an example of the layout.

    An inbox gets a file a day, each with its share of simulation.comparisons. On day 4 an annotator joins, on day 7 one
    turns adversarial, on day 9 the file of day 8 comes again, on day 10 a broken one comes too, on day 11 none.

    \b
    Examples:
      repo-pipeline simulate --output votes.jsonl
      repo-pipeline simulate --output many.jsonl --set simulation.comparisons=20000
      repo-pipeline simulate --batches 14 --output inbox/ --set simulation.comparisons=2800
    """
    from repo.settings import load_settings

    chosen = load_settings(None, overrides).simulation
    if batches is None:
        _simulate_file(output, chosen)
    else:
        _simulate_inbox(output, chosen, batches)
    click.echo(f"wrote {output}")


def _simulate_file(output: Path, chosen: "SimulationSettings") -> None:
    from repo.annotations.simulation import simulate as rows
    from repo.files import write_jsonl

    try:
        write_jsonl(output, rows(chosen))
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}", "choose another --output") from None


def _simulate_inbox(output: Path, chosen: "SimulationSettings", days: int) -> None:
    from pipelines.output import check_output, write_output
    from repo.annotations.nightly import Nightly

    check_output(output, ())
    nightly = Nightly(chosen, days)
    names = [name for day in range(1, days + 1) for name in nightly.files_of(day)]
    write_output(output, names, nightly.write)


@main.command("compile")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Directory for the YAML.")
@click.option(
    "--images",
    multiple=True,
    metavar="KIND=NAME",
    help="The image base or train, by tag or digest; default: what `make images` builds.",
)
@click.option(
    "--secret",
    default=SECRET,
    show_default=True,
    metavar="NAME",
    help="Kubernetes Secret that holds the steps' environment variables, each under its own name.",
)
@click.option(
    "--env", "variables", multiple=True, metavar="NAME", help="One more environment variable for the steps, by name."
)
@click.option("--check", is_flag=True, help="Write nothing; fail when the YAML there is stale.")
def compile_command(
    output: Path, images: tuple[str, ...], secret: str, variables: tuple[str, ...], check: bool
) -> None:
    """Write the pipelines as YAML to upload to Kubeflow Pipelines.

    What steps need to know and nobody else may, such as MLflow's password, reaches them as environment variables: the
    YAML names them and the Secret that holds them, never a value. What the Secret lacks is not set. `run --runner
    docker` hands on the same names from its own environment.

    \b
    Examples:
      repo-pipeline compile --output build/
      repo-pipeline compile --output pipelines/compiled --check
      repo-pipeline compile --output pipelines/compiled --images base=registry.example.org/repo@sha256:... \\
        --images train=registry.example.org/repo-train@sha256:... --secret team-keys --env AZURE_CLIENT_SECRET
    """
    from pipelines.compiling import Placement, check_compiled, compile_pipelines

    placement = Placement.of(images, secret, variables)
    if check:
        check_compiled(output, placement)
        click.echo(f"{output}: up to date")
    else:
        for file in compile_pipelines(output, placement):
            click.echo(f"wrote {file}")


if __name__ == "__main__":
    main()
