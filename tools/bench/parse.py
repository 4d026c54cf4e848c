"""Measure parsing: lines per second and microseconds per line, for a mix and for each kind of line.

The generated lines are always the same, in the proportions of a busy relay host. Nothing is asserted. Run
`python -m tools.bench.parse [seconds]` in the repository's root.
"""

import sys
import time
from collections.abc import Callable

from postward.parsers import cause_of, parse, parse_record

_EACH = 300
_HEADS = ("Nov 24 06:05:{:02d} mx1 ", "2025-11-24T06:05:{:02d}.123456+01:00 mx1 ")
_REPLY = "250 2.0.0 OK  1732428301 a640c23a62f3a-aa53{:04d}si1234567f8f.123 - gsmtp"
_KINDS: tuple[tuple[str, str], ...] = (
    ("pickup", "postfix/pickup[1201]: {qid}: uid=33 from=<www-data>"),
    ("smtpd connect", "postfix/smtpd[1202]: connect from app.example.com[192.0.2.17]"),
    ("smtpd client", "postfix/smtpd[1202]: {qid}: client=app.example.com[192.0.2.17]"),
    ("cleanup", "postfix/cleanup[1203]: {qid}: message-id=<20251124060501.{qid}@mx1.example.com>"),
    (
        "qmgr active",
        "postfix/qmgr[1204]: {qid}: from=<alerts@example.com>, size=4021, nrcpt=1 (queue active)",
    ),
    (
        "smtp tls",
        (
            "postfix/smtp[1205]: Trusted TLS connection established to smtp.example.net[198.51.100.9]:587: TLSv1.3 with "
            "cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 bits) "
            "server-digest SHA256"
        ),
    ),
    (
        "smtp sent",
        (
            "postfix/smtp[1205]: {qid}: to=<user{number}@example.org>, relay=smtp.example.net[198.51.100.9]:587, "
            "delay=1.3, delays=0.02/0.01/0.84/0.43, dsn=2.0.0, status=sent ({reply})"
        ),
    ),
    (
        "smtp deferred",
        (
            "postfix/smtp[1205]: {qid}: to=<user{number}@example.org>, relay=smtp.example.net[198.51.100.9]:587, "
            "delay=0.7, delays=0.02/0/0.68/0, dsn=4.7.8, status=deferred (SASL authentication failed; server "
            "smtp.example.net[198.51.100.9] said: 535 5.7.8 Error: authentication failed)"
        ),
    ),
    ("qmgr removed", "postfix/qmgr[1204]: {qid}: removed"),
    (
        "smtpd disconnect",
        "postfix/smtpd[1202]: disconnect from app.example.com[192.0.2.17] ehlo=1 mail=1 quit=1 commands=3",
    ),
    ("foreign", "dovecot: imap-login: Login: user=<user{number}>, method=PLAIN, rip=192.0.2.17"),
)


def make_lines(kind: str, number: int) -> list[str]:
    """Return `number` lines of one kind, alternating between the two common headers."""
    template = dict(_KINDS)[kind]
    return [
        _HEADS[index % 2].format(index % 60)
        + template.format(
            qid=f"{0x3C0FFEE000 + index * 37:X}", number=index, reply=_REPLY.format(index % 10_000)
        )
        for index in range(number)
    ]


def measure(work: Callable[[str], object], lines: list[str], seconds: float) -> float:
    """Return the seconds per line of the fastest round, which other processes disturbed least."""
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for line in lines:
            work(line)
        best = min(best, time.perf_counter() - start)
    return best / len(lines)


def _with_cause(line: str) -> object:
    event = parse(line)[1]
    return event is not None and cause_of(event)


def main(seconds: float) -> None:
    """Measure and print."""
    out = sys.stdout.write
    mixed = [
        line for group in zip(*(make_lines(kind, _EACH) for kind, _ in _KINDS), strict=True) for line in group
    ]
    for title, work in (("parse", parse), ("record only", parse_record), ("parse and cause", _with_cause)):
        cost = measure(work, mixed, seconds)
        out(f"{title:18} {1 / cost:12,.0f} lines/s {cost * 1e6:7.2f} µs/line\n")
    out("\n")
    for kind, _ in _KINDS:
        cost = measure(parse, make_lines(kind, _EACH), seconds / 4)
        out(f"{kind:18} {1 / cost:12,.0f} lines/s {cost * 1e6:7.2f} µs/line\n")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
