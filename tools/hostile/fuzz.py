"""Give each reader of foreign bytes mutated input, for some minutes.

Promise: a find is an exception that the reader does not document, or a call that takes longer than `_SLOW` seconds of CPU
time. It is printed with the seed, the number of the case and the input, once for each place in the code.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import random
import socket
import sys
import tempfile
import threading
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest

from postward.agent.checkpoint import VERSION, CheckpointError, parse_checkpoint
from postward.agent.commands.status import screen
from postward.agent.enforce.history import list_generations
from postward.agent.enforce.state import enforcement_file, read_applied, read_enforcement
from postward.agent.http.web_config import WebConfigError, parse_web_config
from postward.agent.http_client import HttpError, request
from postward.agent.incidents.diagnosis import diagnose, to_dict
from postward.agent.incidents.history import DeliveryHistory
from postward.agent.incidents.render import lines_of_incident
from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.logs.discover import open_source
from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.exemplars import Exemplars
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.queue import count_queue
from postward.agent.metrics.tally import Tally
from postward.agent.pipeline import Pipeline
from postward.agent.probe.arrivals import parse_answer
from postward.agent.probe.filter import ProbeFilter
from postward.agent.probe.pending import Pending
from postward.agent.probe.tracker import return_of
from postward.agent.relay.changes import RelaySnapshot
from postward.agent.relay.check import check_relay
from postward.agent.relay.endpoint import RelayEndpoint
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.status.model import STATUS
from postward.agent.stored import MAX_TEXT, parse_json, printable_values
from postward.config.errors import SettingsError
from postward.config.relay import Relay
from postward.config.settings import parse_settings
from postward.parsers import parse
from postward.parsers.dsn import ACTIONS, may_be_dsn, read_dsn
from postward.parsers.kept_back import kept_back
from postward.parsers.scrub import mask_addresses, scrub
from tests.parsers.golden import CORPUS, logs, read_lines
from tools.hostile.mutate import mutated_bytes, mutated_json

_SLOW = 1.0  # seconds of CPU time of one call
_NOW = datetime(2026, 11, 24, 7, tzinfo=UTC)
_ROOT = Path(__file__).parents[2]


class Reader(NamedTuple):
    """A reader under test.

    Attributes:
        seeds: returns good inputs.
        read: reads an input.
        allowed: exceptions that the reader documents.
        is_json: mutate the JSON values, not the bytes.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...] = ()
    is_json: bool = False


# --- inputs


def _checkpoints() -> list[bytes]:
    tally = Tally()
    tally.add("postward_log_lines_total", ("event",), 3)
    tally.latest("postfix_delivery_last_success_timestamp_seconds", ("demo",), 1717236000.25)
    tally.observe("postfix_delivery_delay_seconds", ("demo",), 0.1)
    tracker, history = IncidentTracker(RelayNames(), lambda: _NOW), DeliveryHistory(lambda: _NOW)
    for path in sorted((CORPUS / "traps").glob("*.log"))[::8]:
        for line in read_lines(path):
            record, event = parse(line)
            if record is not None and event is not None:
                tracker.observe(record, event)
                history.observe(record, event)
    position = {"device": 1, "inode": 2, "head_length": 10, "head": "ab", "offset": 4096}
    pending = {
        "message_id": "<a@b>",
        "submitted": 1.0,
        "arrives": True,
        "queue_id": "4C0FFEE001",
        "handed": True,
        "reported": False,
        "relayed": True,
        "reply": "250 ok",
        "hop": "",
        "passed_id": None,
        "route": {"relay": "demo", "sender": "a@b", "login": True, "next_hops": ["r:587"]},
        "timeline": [["submitted", 0.0, ""], ["accepted", 1.0, ""]],
        "arrival": [[2.0], ["subject"]],
    }
    relays = {"demo": RelaySnapshot(True, ["PIPELINING"], ["PLAIN"], "TLSv1.3", "x", "y", "z", 2e9).to_dict()}
    body = {
        "positions": {"/var/log/mail.log": [position], "journal": "s=ab;i=1"},
        "tally": tally.as_json(),
        "parts": {
            "incidents": {**tracker.state(), "history": history.state()},
            "probing": {"pending": [pending], "uncounted": [["demo", "lost", "arrival"]]},
            "traffic": {"held": {"4C0FFEE001": ["a", "b"]}, "probes": ["4C0FFEE002"]},
            "relays": relays,
        },
    }
    return [json.dumps(body).encode()]


