"""Everything that can be wrong between the command and Kubeflow: one line with a remedy, and no secret in it."""

import datetime
import ipaddress
import logging
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubeflow_server import API, Call, Fault, Kubeflow, serving

from pipelines.kubeflow import connection as connecting

TOKEN = "a-token-nobody-may-see"
COOKIE = "authservice_session=nobody-may-see-this"
DATA = "s3://bucket/votes.jsonl"
COMMANDS = {
    "submit": ["submit", "--data", DATA],
    "wait": ["submit", "--data", DATA, "--wait"],
    "create": ["schedule", "create", "--inbox", "s3://bucket/votes", "--cron", "0 0 2 * * *"],
    "list": ["schedule", "list"],
    "pause": ["schedule", "pause"],
    "resume": ["schedule", "resume"],
    "delete": ["schedule", "delete"],
}
LOGIN = b"<!doctype html><title>Log in</title> pipelines runs experiments state run_id next_page_token"
FAULTS = {
    "400": (Fault("*", status=400, body=b'{"code": 3, "message": "Invalid input error: no"}'), "(400): Invalid input"),
    "401": (Fault("*", status=401), "does not know who asks (401)"),
    "403": (Fault("*", status=403), "does not allow this (403)"),
    "404": (Fault("*", status=404, body=b"page not found", kind="text/plain"), "no such thing (404)"),
    "409": (Fault("*", status=409), "(409)"),
    "429": (Fault("*", status=429), "too many requests (429)"),
    "500": (Fault("*", status=500), "the server failed (500): broken on purpose"),
    "502": (Fault("*", status=502, body=b"<html>Bad gateway</html>", kind="text/html"), "the server failed (502)\n"),
    "slow": (Fault("*", seconds=1.5), "no answer within 1 s"),
    "broken": (Fault("*", status=0), "the connection broke"),
    "login": (Fault("*", status=200, body=LOGIN, kind="text/html"), "answers with a page for people"),
    "redirect": (
        Fault("*", status=302, body=b"", headers={"location": "https://dex.example.org/auth?state=xyz"}),
        "leads to dex.example.org",
    ),
    "array": (Fault("*", status=500, body=b"[1]"), "the server failed (500)"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_does_not_do_it_is_told_in_one_line(
    call: Call, kubeflow: Kubeflow, fault: str, command: str
) -> None:
    kubeflow.faults.append(FAULTS[fault][0])
    done = call(*COMMANDS[command], *(["--timeout", 1] if fault == "slow" else []))
    assert done.exit_code == 1
    problem, remedy = done.stderr.splitlines()
    assert problem.startswith(f"error: {kubeflow.url}: ")
    assert FAULTS[fault][1].rstrip("\n") in problem
    assert remedy.startswith("  → ")
    assert "Traceback" not in done.output
    assert not isinstance(done.exception, UnicodeError)


@pytest.mark.parametrize("fault", ["403", "404", "500", "broken", "login", "redirect"])
@pytest.mark.parametrize(
    "path", ["/experiments", "/pipelines$", "/versions", "/upload_version", "/runs", "/recurringruns"]
)
def test_and_so_is_one_that_fails_later_on(call: Call, kubeflow: Kubeflow, path: str, fault: str) -> None:
    broken = FAULTS[fault][0]
    kubeflow.faults.append(Fault("*", path, broken.status, broken.body, broken.kind, broken.headers))
    done = call(*COMMANDS["create" if path == "/recurringruns" else "submit"])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert FAULTS[fault][1].partition(":")[0] in done.stderr


def test_nothing_is_sent_twice_where_it_may_have_been_done(call: Call, kubeflow: Kubeflow) -> None:
    kubeflow.faults.append(Fault("POST", "/runs", status=0, done=True))
    done = call("submit", "--data", DATA)
    assert done.exit_code == 1
    assert f"the run {kubeflow.runs[0]['display_name']} may have begun all the same" in done.stderr
    assert "before you submit again" in done.stderr
    assert len(kubeflow.runs) == 1


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("http://127.0.0.1:1", "nothing answers there"),
        ("http://kubeflow.invalid", "no such host"),
        ("kubeflow.example.org", "no address of an API"),
        ("https://me:secret-word@kubeflow.example.org", "no address of an API"),
        ("https://kubeflow.example.org/?key=secret-word", "no address of an API"),
    ],
)
def test_a_wrong_host_is_told(call: Call, host: str, told: str) -> None:
    done = call("schedule", "list", "--host", host)
    assert done.exit_code == 1
    assert told in done.stderr
    assert "secret-word" not in done.output


