"""The log of several hosts: each is counted as if its lines were alone, and this host as if the others had none."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postward.agent.hosts import HostLog, OtherHosts, is_other
from postward.agent.incidents.model import IncidentRow
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.pipeline import MAX_HOSTS, OTHER, ByHost, Pipeline
from postward.agent.text import local_now
from tests.support import PostfixInstance, require_postfix, wait_for
from tests.support.product import AgentProcess, run_postward, write_reading_settings

NAMES = RelayNames([("smtp.relay.test", 587, "main")])
RELAY = "smtp.relay.test[192.0.2.9]:587"
REFUSED = f"SASL authentication failed; server {RELAY.partition(':')[0]} said: 535 5.7.8 Error: authentication failed"
TEXTS = (
    "pickup[1]: 3C0: uid=33 from=<www-data>",
    "smtpd[1]: 3C0: client=a[192.0.2.7]",
    "cleanup[1]: 3C0: message-id=<x@y>",
    "cleanup[1]: 3C0: message-id=<1a2.3b@postward.probe>",
    "qmgr[1]: 3C0: from=<a@b>, size=4021, nrcpt=1 (queue active)",
    f"smtp[1]: 3C0: to=<a@b>, relay={RELAY}, delay=1.3, delays=0/0/1/0.3, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
    f"smtp[1]: 3C0: to=<a@b>, relay={RELAY}, delay=2, delays=0/0/1/1, dsn=4.7.8, status=deferred ({REFUSED})",
    (
        "smtp[1]: 3C0: to=<a@b>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.1, status=deferred (connect to "
        f"{RELAY}: Connection refused)"
    ),
    "qmgr[1]: 3C0: removed",
    "master[1]: daemon started -- version 3.7.11, configuration /etc/postfix",
    "smtp[1]: warning: something that no rule knows",
)


def _line(host: str, text: str, at: int = 0) -> str:
    stamp = datetime.fromtimestamp(at or int(time.time())).astimezone().isoformat()
    return f"{stamp} {host} postfix/{text}\n"


def _count(lines: list[str]) -> tuple[ByHost[HostLog], Tally]:
    """Return the counts of the hosts web*, and of the others."""
    hosts = ByHost(lambda host: HostLog(host, NAMES), lambda host: is_other(host, ["web*"], ()))
    tally = Tally()
    pipeline = Pipeline(Counting(tally, NAMES, local_now), others=hosts)
    pipeline.feed("".join(lines).encode())
    pipeline.settle()
    return hosts, tally


LINES = st.lists(
    st.one_of(
        st.builds(
            _line, st.sampled_from(["web1", "web2", "mx"]), st.sampled_from(TEXTS), st.just(1_700_000_000)
        ),
        st.just("Nov 14 22:13:20 web1 sshd[7]: a line of another program\n"),
        st.just("not a line of a log\n"),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(LINES)
def test_each_host_counts_as_if_its_lines_were_alone(lines: list[str]) -> None:
    hosts, rest = _count(lines)

    for host in ("web1", "web2"):
        alone, _ = _count([line for line in lines if f" {host} postfix/" in line])
        assert [log.state() for name, log in hosts.logs.items() if name == host] == [
            log.state() for log in alone.logs.values()
        ]
    _, others = _count([line for line in lines if " postfix/" not in line or " mx " in line])
    assert rest.as_json() == others.as_json()


def test_this_host_is_never_apart() -> None:
    """A pattern that fits all hosts leaves this one out, by its full and its short name."""
    own = {"loghost.example.test", "loghost"}

    assert not is_other("loghost", ["*"], own)
    assert not is_other("LogHost.example.test", ["*"], own)
    assert is_other("loghost2", ["*"], own)
    assert is_other("WEB1.example.test", ["web*"], own)
    assert not is_other("db1", ["web*"], own)


def test_hosts_without_limit_are_counted_together() -> None:
    """Names come from lines, and can be invented."""
    lines = [_line(f"web{number}", TEXTS[8]) for number in range(MAX_HOSTS + 30)]
    lines += [_line('web"}\\', TEXTS[8]), _line("web" + "x" * 999, TEXTS[8])]

    hosts, rest = _count(lines)

    assert len(hosts.logs) == MAX_HOSTS + 1
    assert hosts.logs[OTHER].tally.counters["postfix_messages_removed_total"]["postfix",] == 32
    assert rest.counters["postfix_messages_removed_total"]["postfix",] == 0


def test_a_restart_keeps_the_counts_of_further_hosts() -> None:
    """They are of no host that the settings name."""
    before, after = _other_hosts(), _other_hosts()
    before.by_host.log_of(OTHER).tally.latest("postward_log_last_line_timestamp_seconds", (), time.time())
    before.logs[OTHER].tally.add("postfix_messages_removed_total", ("postfix",), 7)

    after.restore(json.loads(json.dumps(before.state())))

    assert after.logs[OTHER].tally.counters["postfix_messages_removed_total"]["postfix",] == 7


def test_nothing_is_reported_before_the_log_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """An incident of the unread part of a log may be over."""
    reported, before_polls = list[str](), list[list[str]]()
    hosts = OtherHosts(
        ["web*"], (), NAMES, lambda _, row: reported.append(row["host"]), lambda: len(before_polls) > 2
    )
    pipeline = Pipeline(Counting(Tally(), NAMES, local_now), others=hosts.by_host)
    pipeline.feed("".join(_line("web1", TEXTS[6]) for _ in range(2)).encode())

    async def next_beat() -> None:
        before_polls.append(list(reported))
        if len(before_polls) > 4:
            raise asyncio.CancelledError

    monkeypatch.setattr("postward.agent.hosts.next_beat", next_beat)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(hosts.run())
    assert before_polls == [[], [], [], ["web1"], ["web1"]]


def _other_hosts(patterns: list[str] | None = None) -> OtherHosts:
    def report(kind: str, row: IncidentRow) -> None:
        raise AssertionError(f"{kind}: {row}")

    return OtherHosts(patterns or ["web*"], (), NAMES, report)


def test_a_restart_keeps_counts_and_incidents() -> None:
    """Hosts that are silent for a month, or that the settings do not name any more, are forgotten."""
    now = int(time.time())
    before = _other_hosts(["*"])
    pipeline = Pipeline(Counting(Tally(), NAMES, local_now), others=before.by_host)
    pipeline.feed(
        "".join(
            [
                *(_line("web1", TEXTS[6], now) for _ in range(2)),
                _line("web2", TEXTS[0], now - 31 * 86400),
                _line("db1", TEXTS[0], now),
            ]
        ).encode()
    )
    pipeline.settle()
    saved = json.loads(json.dumps(before.state()))

    after = _other_hosts()
    after.restore(saved)

    assert set(before.logs) == {"web1", "web2", "db1"}
    assert set(after.logs) == {"web1"}
    assert after.logs["web1"].state() == before.logs["web1"].state()
    assert [row["symptom"] for row in after.logs["web1"].status(now)["incidents"]]


# --- the agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AgentProcess, Path]]:
    """An agent, and the log that it reads, which other hosts write too."""
    require_postfix(sasl=False)
    folder = tmp_path_factory.mktemp("loghost")
    with PostfixInstance(folder / "postfix") as postfix:
        log = folder / "mail.log"
        log.touch()
        file = write_reading_settings(folder, postfix, source=str(log))
        file.write_text(file.read_text().replace("[log]\n", '[log]\nhosts = ["*"]\n'))
        with AgentProcess(file) as agent:
            yield agent, log


def _append(log: Path, *lines: str) -> None:
    with log.open("a") as file:
        file.writelines(lines)


def test_each_host_has_its_own_metrics_and_incidents(agent: tuple[AgentProcess, Path]) -> None:
    """Counts, incidents, status page and commands keep the hosts apart, also after a restart."""
    process, log = agent
    _append(
        log,
        *(_line("web1", TEXTS[6]) for _ in range(3)),
        *(_line("web2", TEXTS[5]) for _ in range(2)),
        *(_line("mail", text) for text in (TEXTS[0], TEXTS[2])),
    )

    def counted() -> bool:
        return process.value("postfix_deliveries_total", log_host="web2", status="sent") == 2

    wait_for(counted, what="the deliveries of web2")
    for is_restarted in (False, True):
        if is_restarted:
            process.stop()
            process.start()
        assert process.value("postfix_deliveries_total", log_host="web1", status="deferred") == 3
        assert process.value("postfix_deliveries_total", log_host="web1", status="sent") == 0
        assert process.value("postfix_messages_received_total", log_host="web1") == 0
        assert process.value("postfix_messages_received_total") == 1, "this host's"
        assert process.value("postward_incident_open", log_host="web1", effect="delayed") == 1
        assert process.value("postward_incident_open", log_host="web2") == 0
    status = json.loads(process.get("/api/status")[1])
    assert status["effect"] == "note", "the mail of this host goes out"
    assert [(row["host"], row["effect"]) for row in status["hosts"]] == [
        ("web1", "delayed"),
        ("web2", "note"),
    ]
    page = process.get("/status")[1]
    assert "Other hosts in the log" in page
    assert "web1: the relay refuses" in page


def test_commands_name_the_host(agent: tuple[AgentProcess, Path]) -> None:
    """`status` and `why` say which host's mail waits; where mail goes out, `status` shows only the number of hosts."""
    process, log = agent
    _append(log, *(_line("web3", TEXTS[7]) for _ in range(3)), _line("web4", TEXTS[5]))
    wait_for(lambda: process.value("postward_incident_open", log_host="web3"), what="the incident of web3")

    config = ("--config", str(process.settings_file))
    status, why = run_postward("status", *config), run_postward("why", "--json", *config)

    assert "web3                mail waits: " in status.stdout
    assert "web4" not in status.stdout
    rows = json.loads(why.stdout)["incidents"]
    assert {(row["host"], row["relay"], row["cause"]) for row in rows if row["host"] == "web3"} == {
        ("web3", "none", "refused")
    }
    assert " on web3; " in run_postward("why", *config).stdout
    assert "incident opened: " in process.output()