def _lines() -> list[bytes]:
    return [line.encode() for path in logs() for line in read_lines(path)]


def _entries() -> list[bytes]:
    return [
        json.dumps(
            {
                "__CURSOR": "s=1",
                "__REALTIME_TIMESTAMP": "1764000000000000",
                "SYSLOG_PID": "12",
                "SYSLOG_IDENTIFIER": "postfix/smtp",
                "MESSAGE": line.decode(),
                "_HOSTNAME": "mx1",
            }
        ).encode()
        for line in _lines()[::20]
    ]


def _queue() -> list[bytes]:
    mail = {
        "queue_name": "deferred",
        "queue_id": "4C0FFEE001",
        "arrival_time": 1764000000,
        "message_size": 400,
        "forced_expire": False,
        "sender": "a@b",
        "recipients": [{"address": "b@c", "delay_reason": "refused"}],
    }
    return [json.dumps(mail).encode() + b"\n"] * 3


def _web_configs() -> list[bytes]:
    return [
        (
            b"tls_server_config:\n  cert_file: a.pem\n  key_file: b.pem\n  client_auth_type: NoClientCert\n"
            b"basic_auth_users:\n  me: $2b$10$abcdefghijklmnopqrstuuqwertyuiopasdfghjklzxcvbnm1234567\n"
            b"http_server_config:\n  headers:\n    X-Frame-Options: deny\nrate_limit: {interval: 1s, burst: 5}\n"
        )
    ]


def _settings() -> list[bytes]:
    return [
        (
            b'[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "r.test"\nport = 587\n'
            b'tls = "starttls"\nusername = "u"\npassword = "p"\nsenders = []\n[main_cf]\nmessage_size_limit = 5\n'
            b'[web]\nlisten = "127.0.0.1:19787"\nalso_listen = []\n[probe]\nrecipient = "a@b.example"\n'
            b'[notify]\nwebhook_url = "https://a.example/x"\n[log]\nsource = "auto"\n'
        )
    ]


def _answers() -> list[bytes]:
    return [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 No Content\r\n\r\n",
    ]


def _conversations() -> list[bytes]:
    return [
        (
            b"220 r.test ESMTP\r\n250-r.test\r\n250-SIZE 100\r\n250 AUTH PLAIN LOGIN CRAM-MD5\r\n"
            b"235 2.7.0 ok\r\n221 bye\r\n"
        ),
        b"220 r.test\r\n250-r\r\n250 AUTH CRAM-MD5\r\n334 PDEyMy40NTZAcj4=\r\n535 5.7.8 no\r\n221 bye\r\n",
        b"220 r.test\r\n250-r\r\n250 AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n454 4.7.0 later\r\n",
        b"554 no\r\n221 bye\r\n",
    ]


# --- readers


def _read_checkpoint(data: bytes) -> None:
    body = json.loads(data)
    if isinstance(body, dict):
        digest = hashlib.sha256(json.dumps(body, separators=(",", ":")).encode()).hexdigest()
        data = json.dumps({**body, "version": VERSION, "sha256": digest}).encode()
    found = parse_checkpoint(data)
    registry = CollectorRegistry()
    registry.register(PostwardCollector(found.tally, dict, Exemplars()))
    generate_latest(registry)
    for name in ("/var/log/mail.log", "journal"):
        with contextlib.suppress(ValueError):
            open_source(name, found.positions.get(name))
    parts = {name: state for name, state in found.parts.items() if isinstance(state, dict)}
    _show_incidents(parts.get("incidents", {}))
    pending = parts.get("probing", {}).get("pending")
    for row in pending if isinstance(pending, list) else ():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            one = Pending.from_dict(row)
            one.arrived(10.0).durations()
            one.unfinished("late")
            json.dumps(one.to_dict())
    with contextlib.suppress(ValueError):
        ProbeFilter(Tally(), RelayNames(), lambda: _NOW).restore(parts.get("traffic", {}))


def _show_incidents(state: Mapping[str, Any]) -> None:
    tracker, history = IncidentTracker(RelayNames(), lambda: _NOW), DeliveryHistory(lambda: _NOW)
    tracker.restore(state)
    for incident in (*tracker.open, *tracker.closed):
        row = to_dict(incident, diagnose(incident))
        text = "".join(part for parts in lines_of_incident(row, 2e9) for part, _ in parts)
        assert text.isprintable(), "not printable"
    with contextlib.suppress(AttributeError):  # the agent leaves such a part out
        history.restore(state.get("history", {}))
    history.buckets(_NOW.timestamp())
    json.dumps(tracker.state())


