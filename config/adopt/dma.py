"""Adopts /etc/dma (dma(8)): SMARTHOST with its login in auth.conf, MASQUERADE, and the aliases of local users."""

import re
from dataclasses import replace

from postward.config.adopt.adopted import Adopted, AdoptedRelay, NothingToAdoptError
from postward.config.adopt.source import Draft, Files, ThisHost, first_line, port_of, with_login
from postward.config.relay import TlsMode

FILES = ("/etc/dma/dma.conf", "/etc/dma/auth.conf", "/etc/aliases", "/etc/mailname")
_SAID = frozenset(
    {
        *(
            "ALIASES",
            "AUTHPATH",
            "FINGERPRINT",
            "MAILNAME",
            "MASQUERADE",
            "OPPORTUNISTIC_TLS",
            "PORT",
            "SECURE",
            "SECURETRANSFER",
        ),
        *("SMARTHOST", "SPOOLDIR", "STARTTLS", "NULLCLIENT", "INSECURE", "TIMEOUT"),
    }
)


def adopt(files: Files, this: ThisHost) -> Adopted:
    """Return the settings. Raises NothingToAdoptError."""
    values = _values(files.get(FILES[0], ""))
    host = values.get("SMARTHOST", "")
    if not host:
        raise NothingToAdoptError(f"{FILES[0]} has no SMARTHOST: mail goes to the MX hosts of its recipients")
    mailname = values.get("MAILNAME", "")
    if not mailname or mailname.startswith("/"):
        mailname = first_line(files.get(mailname or FILES[3], ""))
    draft = Draft(this.name(mailname))
    tls = _mode(values)
    relay = AdoptedRelay(host, port_of(values.get("PORT", ""), tls), tls)
    pin = values.get("FINGERPRINT", "")
    if re.fullmatch(r"[0-9A-Fa-f]{64}", pin) and tls in {"starttls", "implicit"}:
        relay = replace(relay, more={"fingerprints": [pin]})
    elif pin:
        draft.leave("FINGERPRINT", "the settings take it as SHA-256, and with TLS that is required")
    for line in files.get(FILES[1], "").split("\n"):
        user, bar, rest = line.strip().partition("|")
        server, colon, password = rest.partition(":")
        if bar and colon and not user.startswith("#") and server.lower() == host.lower():
            relay = with_login(relay, user, password, draft)
    draft.relays.append(relay)
    user, _, domain = values.get("MASQUERADE", "").rpartition("@")
    if user and domain:
        draft.rewrite_sender = f"{user}@{domain}"
    elif user:
        draft.leave(
            f"MASQUERADE {user}@", "the settings rewrite senders to one whole address; see rewrite_sender"
        )
    draft.originate(domain or mailname or draft.myhostname)
    draft.follow(files.get(values.get("ALIASES", FILES[2]), ""))
    for key in sorted(values.keys() - _SAID):
        draft.leave(key, "Postfix has no such setting, or another for all relays")
    return draft.adopted()


def _values(text: str) -> dict[str, str]:
    rows = (line.strip().partition(" ") for line in text.replace("\t", " ").split("\n"))
    return {key: value.strip() for key, _, value in rows if key and not key.startswith("#")}


def _mode(values: dict[str, str]) -> TlsMode:
    if not {"SECURETRANSFER", "SECURE"} & values.keys():
        return "none"
    if "STARTTLS" not in values:
        return "implicit"
    return "opportunistic" if "OPPORTUNISTIC_TLS" in values else "starttls"
