"""Records the logs of `tests/corpus/symptoms/` with Postfix, as root: `python -m tools.incidents.record [NAME]...`.

Each row of `STAGINGS` is a fault, staged in its own namespaces (`stage.py`). Raises AssertionError if the line that
shows the fault is not logged.
"""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import CA, Fault, PostfixError, Relay, wait_for
from tests.support.mounts import fill, small_disk
from tools.incidents.stage import (
    LOGIN,
    NAMESERVER,
    PASSWORD,
    RELAY,
    USER,
    Stage,
    Syslog,
    laid_out,
    prepared,
    run_apart,
    table,
)

LOGS = Path(__file__).parents[2] / "tests" / "corpus" / "symptoms"

_SUSPENDED = "delivery temporarily suspended"
Action = Callable[[Stage], None]


def _send(stage: Stage) -> None:
    stage.mail()


def _break_main_cf(*lines: str) -> Action:
    """Break main.cf while Postfix runs, and send a mail."""

    def act(stage: Stage) -> None:
        stage.main_cf(*lines)
        stage.mail()

    return act


def _write(name: str, text: str) -> Action:
    """Write a file beside main.cf, and send a mail."""

    def act(stage: Stage) -> None:
        (stage.postfix.config_directory / name).write_text(text)
        stage.mail()

    return act


def _mail_after_mail(stage: Stage) -> None:
    """Send mails until one is deferred without an attempt."""

    def another() -> bool:
        stage.mail()
        return any(_SUSPENDED in line for line in stage.syslog.lines)

    wait_for(another, 20, "a suspended delivery")


