"""Adopts /etc/ssmtp/ssmtp.conf and revaliases (ssmtp.conf(5))."""

from dataclasses import replace

from postward.config.adopt.adopted import Adopted, AdoptedRelay, NothingToAdoptError
from postward.config.adopt.source import Draft, Files, ThisHost, assignments, port_of, tls_mode, with_login

FILES = ("/etc/ssmtp/ssmtp.conf", "/etc/ssmtp/revaliases")


def adopt(files: Files, this: ThisHost) -> Adopted:
    """Return the settings. Raises NothingToAdoptError."""
    values = assignments(files.get(FILES[0], ""))
    hub = values.get("mailhub", "")
    if not hub:
        raise NothingToAdoptError(f"{FILES[0]} has no mailhub")
    hostname = values.get("hostname", "")
    draft = Draft(this.name(hostname))
    draft.originate(values.get("rewritedomain") or hostname or draft.myhostname)
    starttls = _is_yes(values.get("usestarttls", ""))
    tls = tls_mode(tls=starttls or _is_yes(values.get("usetls", "")), starttls=starttls)
    relay = _relay(hub, AdoptedRelay("", 0, tls))
    if "authuser" in values:
        relay = with_login(relay, values["authuser"], values.get("authpass", ""), draft)
    draft.relays.append(relay)
    if values.get("root"):
        draft.forward(values["root"], f"root={values['root']}")
    for user, address, other in _aliases(files.get(FILES[1], "")):
        if other and _relay(other, relay).host != relay.host:
            draft.relays.append(replace(_relay(other, relay), senders=(address,)))
        draft.send_as(user, address)
    return draft.adopted()


def _relay(hub: str, like: AdoptedRelay) -> AdoptedRelay:
    host, _, port = hub.partition(":")
    return replace(like, host=host, port=port_of(port, like.tls))


def _aliases(text: str) -> list[tuple[str, str, str]]:
    """Return (user, address, mail hub or "") of each line."""
    rows = (line.strip().split(":", 2) for line in text.split("\n") if not line.startswith("#"))
    return [(row[0], row[1], row[2] if len(row) > 2 else "") for row in rows if len(row) > 1]


def _is_yes(value: str) -> bool:
    return value.lower() in {"yes", "true", "1"}
