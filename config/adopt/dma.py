"""Adopts /etc/dma (dma(8)): SMARTHOST with its login in auth.conf, and MASQUERADE."""

from postward.config.adopt.adopted import Adopted, AdoptedRelay, NothingToAdoptError
from postward.config.adopt.source import Draft, Files, ThisHost, port_of, with_login
from postward.config.relay import TlsMode

FILES = ("/etc/dma/dma.conf", "/etc/dma/auth.conf")
_SAID = frozenset(
    {
        *(
            "ALIASES",
            "AUTHPATH",
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
    draft = Draft(mailname if mailname and not mailname.startswith("/") else this.myhostname)
    tls = _mode(values)
    relay = AdoptedRelay(host, port_of(values.get("PORT", ""), tls), tls)
    for line in files.get(FILES[1], "").split("\n"):
        user, bar, rest = line.strip().partition("|")
        server, colon, password = rest.partition(":")
        if bar and colon and not user.startswith("#") and server.lower() == host.lower():
            relay = with_login(relay, user, password, draft)
    draft.relays.append(relay)
    masquerade = values.get("MASQUERADE", "")
    if "@" in masquerade.strip("@") and not masquerade.endswith("@"):
        draft.rewrite_sender = masquerade
    elif masquerade:
        draft.leave(
            f"MASQUERADE {masquerade}",
            "the settings rewrite senders to one whole address; see rewrite_sender",
        )
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
