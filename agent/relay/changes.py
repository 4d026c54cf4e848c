"""What expires or changes at a relay before it breaks mail: each change is one event, reported once.

Promise: pure. A property that a check did not reach (a relay that is down, a certificate that was not sent) is not a
change, and is remembered. Relays with a pool of addresses answer with other addresses each time: an address is reported
only if the relay did not have it for a week. All that is remembered is bounded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from postward.agent.metrics.labels import TLS_PROTOCOLS
from postward.agent.relay.check import RelayCheck
from postward.agent.stored import Form

_DAY = 86400.0
_WARN_DAYS = (30, 14, 7, 3, 1)  # before a certificate expires
_ADDRESS_MEMORY = 7 * _DAY
_MAX_ADDRESSES = 256
_MAX_CAPABILITIES = 64
_MAX_MECHANISMS = 32

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
KINDS: tuple[Kind, ...] = get_args(Kind)
# Changes that need an operator; the others are for information.
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
    """One event: the relay's name, the kind, and a sentence."""

    relay: str
    kind: Kind
    detail: str

    @property
    def alarm(self) -> bool:
        """True if it needs an operator."""
        return self.kind in ALARMS


@dataclass(slots=True)
class RelaySnapshot:
    """The properties of a relay that earlier checks saw; None: never seen.

    Attributes:
        warned: days left at the last warning of the certificate's expiry; 0 after it.
        addresses: address → when it was last seen, in seconds since the epoch.
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

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RelaySnapshot":
        """Read what `to_dict` returned. Raises ValueError for anything else."""
        return _FORM.check(data)


_FORM: Form[RelaySnapshot] = Form(RelaySnapshot)


def update(snapshot: RelaySnapshot, check: RelayCheck, now: float) -> list[Change]:
    """Return what changed since the last check, and take this one into the snapshot. `now`: seconds since the epoch."""
    return [
        Change(check.relay, kind, detail)
        for compare in _COMPARISONS
        for kind, detail in compare(snapshot, check, now)
    ]


Changes = Iterator[tuple[Kind, str]]


def _addresses(snapshot: RelaySnapshot, check: RelayCheck, now: float) -> Changes:
    known = {
        address: last_seen
        for address, last_seen in snapshot.addresses.items()
        if now - last_seen < _ADDRESS_MEMORY
    }
    new = [address for address in check.addresses if address not in known]
    if new and known:
        yield "addresses", f"{check.host} has new addresses: {', '.join(new[:8])}"
    known |= dict.fromkeys(check.addresses, now)
    snapshot.addresses = dict(sorted(known.items(), key=lambda item: item[1])[-_MAX_ADDRESSES:])


def _starttls(snapshot: RelaySnapshot, check: RelayCheck, _now: float) -> Changes:
    if check.starttls is None:
        return
    if snapshot.starttls and not check.starttls:
        detail = "STARTTLS is no longer offered: the relay, or a host on the way to it, strips encryption"
        yield "starttls_gone", detail
    elif snapshot.starttls is False and check.starttls:
        yield "starttls_back", "STARTTLS is offered"
    snapshot.starttls = check.starttls


def _capabilities(snapshot: RelaySnapshot, check: RelayCheck, _now: float) -> Changes:
    if not check.reachable:  # EHLO answers can only be compared under the same conditions: after TLS
        return
    offered = sorted(set(check.capabilities) - {"STARTTLS", "AUTH"})
    gone = [name for name in snapshot.capabilities or () if name not in offered]
    if gone:
        yield "capability_gone", f"no longer offered: {', '.join(gone)}"
    snapshot.capabilities = offered[:_MAX_CAPABILITIES]


def _mechanisms(snapshot: RelaySnapshot, check: RelayCheck, _now: float) -> Changes:
    if not check.reachable:
        return
    gone = [name for name in snapshot.mechanisms or () if name not in check.mechanisms]
    if gone:
        left = ", ".join(check.mechanisms) or "none"
        yield "auth_mechanism_gone", f"AUTH no longer offers {', '.join(gone)}; left: {left}"
    snapshot.mechanisms = check.mechanisms[:_MAX_MECHANISMS]


def _tls_version(snapshot: RelaySnapshot, check: RelayCheck, _now: float) -> Changes:
    if check.tls_version is None:
        return
    before, after = _rank(snapshot.tls_version), _rank(check.tls_version)
    if before is not None and after is not None and before != after:
        kind: Kind = "tls_version_lower" if after < before else "tls_version_higher"
        yield kind, f"TLS version {snapshot.tls_version} became {check.tls_version}"
    snapshot.tls_version = check.tls_version


def _rank(version: str | None) -> int | None:
    return TLS_PROTOCOLS.index(version) if version in TLS_PROTOCOLS else None


def _certificate(snapshot: RelaySnapshot, check: RelayCheck, _now: float) -> Changes:
    leaf = check.certificate
    if leaf is None:
        return
    if snapshot.fingerprint is not None and snapshot.fingerprint != leaf.fingerprint:
        if snapshot.issuer != leaf.issuer:
            detail = f"the certificate is now issued by {leaf.issuer}, before by {snapshot.issuer}"
            yield "certificate_issuer", detail
        if snapshot.key != leaf.key:
            yield "certificate_key", f"the certificate has another key; fingerprint {leaf.fingerprint}"
        yield "certificate_renewed", f"a new certificate, valid until {_day(leaf.not_after)}"
    if snapshot.fingerprint != leaf.fingerprint:
        snapshot.warned = None
    snapshot.fingerprint, snapshot.issuer, snapshot.key = leaf.fingerprint, leaf.issuer, leaf.key
    snapshot.not_after = leaf.not_after


def _validity(snapshot: RelaySnapshot, check: RelayCheck, _now: float) -> Changes:
    if check.certificate is None:
        return
    if check.problem and check.problem != snapshot.problem:
        yield "certificate_invalid", f"the certificate is not valid for {check.host}: {check.problem}"
    elif snapshot.problem and not check.problem:
        yield "certificate_valid", f"the certificate is valid for {check.host}"
    snapshot.problem = check.problem


def _expiry(snapshot: RelaySnapshot, _check: RelayCheck, now: float) -> Changes:
    """Warn also of a certificate that this check did not see."""
    if snapshot.not_after is None:
        return
    left = (snapshot.not_after - now) / _DAY
    reached = 0 if left <= 0 else min((days for days in _WARN_DAYS if left <= days), default=None)
    if reached is None or (snapshot.warned is not None and snapshot.warned <= reached):
        return
    snapshot.warned = reached
    if left <= 0:
        yield "certificate_expired", f"the certificate expired on {_day(snapshot.not_after)}"
    else:
        detail = f"the certificate expires in {left:.0f} days, on {_day(snapshot.not_after)}"
        yield "certificate_expires", detail


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


_COMPARISONS = (
    _addresses,
    _starttls,
    _capabilities,
    _mechanisms,
    _tls_version,
    _certificate,
    _validity,
    _expiry,
)
