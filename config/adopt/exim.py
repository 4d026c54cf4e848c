"""Adopts Debian's Exim: the smarthost of update-exim4.conf.conf, and passwd.client (exim4-config_files(5))."""

from dataclasses import replace

from postward.config.adopt.adopted import Adopted, AdoptedRelay, NothingToAdoptError
from postward.config.adopt.source import (
    Draft,
    Files,
    ThisHost,
    aliases_of,
    assignments,
    first_line,
    implicit_port,
    port_of,
    with_login,
)
from postward.config.relay import TlsMode

FILES = (
    "/etc/exim4/update-exim4.conf.conf",
    "/etc/exim4/passwd.client",
    "/etc/aliases",
    "/etc/email-addresses",
    "/etc/mailname",
)
_STAYS = {
    "dc_other_hostnames": "domains of this host are host.mydestination; the profile send-only has its own",
    "dc_relay_nets": "networks that may relay are host.mynetworks; the profile send-only has this host alone",
    "dc_relay_domains": "the profile send-only relays for no other domain",
}


def adopt(files: Files, this: ThisHost) -> Adopted:
    """Return the settings. Raises NothingToAdoptError."""
    values = {key: value.strip("'\"") for key, value in assignments(files.get(FILES[0], "")).items()}
    kind = values.get("dc_eximconfig_configtype", "")
    if kind not in {"smarthost", "satellite"}:
        raise NothingToAdoptError(f"Exim's type is {kind or 'unknown'}, which has no smarthost")
    mailname = first_line(files.get(FILES[4], ""))
    draft = Draft(this.name())
    hides = values.get("dc_hide_mailname") == "true" and values.get("dc_readhost")
    draft.originate(hides or mailname, delivers=True)
    draft.follow(files.get(FILES[2], ""))
    for user, address in aliases_of(files.get(FILES[3], "")).items():
        draft.send_as(user, address)
    hosts = [item.strip() for item in values.get("dc_smarthost", "").split(";") if item.strip()]
    for number, item in enumerate(hosts):
        relay = _relay(item, files.get(FILES[1], ""), draft)
        draft.relays.append(replace(relay, fallback=number > 0))
    for key, why in _STAYS.items():
        if values.get(key):
            draft.leave(f"{key}={values[key]}", why)
    return draft.adopted()


def _relay(item: str, logins: str, draft: Draft) -> AdoptedRelay:
    host, _, port = item.partition("::")
    number = port_of(port, "none")
    login = _login(host, logins)
    # Exim sends a password only under TLS, unless AUTH_CLIENT_ALLOW_NOTLS_PASSWORDS is set.
    tls: TlsMode = "starttls" if login else "opportunistic"
    relay = AdoptedRelay(host, number, "implicit" if implicit_port(number) else tls)
    return with_login(relay, *login, draft) if login else relay


def _login(host: str, text: str) -> tuple[str, str] | None:
    """Return user and password of the first line for a host; `*` stands for any characters (nwildlsearch)."""
    for line in text.split("\n"):
        parts = line.strip().split(":", 2)
        if len(parts) == 3 and not line.startswith("#"):
            pattern, user, password = parts
            name, _, rest = pattern.lower().partition("*")
            if host.lower() == pattern.lower() or (
                "*" in pattern and not name and host.lower().endswith(rest)
            ):
                return user, password
    return None
