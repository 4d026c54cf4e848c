"""Tries the remedies of `postward why`: `python -m tools.incidents.remedies [NAME]...` prints a table.

Each row of `FAULTS` is a fault of a real Postfix on its own stage (`stage.py`). A message fails, and the log and the
host are read as `postward why` reads them. The remedy is run in a shell, as printed. Then the next message must reach
the relay, and the incident must close. The table judges the cause, the setting and the remedy.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from postward.agent.incidents import Incident, IncidentTracker
from postward.agent.incidents.diagnosis import Diagnosis, diagnose, proofs_of
from postward.agent.incidents.model import Certainty, Effect
from postward.agent.metrics.labels import RelayNames
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.parsers import parse
from tests.support import CA, PostfixInstance, Relay, wait_for
from tests.support.require import ADMIN_PATH
from tools.incidents.stage import (
    LOGIN,
    PASSWORD,
    RELAY,
    USER,
    Stage,
    Syslog,
    laid_out,
    prepared,
    put_over,
    run_apart,
    table,
)

_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_TIMEOUT = 20.0  # seconds
_THROTTLE_TIMEOUT = 90.0  # seconds: master(8) throttles the restart of a daemon for one minute
# A remedy begins with its commands; alternatives and explanations follow.
_COMMANDS = re.compile(
    r"(?:postconf|postmap|postalias|postfix|postqueue|cp|rm) .*?(?=, or |; (?:or|and|ask|since) | \(|$)"
)

Damage = Callable[[PostfixInstance], object]


@dataclass(frozen=True)
class Fault:
    """A fault of the host.

    Attributes:
        truth: the fault, as a candidate of the catalogue.
        setting: the wrong setting, as Postfix names it.
        main_cf: parameters, besides those that send through the relay.
        damage: changes files before Postfix starts.
    """

    truth: str
    setting: str
    main_cf: Mapping[str, str] = field(default_factory=dict)
    damage: Damage = lambda _: None


def _parameter(truth: str, name: str, value: str, **others: str) -> Fault:
    return Fault(truth, name, {name: value, **others})


def _passwords(text: str) -> Damage:
    return lambda postfix: table(postfix, "sasl_passwd", text)


def _index_gone(name: str) -> Damage:
    def damage(postfix: PostfixInstance) -> None:
        table(postfix, name, f"{RELAY} x\n") if name != "sasl_passwd" else None
        (postfix.config_directory / f"{name}.db").unlink()

    return damage


def _index_damaged(postfix: PostfixInstance) -> None:
    (postfix.config_directory / "sasl_passwd.db").write_bytes(b"no database\n" * 512)


def _index_old(postfix: PostfixInstance) -> None:
    path = table(postfix, "sasl_passwd", f"[{RELAY}]:587 {USER}:former\n")
    path.write_text(f"[{RELAY}]:587 {LOGIN}\n")


def _override(postfix: PostfixInstance) -> None:
    path = postfix.config_directory / "master.cf"
    line = "smtp unix - - n - - smtp\n"
    path.write_text(path.read_text().replace(line, f"{line}  -o smtp_tls_wrappermode=yes\n"))


_PASSWORDS = "smtp_sasl_password_maps"
_SENDERS = "sender_dependent_relayhost_maps"

FAULTS: Mapping[str, Fault] = {
    "wrapper mode on 587": _parameter("wrappermode-on-starttls", "smtp_tls_wrappermode", "yes"),
    "wrapper mode on 587, no level": _parameter(
        "wrappermode-on-starttls", "smtp_tls_wrappermode", "yes", smtp_tls_security_level=""
    ),
    "wrapper mode by -o": Fault("wrappermode-on-starttls", "smtp_tls_wrappermode", damage=_override),
    "wrapper mode, no level": _parameter(
        "wrappermode-without-encryption",
        "smtp_tls_security_level",
        "may",
        smtp_tls_wrappermode="yes",
        relayhost=f"[{RELAY}]:465",
        smtp_sasl_password_maps=f"inline:{{[{RELAY}]:465={LOGIN}}}",
    ),
    "465 without wrapper mode": _parameter(
        "implicit-tls-port",
        "smtp_tls_wrappermode",
        "no",
        relayhost=f"[{RELAY}]:465",
        smtp_helo_timeout="2s",
        smtp_sasl_password_maps=f"inline:{{[{RELAY}]:465={LOGIN}}}",
    ),
    "TLS off": _parameter("tls-off", "smtp_tls_security_level", "none"),
    "level misspelt": _parameter("tls-level", "smtp_tls_security_level", "encrpyt"),
    "protocols misspelt": _parameter("protocols-misspelt", "smtp_tls_mandatory_protocols", "TLSv1.2+"),
    "cipher grade misspelt": _parameter("cipher-grade", "smtp_tls_mandatory_ciphers", "hihg"),
    "CA file gone": _parameter("ca-file", "smtp_tls_CAfile", "/etc/ssl/certs/nowhere.pem"),
    "no authorities": _parameter("ca-missing", "smtp_tls_CAfile", "", smtp_tls_security_level="secure"),
    "login off": _parameter("auth-off", "smtp_sasl_auth_enable", "no"),
    "key without port": Fault("password-key", _PASSWORDS, damage=_passwords(f"[{RELAY}] {LOGIN}\n")),
    "index gone": Fault("index-missing", _PASSWORDS, damage=_index_gone("sasl_passwd")),
    "index damaged": Fault("index-damaged", _PASSWORDS, damage=_index_damaged),
    "postmap forgotten": Fault("index-stale", _PASSWORDS, damage=_index_old),
    "PLAIN forbidden": _parameter(
        "sasl-noplaintext", "smtp_sasl_security_options", "noplaintext, noanonymous"
    ),
    "mechanisms filtered": _parameter("mechanism-filter", "smtp_sasl_mechanism_filter", "gssapi"),
    "option misspelt": _parameter("sasl-option", "smtp_sasl_security_options", "noanonymus"),
    "SASL type of servers": _parameter("sasl-type", "smtp_sasl_type", "dovecot"),
    "bracket missing": _parameter("relayhost-bracket", "relayhost", f"[{RELAY}:587"),
    "a URL": _parameter("relayhost-url", "relayhost", f"smtp://{RELAY}:587"),
    "mail kept back": _parameter("defer-transports", "defer_transports", "smtp"),
    "a dead end": _parameter("default-transport", "default_transport", "error:no mail from here"),
    "generic index gone": Fault(
        "index-missing",
        "smtp_generic_maps",
        {"smtp_generic_maps": "hash:{etc}/generic"},
        _index_gone("generic"),
    ),
    "relays by sender, index gone": Fault(
        "index-missing", _SENDERS, {_SENDERS: "hash:{etc}/senders"}, _index_gone("senders")
    ),
}


@dataclass
class Outcome:
    """The result of a fault.

    Attributes:
        name: name of the fault.
        cause: right, likely, ambiguous (it is among the causes named), or wrong.
        setting: right or wrong.
        remedy_works: yes, no, or manual if the remedy is not a command.
        remedy: the remedy that was run, or printed.
        causes: the causes named.
    """

    name: str
    cause: str
    setting: str
    remedy_works: str
    remedy: str
    causes: str


def _tracker(syslog: Syslog) -> IncidentTracker:
    incidents = IncidentTracker(RelayNames(), lambda: datetime.now().astimezone())
    for line in list(syslog.lines):
        record, event = parse(line)
        if record is not None and event is not None:
            incidents.observe(record, event)
    return incidents


def _open_incidents(syslog: Syslog) -> list[Incident]:
    return [incident for incident in _tracker(syslog).open if incident.worst in {Effect.LOST, Effect.DELAYED}]


def _diagnosed(syslog: Syslog, config_directory: Path) -> Diagnosis:
    facts = read_host_facts(Postfix(config_directory), None, None)
    incidents = _open_incidents(syslog)
    symptoms = {incident.symptom for incident in incidents}
    return diagnose(incidents[0], facts, proofs_of(None, facts), symptoms)


def try_remedy(name: str, folder: Path, ca: CA, relays: Mapping[int, Relay], syslog: Syslog) -> Outcome:
    """Run one fault, from the failed message to the first message that arrives."""
    fault = FAULTS[name]
    postfix = laid_out(folder, ca, fault.main_cf)
    fault.damage(postfix)
    syslog.lines.clear()
    with postfix:
        stage = Stage(folder, postfix, relays[587], syslog)
        stage.mail()
        wait_for(lambda: _open_incidents(syslog), _TIMEOUT, f"{name}: an incident")
        diagnosis = _diagnosed(syslog, postfix.config_directory)
        causes = " | ".join(cause.id for cause in diagnosis.causes)
        found = next((cause for cause in diagnosis.causes if cause.id == fault.truth), None)
        if found is None:
            return Outcome(name, "wrong", "wrong", "no", "", causes)
        cause = {Certainty.CERTAIN: "right", Certainty.LIKELY: "likely", Certainty.AMBIGUOUS: "ambiguous"}[
            diagnosis.certainty
        ]
        setting = "right" if fault.setting in f"{found.parameter} {found.where}" else "wrong"
        commands = _COMMANDS.match(found.remedy)
        if commands is None:
            return Outcome(name, cause, setting, "manual", found.remedy, causes)
        works = "yes" if _repairs(commands[0], stage, relays) else "no"
    return Outcome(
        name, cause, setting, works, commands[0].replace(f"-c {postfix.config_directory} ", ""), causes
    )


def _repairs(commands: str, stage: Stage, relays: Mapping[int, Relay]) -> bool:
    before = sum(len(relay.messages) for relay in relays.values())
    subprocess.run(
        ["/bin/sh", "-ec", commands], check=True, capture_output=True, env={"PATH": ADMIN_PATH}, cwd="/"
    )
    stage.mail("after@dest.example.test")

    def arrived() -> bool:
        if any("throttling" in line for line in stage.syslog.lines):
            stage.postfix.flush()
        return sum(len(relay.messages) for relay in relays.values()) > before

    try:
        wait_for(
            arrived,
            _THROTTLE_TIMEOUT if any("throttling" in line for line in stage.syslog.lines) else _TIMEOUT,
        )
        stage.postfix.flush()
        wait_for(lambda: not _open_incidents(stage.syslog), _TIMEOUT, "the incident to close")
    except AssertionError:
        return False
    return True


@contextmanager
def _relays(ca: CA) -> Iterator[Mapping[int, Relay]]:
    with (
        Relay(ca, RELAY, users={USER: PASSWORD}, port=587) as starttls,
        Relay(ca, RELAY, users={USER: PASSWORD}, port=465, tls="implicit") as implicit,
    ):
        yield {587: starttls, 465: implicit}


def _inside(names: list[str]) -> None:
    """Run faults on the stage, one after the other, and print the result of each as a line of JSON."""
    with prepared() as folder:
        ca = CA()
        ca.write(folder)
        put_over(_CA_BUNDLE, folder / "bundle.pem", ca.pem.decode())
        syslog = Syslog(Path("/dev/log"))
        with _relays(ca) as relays:
            for number, name in enumerate(names):
                place = folder / str(number)
                place.mkdir(mode=0o755)
                sys.stdout.write(f"{json.dumps(asdict(try_remedy(name, place, ca, relays, syslog)))}\n")
                sys.stdout.flush()


def outcomes(names: list[str]) -> list[Outcome]:
    """Run these faults on a stage and return their results."""
    done = run_apart("tools.incidents.remedies", "--inside", *names)
    return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


def report(rows: list[Outcome]) -> str:
    """Return the table and its sums."""
    lines = [
        f"{row.name:30} {row.cause:10} {row.setting:8} {row.remedy_works:7} {row.remedy}" for row in rows
    ]
    sums = {
        part: Counter(getattr(row, part) for row in rows) for part in ("cause", "setting", "remedy_works")
    }
    counts = "; ".join(
        f"{part}: {', '.join(f'{number} {result}' for result, number in count.most_common())}"
        for part, count in sums.items()
    )
    return "\n".join(
        [
            f"{'fault':30} {'cause':10} {'setting':8} {'works':7} remedy",
            *lines,
            f"{len(rows)} faults; {counts}",
        ]
    )


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--inside"]:
        _inside(sys.argv[2:])
        return
    sys.stdout.write(f"{report(outcomes(sys.argv[1:] or list(FAULTS)))}\n")


if __name__ == "__main__":
    main()
