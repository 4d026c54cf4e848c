"""Generated logs, always the same, for benchmarks: three of a relay host that differ in how much fails, one of a server.

`healthy` fails 2 % of its mail, `mixed` 14 %; of `trouble`, 45 % is deferred and 10 % bounced, each with a reason of its
own. `server` is an MX: mostly smtpd(8), postscreen(8), guessed passwords and rejects.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

_RELAYS: Final = ("smtp.example.net", "smtp.example.org")
_WORD_LIST: Final = (
    "account address again blocked busy content daily denied domain exceeded later limit mailbox message quota rate "
    "reached recipient refused reputation review sender server service system temporarily too unavailable user"
)
_WORDS: Final = _WORD_LIST.split()
_DEFERRED: Final = (
    ("4.7.0", "host {relay}[{address}] said: 421 4.7.0 Try again later (in reply to MAIL FROM command)"),
    ("4.7.8", "SASL authentication failed; server {relay}[{address}] said: 535 5.7.8 Authentication failed"),
    ("4.4.1", "connect to {relay}[{address}]:587: Connection timed out"),
)
_BOUNCED: Final = (
    "5.1.1",
    "host {relay}[{address}] said: 550 5.1.1 <{to}>: User unknown (in reply to RCPT TO command)",
)
_Lines = Callable[[random.Random], list[str]]


def log_lines(number: int, kind: str = "mixed") -> Iterator[str]:
    """Yield `number` lines of a kind of log, with their line ends."""
    lines, rnd = KINDS[kind], random.Random(7)  # noqa: S311 -- the same log each time
    now = datetime(2026, 11, 22)  # noqa: DTZ001 -- a log has local time
    left = number
    while left > 0:
        for text in lines(rnd)[:left]:
            now += timedelta(milliseconds=rnd.randint(1, 40))
            left -= 1
            yield f"{now:%b %d %H:%M:%S} mx1 postfix/{text}\n"


def _relayed(deferred: float, bounced: float, *, varied: bool = False) -> _Lines:
    """Return a function for the lines of a mail that leaves through a relay, with these shares of failures."""

    def lines(rnd: random.Random) -> list[str]:
        fate = rnd.random()
        if fate >= deferred + bounced:
            return _mail(rnd, "2.0.0", "sent", f"250 2.0.0 Ok: queued as {rnd.getrandbits(44):X}")
        status = "deferred" if fate < deferred else "bounced"
        dsn, reason = rnd.choice(_DEFERRED) if status == "deferred" else _BOUNCED
        if varied:
            code = "451" if status == "deferred" else "554"
            words = " ".join(rnd.choices(_WORDS, k=rnd.randint(8, 40)))
            reason = f"host {{relay}}[{{address}}] said: {code} {dsn} {words} {rnd.getrandbits(40):x} (in reply to RCPT TO command)"
        return _mail(rnd, dsn, status, reason)

    return lines


def _mail(rnd: random.Random, dsn: str, status: str, reason: str) -> list[str]:
    queue_id = f"4{rnd.getrandbits(60):015X}"
    client = f"app{rnd.randint(1, 50)}.example.com[192.0.2.{rnd.randint(1, 254)}]"
    relay, address = rnd.choice(_RELAYS), f"198.51.100.{rnd.randint(1, 9)}"
    to = f"user{rnd.randint(1, 9999)}@example{rnd.randint(1, 500)}.com"
    delays = [round(0.01 + rnd.random() * 2, 2) for _ in range(4)]
    named = [
        f"cleanup[1203]: {queue_id}: message-id=<{rnd.getrandbits(60):x}@mx1.example.com>",
        f"qmgr[1204]: {queue_id}: from=<app@example.com>, size={rnd.randint(500, 90000)}, nrcpt=1 (queue active)",
    ]
    if rnd.random() < 0.5:
        lines = [
            f"smtpd[1202]: connect from {client}",
            f"smtpd[1202]: {queue_id}: client={client}",
            *named,
            f"smtpd[1202]: disconnect from {client} ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
        ]
    else:
        lines = [f"pickup[1201]: {queue_id}: uid=33 from=<www-data>", *named]
    if rnd.random() < 0.4:
        lines.append(
            f"smtp[1205]: Trusted TLS connection established to {relay}[{address}]:587: TLSv1.3 with cipher "
            "TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256"
        )
    reason = reason.format(relay=relay, address=address, to=to)
    lines.append(
        f"smtp[1205]: {queue_id}: to=<{to}>, relay={relay}[{address}]:587, delay={sum(delays):.2g}, "
        f"delays={'/'.join(format(delay, '.2g') for delay in delays)}, dsn={dsn}, status={status} ({reason})"
    )
    if status == "bounced":
        lines.append(
            f"bounce[1206]: {queue_id}: sender non-delivery notification: 4{rnd.getrandbits(60):015X}"
        )
    if status != "deferred":
        lines.append(f"qmgr[1204]: {queue_id}: removed")
    return lines


def _visit(rnd: random.Random) -> list[str]:
    """Return the lines of one visitor of an MX."""
    address = ".".join(str(rnd.randint(1, 254)) for _ in range(4))
    client, port = f"unknown[{address}]", rnd.randint(1024, 65000)
    to = f"user{rnd.randint(1, 999)}@example.com"
    screened = [f"postscreen[900]: CONNECT from [{address}]:{port} to [192.0.2.1]:25"]
    connect = f"smtpd[1202]: connect from {client}"
    fate = rnd.random()
    if fate < 0.35:
        return [
            *screened,
            f"dnsblog[901]: addr {address} listed by domain zen.example.org as 127.0.0.{rnd.randint(2, 11)}",
            f"postscreen[900]: DNSBL rank {rnd.randint(3, 9)} for [{address}]:{port}",
            (
                f"postscreen[900]: NOQUEUE: reject: RCPT from [{address}]:{port}: 550 5.7.1 Service unavailable; client [{address}] "
                f"blocked using zen.example.org; from=<a{port}@example.net>, to=<{to}>, proto=ESMTP, helo=<h{port}.example.net>"
            ),
            f"postscreen[900]: DISCONNECT [{address}]:{port}",
        ]
    if fate < 0.6:
        return [
            connect,
            f"smtpd[1202]: warning: {client}: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=info{port % 40}",
            f"smtpd[1202]: disconnect from {client} ehlo=1 auth=0/1 quit=1 commands=2/3",
        ]
    if fate < 0.8:
        return [
            *screened,
            f"postscreen[900]: PASS OLD [{address}]:{port}",
            connect,
            (
                f"smtpd[1202]: NOQUEUE: reject: RCPT from {client}: 554 5.7.1 <{to}>: Relay access denied; "
                f"from=<a{port}@example.net> to=<{to}> proto=ESMTP helo=<h{port}.example.net>"
            ),
            f"smtpd[1202]: lost connection after RCPT from {client}",
            f"smtpd[1202]: disconnect from {client} ehlo=1 mail=1 rcpt=0/1 commands=2/3",
        ]
    queue_id = f"4{rnd.getrandbits(60):015X}"
    return [
        *screened,
        f"postscreen[900]: PASS OLD [{address}]:{port}",
        connect,
        (
            f"smtpd[1202]: Anonymous TLS connection established from {client}: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 "
            "(256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256"
        ),
        f"smtpd[1202]: {queue_id}: client={client}",
        f"cleanup[1203]: {queue_id}: message-id=<{rnd.getrandbits(60):x}@example.net>",
        f"qmgr[1204]: {queue_id}: from=<a@example.net>, size={rnd.randint(500, 90000)}, nrcpt=1 (queue active)",
        f"smtpd[1202]: disconnect from {client} ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7",
        (
            f"lmtp[1207]: {queue_id}: to=<{to}>, relay=mx1.example.com[private/dovecot-lmtp], delay=0.3, delays=0.2/0.01/0.01/0.08, "
            f"dsn=2.0.0, status=sent (250 2.0.0 <{to}> {rnd.getrandbits(40):x} Saved)"
        ),
        f"qmgr[1204]: {queue_id}: removed",
    ]


KINDS: Final[Mapping[str, _Lines]] = {
    "healthy": _relayed(0.015, 0.005),
    "mixed": _relayed(0.10, 0.04),
    "trouble": _relayed(0.45, 0.10, varied=True),
    "server": _visit,
}