def _read_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def reader(data: bytes) -> object:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            return read(Path(folder))

    return reader


_RELAY = Relay.model_validate(
    {"name": "demo", "host": "r.test", "port": 587, "username": "u", "password": "s3cret-Green"}, strict=False
)


def _use_logins(folder: Path) -> None:
    throttle = LoginThrottle(folder / "logins.json", [_RELAY], 2)
    throttle.next_attempt_at("demo")
    throttle.acquire("demo")
    throttle.release("demo", accepted=False)


def _use_enforcement(folder: Path) -> None:
    if (state := read_enforcement(enforcement_file(folder))) is not None:
        registry = CollectorRegistry()
        registry.register(PostwardCollector(Tally(), lambda: state.gauges(time.time()), Exemplars()))
        generate_latest(registry)


def _read_status(data: bytes) -> None:
    answer = printable_values(parse_json(data))
    STATUS.check(answer)
    text = "".join(part for parts in screen({**answer, "incidents": []}) for part, _ in parts)
    assert text.isprintable(), "not printable"
    _show_incidents(answer)


def _statuses() -> list[bytes]:
    from tests.status.sample import sample

    return [json.dumps(sample()).encode()]


def _read_line(data: bytes) -> None:
    tally = Tally()
    tracker, history = IncidentTracker(RelayNames(), lambda: _NOW), DeliveryHistory(lambda: _NOW)
    observers = (tracker, history)
    Pipeline(Counting(tally, RelayNames(), lambda: _NOW), observers).feed(data + b"\n")
    for line in data.decode("utf-8", "replace").split("\n"):
        mask_addresses(scrub(line))
    _show_incidents(json.loads(json.dumps(tracker.state())))
    tally.as_json()


def _read_queue(data: bytes) -> None:
    async def pieces() -> Any:
        yield data

    async def count() -> None:
        (await count_queue(pieces(), 2e9)).gauges()

    asyncio.run(count())


def _read_web_config(data: bytes) -> None:
    parse_web_config(data.decode("utf-8", "replace"), Path("/etc/postward"))


def _read_settings(data: bytes) -> None:
    with contextlib.suppress(tomllib.TOMLDecodeError, RecursionError):
        raw = tomllib.loads(data.decode("utf-8", "replace"))
        parse_settings(raw, "postward.toml")


class _Server:
    """Answers each connection with the bytes at hand; for conversations, line by line."""

    def __init__(self, *, line_by_line: bool) -> None:
        self.answer = b""
        self._line_by_line = line_by_line
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            with client, contextlib.suppress(OSError):
                client.settimeout(0.1)
                if not self._line_by_line:
                    client.recv(65536)
                    client.sendall(self.answer)
                    continue
                for line in self.answer.splitlines(keepends=True):
                    client.sendall(line)
                    if line[3:4] != b"-":
                        client.recv(65536)


def _ask(data: bytes) -> None:
    server = _servers("http")
    server.answer = data
    request(f"http://127.0.0.1:{server.port}/", b"x", deadline=2.0, max_bytes=1024, proxies=False)


def _talk(data: bytes) -> None:
    server = _servers("smtp")
    server.answer = data
    endpoint = RelayEndpoint(
        "demo",
        "127.0.0.1",
        server.port,
        "none",
        username="u",
        password="s3cret",
        cleartext_password=True,
        timeout=0.1,
    )
    check = asyncio.run(check_relay(endpoint))
    shown = "".join(line.text for line in check.transcript) + check.detail + check.auth_detail
    assert "s3cret" not in shown, "shows the password"
    assert shown.isprintable(), "not printable"


_started: dict[str, _Server] = {}


def _servers(kind: str) -> _Server:
    if kind not in _started:
        _started[kind] = _Server(line_by_line=kind == "smtp")
    return _started[kind]


_LOGINS = {
    "salt": "0" * 32,
    "accounts": {
        "u@r.test": {
            "attempts": [1.0, 2.0],
            "rejected": True,
            "open": 1,
            "process": 5,
            "marks": {"/x": "1 2"},
        }
    },
}
_ENFORCEMENT = {"version": 1, "in_sync": True, "drift": ["relayhost"], "repaired_at": {"relayhost": [1.0]}}
_NOTES = {
    "confirmed": "x",
    "activation": "RELOAD",
    "parameters": ["relayhost"],
    "services": [],
    "made": ["t"],
    "access": {"t": [384, 0, 0]},
}


