"""The receiver by itself: whom it believes, what it acts upon, and what becomes of its command."""

import contextlib
import importlib.util
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from receivers import MODEL, PROGRAM, SECRET, Receiver, champion_moved, message, receiving, signed, wait_until

ASKED_AGAIN = {429, 500, 502, 503, 504}
"""The answers after which MLflow repeats a request."""


@pytest.fixture(scope="module")
def program() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("receiver", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["receiver"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["receiver"]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """One that gets nothing it may act upon, but for a last request that shows that it would."""
    with receiving(tmp_path_factory.mktemp("strict")) as receiver:
        yield receiver
        assert receiver.printed() == ""
        assert receiver.ask(signed(champion_moved()), champion_moved()) == 202


def python(code: str) -> str:
    """A command that needs no program but Python."""
    return shlex.join([sys.executable, "-c", code])


BODY = champion_moved()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (lambda: {name: text for name, text in signed(BODY).items() if "Signature" not in name}, BODY, 401),
        (lambda: signed(BODY, secret="another"), BODY, 401),
        (lambda: signed(BODY), champion_moved(version="4"), 401),
        (lambda: signed(BODY) | {"X-MLflow-Delivery-Id": "2"}, BODY, 401),
        (lambda: signed(BODY) | {"X-MLflow-Signature": "v1,ü"}, BODY, 401),
        (lambda: signed(BODY, late=600), BODY, 400),
        (lambda: signed(BODY, late=-600), BODY, 400),
        (lambda: signed(BODY, timestamp="soon"), BODY, 400),
        (lambda: signed(BODY, timestamp="-1"), BODY, 400),
        (lambda: signed(BODY, timestamp=""), BODY, 400),
        (lambda: signed(BODY) | {"Content-Length": "1000001"}, b"", 413),
        (lambda: {name: text for name, text in signed(BODY).items() if "Length" not in name}, b"", 411),
        (lambda: signed(BODY) | {"Content-Length": "-1"}, b"", 411),
        (lambda: signed(b"no json"), b"no json", 400),
        (lambda: signed(b"\xff"), b"\xff", 400),
        (lambda: signed(b"[]"), b"[]", 400),
        (lambda: signed(b'{"data": {}}'), b'{"data": {}}', 400),
    ],
    ids=[
        "unsigned", "other secret", "other body", "other id", "odd signature", "stale", "ahead", "no time", "negative",
        "empty time", "too large", "no length", "odd length", "no json", "no text", "no object", "no event",
    ],
)  # fmt: skip
def test_what_cannot_be_believed_is_refused_for_good(
    strict: Receiver, headers: Callable[[], dict[str, str]], body: bytes, status: int
) -> None:
    assert strict.ask(headers(), body) == status
    assert status not in ASKED_AGAIN


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_other_methods_are_refused(strict: Receiver, method: str) -> None:
    assert strict.ask({}, method=method) == 405


@pytest.mark.parametrize("path", ["/", "/mlflow/", "/mlflow?a=b"])
def test_other_paths_are_refused(strict: Receiver, path: str) -> None:
    assert strict.ask(signed(BODY), BODY, path=path) == 404


@pytest.mark.parametrize(
    "body",
    [
        champion_moved(name="another-policy"),
        champion_moved(alias="challenger"),
        message("model_version_tag", "set", key="approval", value="approved"),
        message("model_version_tag", "set", key="promoted_at", value="waiting"),
        message("model_version", "created", tags={}),
        message("model_version_alias", "deleted", alias="champion"),
        b'{"entity": "registered_model", "action": "created", "timestamp": "", "data": {"name": "another"}}',
    ],
)
def test_what_is_of_no_interest_is_answered_well_and_left_alone(strict: Receiver, body: bytes) -> None:
    assert strict.ask(signed(body), body) == 200


