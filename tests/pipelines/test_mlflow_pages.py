"""`repo-pipeline ui` and MLflow's pages, as somebody sees them who follows its addresses in a browser."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from pipeline_runs import Finished, Run
from playwright.sync_api import Browser, Page, expect, sync_playwright
from web import free_port, wait_until_it_answers

from repo.reporting.notes import Places, run_note
from repo.tracking.descriptions import describe_run
from repo.tracking.runs import open_parent
from repo.tracking.store import Store

CHROMIUM = Path("/usr/bin/chromium")
needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium (apt-get install chromium)")
PATIENCE = 60_000
"""Milliseconds."""
ALIEN = "<img src=x onerror=window.hacked=1>"
SCRIPT = "[x](javascript:window.hacked=1)"


@contextmanager
def served(store: Path, *options: str, **environment: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The address that `repo-pipeline ui` serves a store at, and the command."""
    port = free_port()
    command = [sys.executable, "-m", "pipelines.cli", "ui", "--store", str(store), "--port", str(port), *options]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=kept | environment
    )
    try:
        wait_until_it_answers(port, process)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield browser
        browser.close()


def opened(browser: Browser, address: str) -> Page:
    """A page as a browser shows it that was never there before."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    return page


def pages_in(said: str) -> dict[str, str]:
    """title → address."""
    return dict(re.findall(r"^  (\S.*?) +(http\S+)$", said, re.MULTILINE))


@pytest.mark.slow
@needs_chromium
def test_the_addresses_lead_to_runs_to_what_the_run_found_to_its_report_and_to_the_champion(
    repo_pipeline: Run, finished: Finished, browser: Browser
) -> None:
    with served(finished.store) as (address, _):
        done = repo_pipeline("ui", MLFLOW_TRACKING_URI=f"{address}/")
        assert done.returncode == 0, done.stderr
        pages = pages_in(done.stdout)
        assert list(pages) == ["runs", "newest run", "its report", "champion"]

        runs = opened(browser, pages["runs"])
        expect(runs.get_by_role("heading", name="Runs")).to_be_visible(timeout=PATIENCE)
        assert "/runs?workflowType=machine_learning" in runs.url

        run = opened(browser, pages["newest run"])
        expect(run.get_by_text("repo-demo version 1 became champion")).to_be_visible(timeout=PATIENCE)
        [report] = run.get_by_role("link", name="Report", exact=True).all()
        assert run.evaluate("link => link.href", report.element_handle()) == pages["its report"]
        with run.context.expect_page() as followed:
            run.get_by_role("link", name="model version", exact=True).click()
        assert followed.value.url == pages["champion"]

        shown = opened(browser, pages["its report"]).frame_locator("iframe").get_by_role("heading", level=1)
        expect(shown).to_be_visible(timeout=PATIENCE)

        version = opened(browser, pages["champion"])
        expect(version.get_by_text("Verdict: promote.")).to_be_visible(timeout=PATIENCE)
        assert version.get_by_role("link", name="this run").get_attribute("href") in pages["newest run"]


@pytest.mark.slow
@needs_chromium
def test_an_id_that_is_markup_or_a_script_is_read_and_does_nothing(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    store.open_experiment("repo")
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    run_id = open_parent("repo", "run", "job", {}, {})
    people = [
        {"annotator_id": name, "reliability": 0.2, "interval": [0.1, 0.3], "first_preference_interval": None}
        for name in (ALIEN[:31], SCRIPT)
    ]
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    evaluation = {"target": "gold", "confidence": 0.9, "policies": {"candidate": {"gold": {"accuracy": figure}}}}
    note = run_note(
        {**evaluation, "gains": {}},
        {"decision": "reject", "reasons": [ALIEN, SCRIPT, "see www.example.com"]},
        {"annotators": [{**person, "pinned": False} for person in people]},
        None,
        Places("#/", "#/experiments", "#/models"),
        "job",
    )
    describe_run(run_id, note)
    experiment = MlflowClient().get_run(run_id).info.experiment_id
    with served(store.root) as (address, _):
        page = opened(browser, f"{address}/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning")
        said = page.locator("li", has_text="hacke")
        expect(said.filter(has_text=ALIEN[:31])).to_have_count(2, timeout=PATIENCE)
        expect(said.filter(has_text=SCRIPT)).to_have_count(2)
        assert said.locator("a, img").count() == 0
        assert page.get_by_role("link", name="example.com").count() == 0
        assert page.evaluate("typeof window.hacked") == "undefined"


def test_the_pages_are_opened_in_the_users_browser_once_they_are_there(finished: Finished, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {seen}\n')
    browser.chmod(0o755)
    with served(finished.store, "--open", BROWSER=str(browser)) as (address, process):
        said = [process.stdout.readline() for _ in range(5)] if process.stdout else []
        pages = pages_in("".join(said))
        assert f"{address}/#/" in pages["champion"]
        for _ in range(100):
            if seen.exists() and len(seen.read_text().splitlines()) == len(pages):
                break
            time.sleep(0.1)
        assert seen.read_text().splitlines() == list(pages.values())


def test_where_no_browser_is_to_be_had_the_addresses_stand_there(repo_pipeline: Run, finished: Finished) -> None:
    with served(finished.store) as (address, _):
        done = repo_pipeline("ui", "--open", MLFLOW_TRACKING_URI=address, BROWSER="no-such-browser", PATH="/nowhere")
    assert done.returncode == 0, done.stderr
    assert "no browser could be opened here" in done.stdout
    assert len(pages_in(done.stdout)) == 4
