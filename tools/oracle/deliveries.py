"""Compares hops with real deliveries: the TLS level, the wrapper mode and the login that smtp(8) logs with -v.

Runs in network and mount namespaces (`tools.incidents.stage`), where the relays have their usual ports and names.
`python -m tools.oracle --deliveries 60` starts it. Each delivery has a process of its own, because smtp(8) logs its
global level only once.
"""

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.tables import read_configuration
from postward.config.routing import Hop, Route, routes
from postward.config.routing.hops import INVALID
from tests.support import CA, PostfixInstance, Relay, wait_for
from tools.incidents.stage import prepared, put_over
from tools.oracle.generate import HOST, ODD, RELAY_HOSTS, Case, Generator, parameters
from tools.oracle.real import with_overrides, write_tables

_PORTS = {25: "starttls", 587: "starttls", 2525: "starttls", 10024: "none", 465: "implicit"}
# The relays have an address of their own: smtp(8) does not connect to port 25 of its own host.
_FILTER, _RELAYS = "127.0.0.1", "127.0.0.2"
_CONNECT = re.compile(r": connecting to (\S+) port (\d+)")
_GLOBAL = re.compile(r"global TLS level: (\S+)")
_USER = re.compile(r"smtp_sasl_passwd_lookup: host `[^']*' user `([^']*)'")


class Attempt(NamedTuple):
    """An attempt at a destination, as smtp(8) logs it.

    The level is "" if none was looked up, because no address was found. The user is None if none was looked up, "" if
    none was found.
    """

    host: str
    port: int
    level: str
    user: str | None
    wrapper_refused: bool


def main() -> int:
    """Run the deliveries, print differences and counts, and return the exit status: 1 if there is a difference."""
    parser = argparse.ArgumentParser(prog="python -m tools.oracle.deliveries")
    parser.add_argument("cases", type=int)
    parser.add_argument("seed", type=int)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    with prepared() as folder, ExitStack() as stack:
        put_over(
            Path("/etc/hosts"),
            folder / "hosts",
            f"127.0.0.1 localhost {HOST}\n{_RELAYS} {' '.join(RELAY_HOSTS)}\n",
        )
        for port, tls in _PORTS.items():
            relay = Relay(CA(), users={}, tls=tls, auth_required=False, port=port)
            relay.host = _FILTER if tls == "none" else _RELAYS
            relay.auth_without_tls = True
            stack.enter_context(relay)
        place = folder / "postfix"
        place.mkdir()
        instance = stack.enter_context(PostfixInstance(place, {"compatibility_level": "3.6"}))
        kept = instance.postconf("-n")
        master_cf = (instance.config_directory / "master.cf").read_text()
        types = PostfixConfig(instance.config_directory).facts().map_types
        for number, case in enumerate(Generator(options.seed, types).cases(options.cases, mails=3), 1):
            _use(case, instance, kept, master_cf)
            for text in _differences(case, instance, counts):
                sys.stdout.write(f"case {number}: {text}\n")
        shown = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        sys.stdout.write(f"deliveries of {options.cases} configurations: {shown}\n")
    return int(any(name.endswith("different") for name in counts))


def _use(case: Case, instance: PostfixInstance, kept: dict[str, str], master_cf: str) -> None:
    """Write the configuration of a case, and load it."""
    etc = instance.config_directory
    values = {**kept, **parameters(case, str(write_tables(case, etc)))}
    values |= {
        "defer_transports": "",
        "max_use": "1",
        "smtp_dns_support_level": "disabled",  # names are in the hosts file
        "smtp_helo_timeout": "2s",
        "smtp_starttls_timeout": "2s",
        "minimal_backoff_time": "1h",
        "maximal_backoff_time": "1h",
        "queue_run_delay": "1h",
        "virtual_alias_recursion_limit": "20",
        "virtual_alias_expansion_limit": "30",
    }
    (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
    instance.settle()
    lines = re.sub(r"\n\s+", " ", master_cf).splitlines()
    lines = [re.sub(r" smtp( -o|$)", r" smtp -v\1", line) for line in [*lines, *case.services]]
    (etc / "master.cf").write_text("\n".join(with_overrides(lines, case)) + "\n")
    instance.delete_all()
    instance.reload()


def _differences(case: Case, instance: PostfixInstance, counts: Counter[str]) -> Iterator[str]:
    config = read_configuration(PostfixConfig(instance.config_directory))
    for sender, recipient in case.mails:
        answers = routes(sender, recipient, config)
        route = answers[0]
        odd = {sender, recipient} & set(ODD)  # a mail's header cannot have them as they are
        if (
            odd
            or len(answers) > 1
            or route.unknown
            or not route.hops
            or any(hop.unknown for hop in route.hops)
        ):
            counts["mails: left out"] += 1
            continue
        begin = len(instance.log())
        try:
            message_id = instance.sendmail(recipient, sender)
            log = wait_for(partial(_log_of, instance, message_id, begin), what="the delivery")
        except AssertionError as error:
            counts["mails: not delivered"] += 1
            yield f"{sender} to {recipient}: {str(error)[:200]}"
            continue
        yield from _compared(f"{sender or '<>'} to {recipient}", route, list(_attempts(log)), counts)


def _log_of(instance: PostfixInstance, message_id: str, begin: int) -> str:
    """Return the lines of the process that tried a mail, which tries no other; "" before it has."""
    log = instance.log()[begin:]
    queue_id = re.search(rf"cleanup\[\d+\]: (\w+): message-id={re.escape(message_id)}", log)
    done = queue_id and re.search(rf"\w+(\[\d+\]): {queue_id[1]}: to=<.*status=\w+", log)
    return "".join(line for line in log.splitlines(keepends=True) if done and f"{done[1]}: " in line)


def _attempts(log: str) -> Iterator[Attempt]:
    _, *parts = re.split(r"(?m)^.*(?=: connecting to \S+ port \d+$)", log)
    level = _GLOBAL.search(log)
    for part in parts:
        connect = _CONNECT.match(part)
        assert connect
        levels = re.findall(r"effective TLS level: (\S+)", part)
        invalid, refused = (
            "TLS policy lookup for" in part,
            'requires "smtp_tls_security_level = encrypt"' in part,
        )
        tried = invalid or refused or " trying: " in part
        users = _USER.findall(part)
        missing = "no auth info found" in part
        yield Attempt(
            connect[1],
            int(connect[2]),
            INVALID if invalid else levels[-1] if levels else level[1] if level and tried else "",
            users[-1] if users else "" if missing else None,
            refused,
        )


def _compared(what: str, route: Route, attempts: list[Attempt], counts: Counter[str]) -> Iterator[str]:
    if not attempts:
        counts["mails: without an attempt"] += 1
    for attempt, hop in zip(attempts, route.hops, strict=False):
        for kind, theirs, ours in _pairs(attempt, hop):
            counts[f"{kind}: {'equal' if theirs == ours else 'different'}"] += 1
            if theirs != ours:
                yield f"{what} at {hop.destination}: {kind}: Postfix {theirs}, routing {ours}"


def _pairs(attempt: Attempt, hop: Hop) -> Iterator[tuple[str, object, object]]:
    yield "destination", (attempt.host, attempt.port), (hop.host, hop.port)
    if attempt.level:
        yield "level", attempt.level, hop.level
        refused = hop.wrapper and hop.level in {"none", "may"}
        yield "wrapper", attempt.wrapper_refused, refused
    if attempt.user is not None:
        yield "login", attempt.user, hop.login.user if hop.login else ""


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