def _bad_name_server(stage: Stage) -> None:
    """Run a name server that answers FORMERR to every query, and send a mail."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((NAMESERVER, 53))

    def serve() -> None:
        while True:
            query, client = server.recvfrom(4096)
            server.sendto(query[:2] + b"\x81\x81" + query[4:6] + bytes(6) + query[12:], client)

    threading.Thread(target=serve, daemon=True).start()
    stage.mail()


def _passwords(*entries: str) -> Action:
    def act(stage: Stage) -> None:
        table(stage.postfix, "sasl_passwd", "".join(f"{entry}\n" for entry in entries))
        stage.mail()

    return act


def _full_mailbox(stage: Stage) -> None:
    spool = stage.folder / "spool"
    small_disk(spool, "64k")
    spool.chmod(0o1777)
    fill(spool)
    stage.mail("root@client.example.test")


def _no_pickup(stage: Stage) -> None:
    stage.postfix.stop()
    (stage.postfix.queue_directory / "public" / "pickup").unlink()
    stage.mail()


def _port_taken(stage: Stage) -> None:
    stage.postfix.stop()
    with socket.create_server(("127.0.0.1", stage.postfix.smtpd_port)):
        try:
            stage.postfix.start()
        except (PostfixError, AssertionError):
            return


def _few_descriptors(stage: Stage) -> None:
    """Send a mail with a limit of file descriptors that is far too low, as by LimitNOFILE in a unit."""
    stage.postfix.stop()
    stage.postfix.start()
    master = stage.postfix.master_pid()
    subprocess.run(["prlimit", "--pid", str(master), "--nofile=14:14"], check=True)
    stage.mail()


@dataclass(frozen=True)
class Staging:
    """A fault.

    Attributes:
        causes: the fault, as a candidate of the catalogue.
        until: text of the line that shows it; recording stops there.
        main_cf: parameters of Postfix, besides those that send through the relay.
        fault: fault of the relay.
        relay: attributes of the relay.
        act: causes the fault; by default sends a mail.
        master: a further line of master.cf.
        begins: text of the first line that is kept, as if the log had been rotated before it.
    """

    causes: str
    until: str
    main_cf: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    relay: Mapping[str, Any] = field(default_factory=dict)
    act: Action = _send
    master: str = ""
    begins: str = ""


def _reply(causes: str, step: str, reply: str) -> Staging:
    return Staging(causes, "status=", fault=Fault(step=step, reply=reply))


STAGINGS: Mapping[str, Staging] = {
    # Logins
    "login-basic-retired": _reply(
        "tenant", "auth", "550 5.7.30 Basic authentication is not supported for Client Submission."
    ),
    "mechanism-filtered": Staging("mechanism-filter", "status=", {"smtp_sasl_mechanism_filter": "gssapi"}),
    "password-table-unreadable": Staging(
        "password-proxied",
        "status=",
        {
            "smtp_sasl_password_maps": "proxy:hash:{etc}/sasl_passwd",
            "proxy_read_maps": "$smtp_sasl_password_maps",
        },
    ),
    "lookup-failed": Staging("table", "status=", {"smtp_sasl_password_maps": "tcp:127.0.0.1:1"}),
    "password-duplicate": Staging(
        "password-twice", "status=", act=_passwords(f"[{RELAY}]:587 {LOGIN}", f"[{RELAY}]:587 other:Gr33n")
    ),
    # TLS
    "tls-cipher-grade": Staging("cipher-grade", "status=", {"smtp_tls_mandatory_ciphers": "hihg"}),
    "starttls-missing": Staging("port-without-tls", "status=", relay={"no_starttls": True}),
    "certificate-not-yet-valid": Staging("clock", "status=", {"smtp_tls_security_level": "secure"}),
    # With reused connections tlsproxy(8) logs the reason, and smtp(8) the outcome.
    "certificate-issuer-tlsproxy": Staging(
        "ca-missing",
        "status=",
        {"smtp_tls_security_level": "secure", "smtp_tls_CAfile": "", "smtp_tls_connection_reuse": "yes"},
        master="tlsproxy unix - - n - 0 tlsproxy",
    ),
    "certificate-fingerprint": Staging(
        "fingerprint",
        "status=",
        {
            "smtp_tls_security_level": "fingerprint",
            "smtp_tls_fingerprint_digest": "sha256",
            "smtp_tls_fingerprint_cert_match": ":".join(["00"] * 32),
        },
    ),
    "tls-engine-ca-file": Staging("ca-file", "status=", {"smtp_tls_CAfile": "/etc/ssl/certs/nowhere.pem"}),
    "tls-engine-certificate": Staging(
        "tls-files", "status=", {"smtp_tls_cert_file": "/etc/ssl/certs/nowhere.pem"}
    ),
    "tls-wrapper-needed-hang": Staging(
        "implicit-tls-port",
        "status=",
        {"relayhost": f"[{RELAY}]:465", "smtp_helo_timeout": "2s", "smtp_connect_timeout": "2s"},
        relay={"tls": "implicit", "port": 465},
        fault=Fault(step="handshake", action="hang"),
    ),
    "tls-wrapper-needed-cut": Staging(
        "implicit-tls-port",
        "status=",
        {"relayhost": f"[{RELAY}]:465"},
        relay={"tls": "implicit", "port": 465},
        fault=Fault(step="handshake", action="cut"),
    ),
    # Suspended deliveries, in a log that was rotated after the first attempts.
    "tls-handshake": Staging(
        "wrappermode-on-starttls",
        _SUSPENDED,
        {
            "smtp_tls_wrappermode": "yes",
            "smtp_destination_concurrency_failed_cohort_limit": "1",
            "minimal_backoff_time": "60s",
            "maximal_backoff_time": "60s",
        },
        act=_mail_after_mail,
        begins=_SUSPENDED,
    ),
    # Network
    "dns-no-answer-understood": Staging(
        "resolver",
        "status=",
        {"relayhost": "[elsewhere.example.test]:587", "smtp_host_lookup": "dns"},
        act=_bad_name_server,
    ),
    "host-unreachable": Staging("route", "status=", {"relayhost": "[192.0.2.9]:587"}),
    "filter-down": Staging("content-filter", "status=", {"content_filter": "smtp:[127.0.0.1]:10025"}),
    "conversation-timeout": Staging(
        "relay-down", "status=", {"smtp_mail_timeout": "2s"}, Fault(step="mail", action="hang")
    ),
    "greeting-refused": _reply("relay-policy", "greeting", "554 5.3.2 not accepting messages"),
    # Answers
    "policy-dmarc": _reply(
        "dns-of-sender",
        "end_of_data",
        "550 5.7.26 Unauthenticated email from client.example.test is not accepted due to domain's DMARC policy.",
    ),
    "policy": _reply("policy", "mail", "554 5.7.0 rejected by the settings of this site"),
    "other": _reply("unknown", "data", "554 5.5.1 No valid recipients"),
    # Configuration
    "relayhost-syntax": Staging("relayhost-syntax", "throttling", {"relayhost": f"[{RELAY}]587"}),
    "transport-unavailable": Staging(
        "transport-unknown", "status=", {"relayhost": "", "default_transport": "nowhere"}
    ),
    "bad-number": Staging("bad-number", "fatal: ", act=_break_main_cf("message_size_limit = 10MB")),
    "empty-value": Staging("undefined-name", "fatal: ", act=_break_main_cf("myhostname = $mailname")),
    "indented-line": Staging(
        "indented-parameter",
        "fatal: ",
        act=_break_main_cf("inet_protocols = ipv4", f" relayhost = [{RELAY}]:587"),
    ),
    "inet-interfaces": Staging(
        "inet-interfaces", "fatal: ", act=_break_main_cf("inet_interfaces = 192.0.2.77")
    ),
    "inet-protocols": Staging("inet-protocols", "fatal: ", act=_break_main_cf("inet_protocols = ip4")),
    "main-cf-syntax": Staging("main-cf", "fatal: ", act=_break_main_cf(f"relayhost [{RELAY}]:587")),
    "table-file-syntax": Staging(
        "table-file",
        "missing '=' after",
        {"virtual_alias_maps": "memcache:{etc}/aliases.cf"},
        act=_write("aliases.cf", "memcache inet:127.0.0.1:11211\n"),
    ),
    "main-cf-recursive": Staging(
        "main-cf", "fatal: ", act=_break_main_cf("mydomain = $myhostname", "myhostname = app.$mydomain")
    ),
    "myorigin-file": Staging("mailname", "fatal: ", act=_break_main_cf("myorigin = /etc/nowhere/mailname")),
    "mailbox-limit": Staging(
        "mailbox-limit",
        "fatal: ",
        {"mailbox_size_limit": "1000"},
        act=lambda s: s.mail("root@client.example.test"),
    ),
    "milter-down": Staging("milter", "Milter service", {"non_smtpd_milters": "inet:127.0.0.1:1"}),
    # The host
    "resources": Staging("resources", "Too many open files", act=_few_descriptors),
    "no-resources": Staging(
        "resources", "status=", {"mail_spool_directory": "{folder}/spool"}, act=_full_mailbox
    ),
    "port-taken": Staging("port-taken", "fatal: ", act=_port_taken),
    "pickup-missing": Staging("postfix-stopped", "public/pickup", act=_no_pickup),
    "local-config": Staging(
        "local-config",
        "status=",
        {"mail_spool_directory": "/nowhere"},
        act=lambda s: s.mail("root@client.example.test"),
    ),
}


def record(name: str, folder: Path) -> list[str]:
    """Return the log of one fault."""
    staging = STAGINGS[name]
    syslog = Syslog(Path("/dev/log"))
    ca = CA()
    ca.write(folder)
    made = {name: value for name, value in staging.relay.items() if name != "no_starttls"}
    with ExitStack() as stack:
        relay = stack.enter_context(Relay(ca, RELAY, **{"users": {USER: PASSWORD}, "port": 587, **made}))
        relay.no_starttls = bool(staging.relay.get("no_starttls"))
        if name == "certificate-not-yet-valid":
            relay.certificate = ca.server_context(RELAY, not_yet_valid=True)
        relay.fault = staging.fault
        postfix = laid_out(folder, ca, staging.main_cf, relay.port)
        with (postfix.config_directory / "master.cf").open("a") as services:
            services.write(f"{staging.master}\n")
        stack.enter_context(postfix)
        staging.act(Stage(folder, postfix, relay, syslog))
        wait_for(
            lambda: any(staging.until in line for line in syslog.lines), 20, f"{name}: {staging.until!r}"
        )
        seen = len(syslog.lines)
    first = next(number for number, line in enumerate(syslog.lines) if staging.begins in line)
    return [_shortened(line, folder) for line in syslog.lines[first:seen]]


def _shortened(line: str, folder: Path) -> str:
    for long, short in (
        ("postfix/etc", "/etc/postfix"),
        ("postfix/queue", "/var/spool/postfix"),
        ("postfix/data", "/var/lib/postfix"),
    ):
        line = line.replace(str(folder / long), short)
    return line.replace(f"{folder}/spool", "/var/mail").replace(f"{folder}/ca.pem", "/etc/postfix/ca.pem")


def main() -> None:
    """Record all faults, or those named on the command line."""
    if sys.argv[1:2] == ["--inside"]:
        with prepared() as folder:
            lines = record(sys.argv[2], folder)
            (LOGS / f"{sys.argv[2]}.log").write_text("".join(f"{line}\n" for line in lines))
        return
    for name in sys.argv[1:] or STAGINGS:
        done = run_apart("tools.incidents.record", "--inside", name)
        sys.stdout.write(f"{name}: {'recorded' if done.returncode == 0 else 'FAILED'}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
