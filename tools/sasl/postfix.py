"""The SASL plug-in inside a real smtp(8): under valgrind, and its CPU time beside logins without it.

`under_valgrind` runs smtp(8) of a private Postfix by a wrapper in a daemon directory of links. `measure` puts a Postfix
into a cgroup of its own, whose CPU time all of its processes share.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support import CA, PostfixInstance, Relay
from tests.support.sasl import with_plugin, without_plugin
from tests.support.waiting import wait_for

USER, TOKEN = "app@example.com", "t" * 3000
_BY_TOKEN = {"smtp_sasl_mechanism_filter": "xoauth2,oauthbearer", "smtp_sasl_tls_security_options": ""}
_BY_PASSWORD = {"smtp_sasl_mechanism_filter": "login", "smtp_sasl_tls_security_options": "noanonymous"}
# Name → parameters of a Postfix, and whether the relay offers passwords only.
WAYS: Mapping[str, Mapping[str, str]] = {
    "password, no plug-in": _BY_PASSWORD,
    "password, plug-in": {**_BY_PASSWORD, "plugin": "yes"},
    "token of 3000 bytes, plug-in": {**_BY_TOKEN, "plugin": "yes"},
}
_BATCH = 20  # mails
_CGROUP = Path("/sys/fs/cgroup/cpuacct")


@contextmanager
def _sender(folder: Path, relay: Relay, way: Mapping[str, str], **main_cf: str) -> Iterator[PostfixInstance]:
    """A Postfix that logs in to the relay in one of WAYS, once for each mail."""
    parameters = {name: value for name, value in way.items() if name != "plugin"}
    main_cf = {
        "relayhost": f"[127.0.0.1]:{relay.port}",
        "smtp_tls_security_level": "encrypt",
        "smtp_sasl_auth_enable": "yes",
        "smtp_connection_cache_on_demand": "no",
        **parameters,
        **(with_plugin() if "plugin" in way else without_plugin()),
        **main_cf,
    }
    postfix = PostfixInstance(folder, main_cf)
    table = postfix.config_directory / "sasl_passwd"
    table.write_text(f"[127.0.0.1]:{relay.port} {USER}:{TOKEN}\n")
    postfix.build_table(table)
    postfix.set(smtp_sasl_password_maps=f"hash:{table}")
    with postfix:
        yield postfix


def _send(postfix: PostfixInstance, relay: Relay, number: int) -> None:
    relay.forget()
    postfix.inject([f"u{count}@dest.test" for count in range(number)])
    wait_for(lambda: len(relay.messages) >= number, 120, "the mails")


# xsasl/xsasl_cyrus_client.c copies the password for each login by any mechanism, and never frees the copy.
_SUPPRESSED = """{
   the copy of the password that Postfix makes
   Memcheck:Leak
   match-leak-kinds: definite
   fun:malloc
   obj:*/smtp
   fun:step
}
"""


def under_valgrind(mails: int = 10) -> str:
    """Send mails, accepted and refused ones, by an smtp(8) under valgrind. Return valgrind's output."""
    with (
        tempfile.TemporaryDirectory(prefix="valgrind-") as name,
        Relay(CA(), users={USER: TOKEN}, mechanisms=("XOAUTH2", "OAUTHBEARER")) as relay,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        real = Path(PostfixInstance(folder / "none").postconf("daemon_directory")["daemon_directory"])
        daemons = folder / "daemons"
        daemons.mkdir()
        for program in real.iterdir():
            (daemons / program.name).symlink_to(program)
        (daemons / "smtp").unlink()
        (daemons / "smtp").write_text(
            "#!/bin/sh\nexec /usr/bin/valgrind --leak-check=full --show-leak-kinds=definite,indirect "
            "--errors-for-leak-kinds=none --keep-debuginfo=yes "
            f'--suppressions={folder}/suppressed --log-file={folder}/valgrind.%p {real}/smtp "$@"\n'
        )
        (daemons / "smtp").chmod(0o755)
        (folder / "suppressed").write_text(_SUPPRESSED)
        settings = {"daemon_directory": str(daemons), "max_idle": "2s"}
        with _sender(folder / "postfix", relay, WAYS["token of 3000 bytes, plug-in"], **settings) as postfix:
            _send(postfix, relay, mails)
            relay.tokens = lambda _user, _token: False
            postfix.inject(["refused@dest.test"])
            wait_for(lambda: postfix.log_lines("the relay refuses the token"), 120, "a refusal")
            wait_for(lambda: not _running(folder), 60, "smtp(8) to end after its idle time")
        return "\n".join(path.read_text() for path in sorted(folder.glob("valgrind.*")))


def _running(folder: Path) -> bool:
    """Return whether a process of valgrind has not written its summary yet."""
    logs = list(folder.glob("valgrind.*"))
    return not logs or any("ERROR SUMMARY" not in path.read_text() for path in logs)


def measure(seconds: float, rounds: int = 6) -> dict[str, list[float]]:
    """Return the CPU time of a mail in each of WAYS, in milliseconds, one value a round; the ways take turns."""
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            mechanisms = ("LOGIN",) if "password" in name else ("XOAUTH2",)
            with (
                tempfile.TemporaryDirectory(prefix="cpu-") as folder,
                Relay(CA(), users={USER: TOKEN}, mechanisms=mechanisms) as relay,
                _sender(Path(folder) / "p", relay, way, smtp_destination_concurrency_limit="2") as postfix,
            ):
                times[name].append(_cpu_of_mail(postfix, relay, seconds / rounds))
    return times


def _cpu_of_mail(postfix: PostfixInstance, relay: Relay, seconds: float) -> float:
    group = _CGROUP / f"postward-sasl-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    try:
        for pid in postfix.pids():
            (group / "cgroup.procs").write_text(f"{pid}\n")
        _send(postfix, relay, _BATCH)  # starts the processes
        begun, end, mails = _usage(group), time.monotonic() + seconds, 0
        while time.monotonic() < end:
            _send(postfix, relay, _BATCH)
            mails += _BATCH
        return (_usage(group) - begun) / mails / 1e6
    finally:
        postfix.stop()
        group.rmdir()


def _usage(group: Path) -> int:
    return int((group / "cpuacct.usage").read_text())