def _notifications() -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / "dsn").glob("*.eml"))]


def _read_notification(data: bytes) -> None:
    """Read a notification, and what is counted and shown of it."""
    may_be_dsn(data.partition(b"\n\n")[0])
    dsn = read_dsn(data)
    for recipient in dsn.recipients if dsn else ():
        return_of(recipient)
        if recipient.action not in ACTIONS or len(recipient.diagnostic) > MAX_TEXT:
            raise AssertionError("a label that is not closed, or a text that is not bounded")
    kept_back(data.decode("latin-1")[:MAX_TEXT])


READERS: Mapping[str, Reader] = {
    "checkpoint": Reader(_checkpoints, _read_checkpoint, (ValueError, CheckpointError), is_json=True),
    "logins": Reader(
        lambda: [json.dumps(_LOGINS).encode()], _read_file("logins.json", _use_logins), is_json=True
    ),
    "enforcement": Reader(
        lambda: [json.dumps(_ENFORCEMENT).encode()],
        _read_file("enforcement.json", _use_enforcement),
        is_json=True,
    ),
    "applied": Reader(
        lambda: [b'{"applied": "a", "confirmed": "b", "key": "00"}'],
        _read_file("applied.json", read_applied),
        is_json=True,
    ),
    "generation": Reader(
        lambda: [json.dumps(_NOTES).encode()],
        _read_file("generations/1/notes.json", list_generations),
        is_json=True,
    ),
    "status": Reader(_statuses, _read_status, (ValueError,), is_json=True),
    "arrivals": Reader(
        lambda: [b'{"<a@b>": {"at": [1.0, 2.0], "altered": ["subject"]}}'],
        lambda data: list(parse_answer(data)),
        (ValueError,),
        is_json=True,
    ),
    "http": Reader(_answers, _ask, (HttpError,)),
    "relay": Reader(_conversations, _talk),
    "web-config": Reader(_web_configs, _read_web_config, (WebConfigError,)),
    "settings": Reader(_settings, _read_settings, (SettingsError,)),
    "line": Reader(_lines, _read_line),
    "journal": Reader(_entries, _read_line),
    "queue": Reader(_queue, _read_queue),
    "dsn": Reader(_notifications, _read_notification),
}


def fuzz(names: list[str], seconds: float, seed: int) -> int:
    """Fuzz these readers, each for so many seconds. Print figures and finds; return 1 if there are any."""
    logging.disable(logging.CRITICAL)
    finds = 0
    for name in names:
        finds += _fuzz(name, READERS[name], seconds, seed)
    return 1 if finds else 0


def _fuzz(name: str, reader: Reader, seconds: float, seed: int) -> int:
    seeds, chance = reader.seeds(), random.Random(f"{name} {seed}")  # noqa: S311 -- the seed makes a run repeatable
    found: set[str] = set()
    cases, refused, slowest = 0, 0, 0.0
    end = time.monotonic() + seconds
    for number, data in enumerate(_inputs(chance, seeds, is_json=reader.is_json)):
        if time.monotonic() > end:
            break
        cases += 1
        began = time.process_time()
        try:
            reader.read(data)
        except reader.allowed:
            refused += 1
        except Exception as error:
            place = _place(error)
            if place not in found:
                found.add(place)
                _say(
                    f"{name}: seed {seed}, case {number}: {place}: {str(error)[:200]}\n  input: {data[:600]!r}"
                )
        took = time.process_time() - began
        if took > _SLOW and "slow" not in found:
            found.add("slow")
            _say(f"{name}: seed {seed}, case {number}: {took:.1f} s of CPU time\n  input: {data[:600]!r}")
        slowest = max(slowest, took)
    _say(f"{name}: {cases} cases, {refused} refused, slowest {slowest * 1000:.0f} ms, {len(found)} finds")
    return len(found)


def _inputs(chance: random.Random, seeds: list[bytes], *, is_json: bool) -> Iterator[bytes]:
    while True:
        seed = chance.choice(seeds)
        yield mutated_json(chance, seed) if is_json else mutated_bytes(chance, seed, seeds)


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = next((frame for frame in reversed(frames) if "/tools/" not in frame.filename), frames[-1])
    return f"{type(error).__name__} at {Path(own.filename).name}:{own.lineno}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