def test_somebody_who_hangs_up_amid_a_request_disturbs_nobody(strict: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", strict.port)) as half:
        half.sendall(b"POST /mlflow HTTP/1.1\r\nContent-Length: 5\r\n\r\n12")
    assert strict.ask(signed(BODY, secret="another"), BODY) == 401


def test_events_come_once_each_as_json_lines_and_go_to_the_command(tmp_path: Path) -> None:
    bodies = [
        BODY,
        message("model_version_tag", "set", key="approval", value="waiting"),
        message("model_version", "created", version="4", tags={"approval": "waiting", "loss": "dpo"}),
    ]
    code = "import sys; open('got', 'a').write(sys.stdin.read()); print('done', sys.argv[1:])"
    with receiving(tmp_path, "--command", python(code)) as receiver:
        for repeated in (202, 200):
            for number, body in enumerate(bodies):
                assert receiver.ask(signed(body, delivery=str(number)), body) == repeated
        assert receiver.events() == [("champion_moved", "3"), ("approval_waiting", "3"), ("approval_waiting", "4")]
        assert json.loads(receiver.printed().splitlines()[0]) == {
            "event": "champion_moved",
            "model": MODEL,
            "version": "3",
            "timestamp": "2026-11-26T08:00:00+00:00",
            "delivery": "0",
        }
        assert receiver.stop() == 0
        assert (tmp_path / "got").read_text() == receiver.printed()
        assert receiver.log().count("done []") == 3


def test_no_text_of_an_event_reaches_a_shell(tmp_path: Path) -> None:
    nasty = '$(touch made)"; touch made; `touch made`'
    with receiving(tmp_path, "--command", "cat", model=nasty) as receiver:
        body = champion_moved(name=nasty, version="$(touch made)")
        assert receiver.ask(signed(body, delivery="$(touch made)"), body) == 202
        receiver.stop()
        assert receiver.log().count('"version": "$(touch made)"') == 1
    assert not (tmp_path / "made").exists()


def test_the_command_never_sees_the_secret(tmp_path: Path) -> None:
    code = "import os; print(sorted(os.environ.items()))"
    with receiving(tmp_path, "--command", python(code)) as receiver:
        assert receiver.ask(signed(BODY), BODY) == 202
        receiver.stop()
        assert "'PATH'" in receiver.log()
        assert "REPO_WEBHOOK_SECRET" not in receiver.log()


@pytest.fixture
def slow_command(tmp_path: Path) -> str:
    """Lasts until there is a file `go`."""
    return python("import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)")


def test_the_answer_does_not_wait_for_the_command_and_a_stop_does(tmp_path: Path, slow_command: str) -> None:
    with receiving(tmp_path, "--command", slow_command) as receiver:
        for number in range(3):
            assert receiver.ask(signed(BODY, delivery=str(number)), BODY) == 202
        receiver.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            receiver.process.wait(0.5)
        (tmp_path / "go").touch()
        assert receiver.process.wait(60) == 0


def test_where_too_much_waits_mlflow_is_asked_to_come_again(
    tmp_path: Path, slow_command: str, program: ModuleType
) -> None:
    with receiving(tmp_path, "--command", slow_command) as receiver:
        answers = []
        while 503 not in answers:
            answers.append(receiver.ask(signed(BODY, delivery=str(len(answers))), BODY))
        assert answers[:-1] == [202] * (len(answers) - 1)
        assert len(receiver.events()) == len(answers) - 1 >= program.MOST_WAITING
        (tmp_path / "go").touch()
        again = len(answers) - 1
        wait_until(lambda: receiver.ask(signed(BODY, delivery=str(again)), BODY) == 202)
        assert len(receiver.events()) == len(answers)


def test_a_command_that_fails_is_logged_and_the_next_event_goes_to_it(tmp_path: Path) -> None:
    with receiving(tmp_path, "--command", python("import sys; sys.exit(7)")) as receiver:
        for number in range(2):
            assert receiver.ask(signed(BODY, delivery=str(number)), BODY) == 202
        receiver.stop()
        assert receiver.log().count("command on champion_moved of version 3: failed with exit code 7") == 2


def test_a_command_past_its_time_ends_with_all_that_it_started(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "child.wait()"
    )
    with receiving(tmp_path, "--limit", "2", "--command", python(code)) as receiver:
        assert receiver.ask(signed(BODY), BODY) == 202
        receiver.stop()
        assert "ended after 2 seconds" in receiver.log()
    for process in (tmp_path / "pids").read_text().split():
        wait_until(lambda process=process: gone(int(process)))


def gone(process: int) -> bool:
    """Ended, or only not yet reaped by whoever inherited it."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.mark.parametrize(
    ("options", "secret", "words"),
    [
        ([], "", "REPO_WEBHOOK_SECRET is not set"),
        (["--command", "no-such-program x"], SECRET, "no-such-program: no such program"),
        (["--port", "70000"], SECRET, "port 70000"),
        (["--host", "192.0.2.1"], SECRET, "192.0.2.1"),
    ],
)
def test_a_receiver_that_cannot_work_does_not_start_and_says_so_in_a_line(
    options: list[str], secret: str, words: str
) -> None:
    command = [sys.executable, str(PROGRAM), "--model", MODEL, "--port", "0", *options]
    environment = os.environ | {"REPO_WEBHOOK_SECRET": secret}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 200), st.integers(-310, 310)), max_size=30))
@example([(0, 0, 0), (1, 200, 0), (0, 50, 0)])
@example([(0, 0, 300), (1, 500, 0), (0, 50, 0)])
def test_no_delivery_is_acted_upon_twice_however_the_clock_goes_on(
    program: ModuleType, requests: list[tuple[int, int, int]]
) -> None:
    """Each is (which delivery, seconds passed since the one before, by how much the first of it was off the clock)."""
    inbox, sent, now, taken = program.Inbox(), dict[str, int](), 1_000_000, []
    for which, passed, off in requests:
        now += passed
        delivery = str(which)
        sent.setdefault(delivery, now + off)
        with contextlib.suppress(program.Refused):
            timestamp = program.check_time(str(sent[delivery]), now)
            taken += [delivery] if inbox.take(delivery, timestamp, {}, now) else []
    assert len(taken) == len(set(taken))


def test_a_full_memory_refuses_for_now_and_forgets_nothing(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "MOST_REMEMBERED", 3)
    inbox = program.Inbox()
    assert [inbox.take(str(number), 1_000, {}, 1_000) for number in range(3)] == [True] * 3
    with pytest.raises(program.Refused, match="too many events") as caught:
        inbox.take("3", 1_000, {}, 1_000)
    assert caught.value.status in ASKED_AGAIN
    assert not inbox.take("0", 1_000, {}, 1_000)
    assert inbox.take("3", 2_000, {}, 2_000)
