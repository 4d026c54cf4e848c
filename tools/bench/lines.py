"""A generated log of a busy relay host, always the same: half of the mail arrives by SMTP, 90 % are sent."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

_RELAYS = ("smtp.example.net", "smtp.example.org")
_REPLIES = (
    (90, "2.0.0", "sent", "250 2.0.0 Ok: queued as {token}"),
    (
        4,
        "4.7.0",
        "deferred",
        "host {relay}[{address}] said: 421 4.7.0 Try again later (in reply to MAIL FROM command)",
    ),
    (
        3,
        "5.1.1",
        "bounced",
        "host {relay}[{address}] said: 550 5.1.1 <{to}>: User unknown (in reply to RCPT TO command)",
    ),
    (
        2,
        "4.7.8",
        "deferred",
        "SASL authentication failed; server {relay}[{address}] said: 535 5.7.8 Authentication failed",
    ),
    (1, "4.4.1", "deferred", "connect to {relay}[{address}]:587: Connection timed out"),
)


def log_lines(number: int) -> Iterator[str]:
    """Yield `number` lines with their line ends."""
    rnd = random.Random(7)  # noqa: S311 -- the same log each time
    now = datetime(2026, 11, 22)  # noqa: DTZ001 -- a log has local time
    left = number
    while left > 0:
        for text in _mail(rnd)[:left]:
            now += timedelta(milliseconds=rnd.randint(1, 40))
            left -= 1
            yield f"{now:%b %d %H:%M:%S} mx1 postfix/{text}\n"


def _mail(rnd: random.Random) -> list[str]:
    """Return the lines of one message."""
    queue_id = f"4{rnd.getrandbits(60):015X}"
    client = f"app{rnd.randint(1, 50)}.example.com[192.0.2.{rnd.randint(1, 254)}]"
    relay, address, to = (
        rnd.choice(_RELAYS),
        f"198.51.100.{rnd.randint(1, 9)}",
        f"user{rnd.randint(1, 9999)}@example.com",
    )
    delays = [round(0.01 + rnd.random() * 2, 2) for _ in range(4)]
    [(_, dsn, status, reply)] = rnd.choices(_REPLIES, [weight for weight, *_ in _REPLIES])
    reason = reply.format(token=f"{rnd.getrandbits(44):X}", relay=relay, address=address, to=to)
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
    lines.append(
        f"smtp[1205]: {queue_id}: to=<{to}>, relay={relay}[{address}]:587, delay={sum(delays):.2g}, "
        f"delays={'/'.join(format(delay, '.2g') for delay in delays)}, dsn={dsn}, status={status} ({reason})"
    )
    if status != "deferred":
        lines.append(f"qmgr[1204]: {queue_id}: removed")
    return lines
