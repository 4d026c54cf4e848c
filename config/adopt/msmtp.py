"""Adopts /etc/msmtprc (msmtp(1), "Configuration files"): the default account, and further ones by their `from`."""

from collections.abc import Mapping
from dataclasses import replace

from postward.config.adopt.adopted import Adopted, AdoptedRelay, NothingToAdoptError
from postward.config.adopt.source import (
    Draft,
    Files,
    ThisHost,
    checked,
    is_mail_address,
    port_of,
    tls_mode,
    with_login,
)
from postward.config.sasl import PASSWORDLESS

FILES = ("/etc/msmtprc", "/etc/aliases")
_SAID = frozenset(
    {
        *(
            "account",
            "aliases",
            "auth",
            "auto_from",
            "from",
            "host",
            "logfile",
            "maildomain",
            "password",
            "passwordeval",
            "port",
            "protocol",
            "syslog",
        ),
        *("timeout", "tls", "tls_certcheck", "tls_starttls", "tls_trust_file", "user"),
    }
)


def adopt(files: Files, this: ThisHost) -> Adopted:
    """Return the settings. Raises NothingToAdoptError."""
    accounts, default = _accounts(files.get(FILES[0], ""))
    if not accounts:
        raise NothingToAdoptError(f"{FILES[0]} has no account")
    default = default if default in accounts else next(iter(accounts))
    first = accounts.pop(default)
    draft = Draft(this.name())
    draft.relays.append(_relay(first, draft, this))
    sender = first.get("from", "")
    if is_mail_address(sender):
        draft.rewrite_sender = sender
    elif sender:
        draft.leave(f"from {sender}", "a sender that depends on the user is left as the program gives it")
    draft.originate(first.get("maildomain", ""))
    if (aliases := first.get("aliases", "")) == FILES[1]:
        draft.follow(files.get(aliases, ""))
    elif aliases:
        draft.leave(f"aliases {aliases}", f"only {FILES[1]} is read; see host.admin")
    _add_further(accounts, draft, this)
    for key in sorted({key for account in (first, *accounts.values()) for key in account} - _SAID):
        draft.leave(key, "Postfix has no such setting, or another for all relays")
    return draft.adopted()


def _add_further(accounts: Mapping[str, dict[str, str]], draft: Draft, this: ThisHost) -> None:
    """Add the accounts that have a sender of their own."""
    for name, account in accounts.items():
        sender = account.get("from", "")
        if draft.rewrite_sender and sender:
            draft.leave(
                f"account {name}", "it is chosen by the command, and all senders are rewritten to one"
            )
        elif is_mail_address(sender):
            try:
                draft.relays.append(replace(_relay(account, draft, this), senders=(sender,)))
            except NothingToAdoptError as error:
                draft.leave(f"account {name}", str(error))
        else:
            draft.leave(f"account {name}", "it is chosen by the command, and has no sender of its own")


def _accounts(text: str) -> tuple[dict[str, dict[str, str]], str]:
    """Return name → account, and the name of the default one."""
    defaults: dict[str, str] = {}
    accounts: dict[str, dict[str, str]] = {}
    current, default = defaults, "default"
    for line in text.split("\n"):
        key, value = _split(line)
        if key == "defaults":
            current = defaults
        elif key == "account":
            name, _, bases = (part.strip() for part in value.partition(":"))
            inherited = [accounts.get(base.strip(), {}) for base in bases.split(",")] if bases else []
            if name == "default" and bases:
                default = bases.split(",")[0].strip()
            current = {**defaults, **{key: value for base in inherited for key, value in base.items()}}
            if not (name == "default" and bases):
                accounts[name] = current
        elif key:
            current[key] = value
    return accounts, default


def _split(line: str) -> tuple[str, str]:
    bare = line.strip()
    if not bare or bare.startswith("#"):
        return "", ""
    key, _, value = bare.replace("\t", " ").partition(" ")
    value = value.strip()
    return key.lower(), value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _relay(account: dict[str, str], draft: Draft, this: ThisHost) -> AdoptedRelay:
    if not account.get("host"):
        raise NothingToAdoptError("an account has no host")
    on = _switches(account)
    tls = tls_mode(tls=on["tls"], starttls=on["tls_starttls"])
    relay = AdoptedRelay(account["host"], port_of(account.get("port", ""), tls), tls)
    trusted = account.get("tls_trust_file", "system")
    authorities = this.authorities if trusted == "system" else trusted
    relay = checked(relay, verifies=on["tls_certcheck"], authorities=authorities)
    method = account.get("auth", "off" if "user" not in account else "on").lower()
    if method == "off":
        return relay
    if method in PASSWORDLESS or method in {"oauthbearer", "xoauth2"}:
        draft.leave(f"auth {method} at {relay.host}", "it takes no password; see auth and [relay.oauth2]")
        return relay
    if "password" not in account:
        how = next((key for key in ("passwordeval",) if key in account), "the keyring")
        draft.leave(
            f"the login of {account.get('user', '')} at {relay.host}", f"its password comes from {how}"
        )
        return relay
    return with_login(relay, account.get("user", ""), account["password"], draft)


def _switches(account: dict[str, str]) -> dict[str, bool]:
    usual = {"tls": "off", "tls_starttls": "on", "tls_certcheck": "on"}
    return {name: account.get(name, value).lower() in {"on", ""} for name, value in usual.items()}
