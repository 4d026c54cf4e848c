"""What expires or changes at a relay before it breaks mail: each change an event, told once.

Promise: pure; what a look did not reach (a relay that is down, a certificate that was not sent) is no change and
forgets nothing. Relays behind pools answer with other addresses each time: an address is news only if the relay did
not have it for a week. All that is remembered is bounded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from postward.agent.relay.check import RelayCheck

_DAY = 86400.0
_WARN_DAYS = (30, 14, 7, 3, 1)  # before a certificate ends
_ADDRESS_MEMORY = 7 * _DAY
_MAX_ADDRESSES = 256
_TLS_ORDER = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

Kind = Literal[
    "starttls_gone",
    "starttls_back",
    "capability_gone",
    "auth_mechanism_gone",
    "tls_version_lower",
    "tls_version_higher",
    "certificate_expires",
    "certificate_expired",
    "certificate_invalid",
    "certificate_valid",
    "certificate_issuer",
    "certificate_key",
    "certificate_renewed",
    "addresses",
]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]
# What wants a human; everything else is good to know.
ALARMS: frozenset[Kind] = frozenset(
    {
        "starttls_gone",
        "auth_mechanism_gone",
        "tls_version_lower",
        "certificate_expires",
        "certificate_expired",
        "certificate_invalid",
    }
)


@dataclass(frozen=True, slots=True)
class Change:
    """One event: what kind, and the words for a human."""

    relay: str
    kind: Kind
    words: str

    @property
    def alarm(self) -> bool:
        """True if it wants a human."""
        return self.kind in ALARMS


@dataclass(slots=True)
class Seen:
    """What is remembered of a relay. Absence is None: it was never seen.

    `warned` is the number of days of the last warning of the certificate's end; 0 once it has ended.
    """

    starttls: bool | None = None
    capabilities: list[str] | None = None
    mechanisms: list[str] | None = None
    tls_version: str | None = None
    issuer: str | None = None
    key: str | None = None
    fingerprint: str | None = None
    not_after: float | None = None
    problem: str | None = None
    warned: int | None = None
    addresses: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Seen":
        """What `as_json` made. Raises TypeError for anything else."""
        return cls(**data)


def look(seen: Seen, check: RelayCheck, now: float) -> list[Change]:
    """What changed since the last look; `seen` remembers this one."""
    changes: list[Change] = []
    for watch in (
        _addresses,
        _starttls,
        _capabilities,
        _mechanisms,
        _tls_version,
        _certificate,
        _validity,
        _expiry,
    ):
        changes += [Change(check.relay, kind, words) for kind, words in watch(seen, check, now)]
    return changes


Found = Iterator[tuple[Kind, str]]


def _addresses(seen: Seen, check: RelayCheck, now: float) -> Found:
    known = {address: moment for address, moment in seen.addresses.items() if now - moment < _ADDRESS_MEMORY}
    new = [address for address in check.addresses if address not in known]
    if new and known:
        yield "addresses", f"{check.host} has new addresses: {', '.join(new[:8])}"
    known |= dict.fromkeys(check.addresses, now)
    seen.addresses = dict(sorted(known.items(), key=lambda item: item[1])[-_MAX_ADDRESSES:])


def _starttls(seen: Seen, check: RelayCheck, _now: float) -> Found:
    if check.starttls is None:
        return
    if seen.starttls and not check.starttls:
        yield (
            "starttls_gone",
            "STARTTLS is no longer offered: somebody on the way, or the relay itself, strips encryption",
        )
    elif seen.starttls is False and check.starttls:
        yield "starttls_back", "STARTTLS is offered"
    seen.starttls = check.starttls


def _complete(check: RelayCheck) -> bool:
    """What EHLO told can be compared only where it was told under the same conditions: after TLS, if there is any."""
    return check.step in {"", "auth", "quit"}


def _capabilities(seen: Seen, check: RelayCheck, _now: float) -> Found:
    if not _complete(check):
        return
    now = sorted(set(check.capabilities) - {"STARTTLS", "AUTH"})
    gone = [name for name in seen.capabilities or () if name not in now]
    if gone:
        yield "capability_gone", f"no longer offered: {', '.join(gone)}"
    seen.capabilities = now[:64]


def _mechanisms(seen: Seen, check: RelayCheck, _now: float) -> Found:
    if not _complete(check):
        return
    gone = [name for name in seen.mechanisms or () if name not in check.mechanisms]
    if gone:
        yield (
            "auth_mechanism_gone",
            f"AUTH no longer offers {', '.join(gone)}; left: {', '.join(check.mechanisms) or 'none'}",
        )
    seen.mechanisms = check.mechanisms[:32]


def _tls_version(seen: Seen, check: RelayCheck, _now: float) -> Found:
    if check.tls_version is None:
        return
    before, after = _rank(seen.tls_version), _rank(check.tls_version)
    if before is not None and after is not None and before != after:
        kind: Kind = "tls_version_lower" if after < before else "tls_version_higher"
        yield kind, f"TLS version {seen.tls_version} became {check.tls_version}"
    seen.tls_version = check.tls_version


def _rank(version: str | None) -> int | None:
    return _TLS_ORDER.index(version) if version in _TLS_ORDER else None


def _certificate(seen: Seen, check: RelayCheck, _now: float) -> Found:
    leaf = check.certificate
    if leaf is None:
        return
    if seen.fingerprint is not None and seen.fingerprint != leaf.fingerprint:
        if seen.issuer != leaf.issuer:
            yield (
                "certificate_issuer",
                f"the certificate is now issued by {leaf.issuer}, before by {seen.issuer}",
            )
        if seen.key != leaf.key:
            yield "certificate_key", f"the certificate has another key; fingerprint {leaf.fingerprint}"
        yield "certificate_renewed", f"a new certificate, valid until {_day(leaf.not_after)}"
    if seen.fingerprint != leaf.fingerprint:
        seen.warned = None
    seen.fingerprint, seen.issuer, seen.key = leaf.fingerprint, leaf.issuer, leaf.key
    seen.not_after = leaf.not_after


def _validity(seen: Seen, check: RelayCheck, _now: float) -> Found:
    if check.certificate is None:
        return
    if check.problem and check.problem != seen.problem:
        yield "certificate_invalid", f"the certificate is not valid for {check.host}: {check.problem}"
    elif seen.problem and not check.problem:
        yield "certificate_valid", f"the certificate is valid for {check.host}"
    seen.problem = check.problem


def _expiry(seen: Seen, _check: RelayCheck, now: float) -> Found:
    """Also of a certificate that was seen before and could not be seen today."""
    if seen.not_after is None:
        return
    left = (seen.not_after - now) / _DAY
    reached = 0 if left <= 0 else min((days for days in _WARN_DAYS if left <= days), default=None)
    if reached is None or (seen.warned is not None and seen.warned <= reached):
        return
    seen.warned = reached
    if left <= 0:
        yield "certificate_expired", f"the certificate expired on {_day(seen.not_after)}"
    else:
        yield "certificate_expires", f"the certificate ends in {left:.0f} days, on {_day(seen.not_after)}"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
