"""Adopts /etc/nullmailer (nullmailer-send(8)): remotes, of which the further ones are fallbacks."""

import shlex
from dataclasses import replace

from postward.config.adopt.adopted import Adopted, AdoptedRelay, NothingToAdoptError
from postward.config.adopt.source import Draft, Files, ThisHost, checked, first_line, port_of, with_login
from postward.config.relay import TlsMode

FILES = (
    "/etc/nullmailer/remotes",
    "/etc/nullmailer/me",
    "/etc/nullmailer/adminaddr",
    "/etc/nullmailer/allmailfrom",
    "/etc/nullmailer/defaulthost",
    "/etc/mailname",
)
_SAID = frozenset(
    {"auth-login", "auth-plain", "insecure", "pass", "port", "ssl", "starttls", "tls", "user", "x509cafile"}
)


def adopt(files: Files, this: ThisHost) -> Adopted:
    """Return the settings. Raises NothingToAdoptError."""
    remotes = files.get(FILES[0], "")
    me, admin, sender, default, mailname = (first_line(files.get(path, "")) for path in FILES[1:])
    draft = Draft(this.name(me or mailname), rewrite_sender=sender)
    draft.originate(default or me or mailname or draft.myhostname)
    for line in remotes.split("\n"):
        if line.strip() and not line.startswith("#"):
            relay = _relay(line, draft, this)
            if relay.host.lower() not in {other.host.lower() for other in draft.relays}:
                draft.relays.append(replace(relay, fallback=bool(draft.relays)))
    if admin:
        draft.forward(admin, f"adminaddr {admin}")
    return draft.adopted()


def _relay(line: str, draft: Draft, this: ThisHost) -> AdoptedRelay:
    try:
        host, *words = shlex.split(line)
    except ValueError:
        raise NothingToAdoptError(f"a line of {FILES[0]} has an open quote") from None
    if words and words[0] != "smtp" and not words[0].startswith("--") and "=" not in words[0]:
        raise NothingToAdoptError(f"{host}: Postfix has no protocol {words[0]}")
    pairs = (word.removeprefix("--").partition("=") for word in words if word != "smtp")
    options = {key: value for key, _, value in pairs}
    tls: TlsMode = "none"
    if "ssl" in options:
        tls = "implicit"
    elif {"starttls", "tls"} & options.keys():
        tls = "starttls"
    relay = AdoptedRelay(host, port_of(options.get("port", ""), tls), tls)
    relay = checked(
        relay, verifies="insecure" not in options, authorities=options.get("x509cafile", this.authorities)
    )
    for key in sorted(options.keys() - _SAID):
        draft.leave(f"{host} --{key}", "Postfix has no such setting, or another for all relays")
    return with_login(relay, options["user"], options.get("pass", ""), draft) if "user" in options else relay