def test_no_host_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    done = call("schedule", "list")
    assert done.exit_code == 1
    assert "no Kubeflow named" in done.stderr
    assert "KF_PIPELINES_ENDPOINT" in done.stderr


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the loopback address that nobody else signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_a_certificate_nobody_signed_is_refused_until_it_is_given(call: Call, certificate: Path) -> None:
    with serving(Kubeflow(), certificate) as guarded:
        refused = call("schedule", "list", "--host", guarded.url)
        assert refused.exit_code == 1
        assert "its certificate is not trusted" in refused.stderr
        assert "--ca FILE" in refused.stderr
        assert not guarded.requests
        taken = call("schedule", "list", "--host", guarded.url, "--ca", certificate)
        assert taken.exit_code == 0, taken.output


def test_tls_where_there_is_none_is_told(call: Call, kubeflow: Kubeflow) -> None:
    done = call("schedule", "list", "--host", kubeflow.url.replace("http:", "https:"))
    assert done.exit_code == 1
    assert "does not speak TLS" in done.stderr
    assert "http://" in done.stderr


def test_a_file_without_certificates_is_told(call: Call, kubeflow: Kubeflow, tmp_path: Path, certificate: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("nothing")
    with serving(Kubeflow(), certificate) as guarded:
        for file in (ca, tmp_path / "missing.pem"):
            done = call("schedule", "list", "--host", guarded.url, "--ca", file)
            assert done.exit_code == 1
            assert len(done.stderr.splitlines()) == 2
            assert "--ca" in done.stderr


def test_a_token_comes_from_a_file_or_the_environment(
    call: Call, kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeflow.token = TOKEN
    refused = call("schedule", "list")
    assert "does not know who asks (401): Request header error: no user identity" in refused.stderr
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert call("schedule", "list", "--token-file", file).exit_code == 0
    monkeypatch.setenv("KFP_EXISTING_TOKEN", TOKEN)
    assert call("schedule", "list").exit_code == 0
    file.write_text("another")
    assert call("schedule", "list", "--token-file", file).exit_code == 1  # the flag counts more


def test_a_pods_token_is_its_own_and_read_anew(
    call: Call, kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    kubeflow.token = TOKEN
    file.write_text(TOKEN)

    def renew() -> None:
        kubeflow.token += "."
        file.write_text(kubeflow.token)

    kubeflow.watchers.append(renew)
    done = call("submit", "--data", DATA)
    assert done.exit_code == 0, done.output


def test_inside_a_pod_everything_is_known(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("token", TOKEN), ("namespace", "team")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(connecting, "_POD_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setattr(connecting, "_POD_NAMESPACE_FILE", tmp_path / "namespace")
    outside = connecting.connection()
    assert (outside.token(), outside.namespace) == ("", "")  # a host that is named gets no pod's token unasked
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    inside = connecting.connection()
    assert (inside.token(), inside.namespace) == (TOKEN, "team")
    assert inside.host == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
    assert inside.run_page("run-1") == "/pipeline/?ns=team#/runs/details/run-1"
    assert TOKEN not in repr(inside)


def test_headers_come_from_a_file_or_the_environment(
    call: Call, kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPO_KFP_HEADERS", f"Cookie: {COOKIE}\nX-Team: votes\n")
    assert call("schedule", "list").exit_code == 0
    assert all(asked["Cookie"] == COOKIE and asked["X-Team"] == "votes" for asked in kubeflow.headers)
    file = tmp_path / "headers"
    file.write_text("X-Team: others")
    assert call("schedule", "list", "--headers-file", file).exit_code == 0
    assert kubeflow.headers[-1]["X-Team"] == "others"
    assert "Cookie" not in kubeflow.headers[-1]


def test_the_cookie_in_kfps_own_configuration_is_sent(call: Call, kubeflow: Kubeflow, tmp_path: Path) -> None:
    context = tmp_path / ".config" / "kfp" / "context.json"
    context.parent.mkdir(parents=True)
    context.write_text(f'{{"client_authentication_cookie": "{COOKIE}"}}')
    done = call("schedule", "list")
    assert done.exit_code == 0, done.output
    assert all(asked["Cookie"] == COOKIE for asked in kubeflow.headers)
    assert context.read_text() == f'{{"client_authentication_cookie": "{COOKIE}"}}'


@pytest.mark.parametrize(
    ("option", "text", "told"),
    [
        ("--token-file", "", "holds no token"),
        ("--token-file", "two words", "holds no token"),
        ("--headers-file", f"X-Team: votes\n{COOKIE}", "line 2: no header"),
        ("--headers-file", "X-Team: vötes", "line 1: no header"),
    ],
)
def test_files_that_cannot_be_meant_are_told_without_their_content(
    call: Call, kubeflow: Kubeflow, tmp_path: Path, option: str, text: str, told: str
) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    done = call("schedule", "list", option, file)
    assert done.exit_code == 1
    assert told in done.stderr
    assert COOKIE not in done.output
    assert "cannot be read" in call("schedule", "list", option, tmp_path / "missing").stderr
    assert not kubeflow.requests


def test_secrets_are_nowhere_to_be_seen(
    call: Call, kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("KFP_EXISTING_TOKEN", TOKEN)
    monkeypatch.setenv("REPO_KFP_HEADERS", f"Cookie: {COOKIE}")
    shown = [call(*command).output for command in COMMANDS.values()]
    echo = f'{{"message": "unknown: Bearer {TOKEN}, {COOKIE}"}}'.encode()
    kubeflow.faults.append(Fault("*", status=401, body=echo, headers={"set-cookie": COOKIE}))
    refused = call("schedule", "list")
    assert "unknown: Bearer ***, ***" in refused.stderr
    kept = str((kubeflow.runs, kubeflow.recurring, kubeflow.experiments, kubeflow.requests))
    for secret in (TOKEN, COOKIE):
        assert secret not in "".join([*shown, refused.output, caplog.text, kept])


def test_several_users_need_a_namespace(
    call: Call, kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeflow.multi_user = True
    refused = call("schedule", "list")
    assert "has several users" in refused.stderr
    assert "--namespace" in refused.stderr
    for command in COMMANDS.values():
        done = call(*command, "--namespace", "kubeflow")
        assert done.exit_code == 0, done.output
    assert kubeflow.experiments[0]["namespace"] == kubeflow.pipelines[0]["namespace"] == "kubeflow"
    assert "/?ns=kubeflow#/runs/details/" in call(*COMMANDS["submit"], "--namespace", "kubeflow").stdout
    monkeypatch.setenv("KFP_NAMESPACE", "kubeflow")
    assert call("schedule", "list").exit_code == 0
    monkeypatch.delenv("KFP_NAMESPACE")
    context = tmp_path / ".config" / "kfp" / "context.json"
    context.parent.mkdir(parents=True)
    context.write_text('{"namespace": "kubeflow"}')
    assert call("schedule", "list").exit_code == 0
    context.write_text("{")
    assert "is no JSON object" in call("schedule", "list").stderr


def test_the_address_shown_is_that_of_the_pages(
    call: Call, kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example.org/pipeline/")
    assert "page: https://kubeflow.example.org/pipeline/#/runs/details/run-" in call("submit", "--data", DATA).stdout


def test_everything_asked_is_of_the_present_api(call: Call, kubeflow: Kubeflow) -> None:
    for command in COMMANDS.values():
        call(*command)
    assert all(path.startswith(API) for _, path in kubeflow.requests)
