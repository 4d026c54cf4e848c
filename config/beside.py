"""The desired state beside other SMTP hops: the relay's wishes hold for the relay's next hop only.

Pure. Encryption by STARTTLS and logins are entries of Postward's own tables, by next hop, before the admin's tables.
A relay that needs more (TLS from the first byte, authorities of its own, a fallback, tokens) gets a service of its own in
master.cf. Parameters that other hops share keep their values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from postward.config.logins import BY_SENDER, DELIMITER, EVERY_KEY, Logins, with_host_names
from postward.config.neighbours import CONCURRENCY, LOGINS_BY_NEXT_HOP, Neighbours
from postward.config.providers import PROVIDERS
from postward.config.relay import Relay
from postward.config.resources import OWN_SERVICE, Tables, Transport
from postward.config.tls_level import keeps, tls_level, tls_policy
from postward.parsers.postconf import split_list

_PLAIN_TLS = 'use tls = "starttls" without ca_file, ca_path and fallback'


class SharedHopError(Exception):
    """The relays' wishes cannot be met without changing other hops."""


def needs_services(relays: Sequence[Relay]) -> bool:
    """Return True if each relay needs a service of its own, also where smtp(8) sends to these relays alone.

    relayhost holds for direct delivery too, and is for smtp(8) alone.
    """
    first = relays[0]
    by_sender = any(relay.direct and relay.senders for relay in relays[1:])
    return first.protocol != "smtp" or (by_sender and not first.direct)


def own_target(relay: Relay) -> str:
    """Return the service of a relay's own with its next hop, as tables of routes name it."""
    return f"{OWN_SERVICE}{relay.name}:{relay.next_hop}"


def recipient_routes(relays: Sequence[Relay], targets: Mapping[str, str], tables: Tables) -> str:
    """Add the table of routes by recipient (transport(5)), and return its reference; "" without any."""
    routes = [(key, targets[relay.name]) for relay in relays for key in relay.recipients]
    keys = [(key.removeprefix("@"), target) for key, target in routes]
    return tables.refer("recipient_transport", keys)


def authorities(relays: Sequence[Relay]) -> dict[str, str]:
    """Return the parameters with the authorities that relays trust; without one, main.cf keeps its own."""
    files = next((relay.ca_file for relay in relays if relay.ca_file), "")
    directories = next((relay.ca_path for relay in relays if relay.ca_path), "")
    found = {"smtp_tls_CAfile": files, "smtp_tls_CApath": directories}
    return {name: value for name, value in found.items() if value}


def lmtp_parameters(relay: Relay, relays: Sequence[Relay]) -> tuple[tuple[str, str], ...]:
    """Return the parameters of an lmtp(8) service."""
    levels = {"starttls": "encrypt", "opportunistic": "may"}
    return (
        ("lmtp_tls_security_level", levels.get(relay.tls, "none")),
        ("lmtp_sasl_auth_enable", "no"),
        *log_name(relay, relays),
    )


def log_name(relay: Relay, relays: Sequence[Relay]) -> tuple[tuple[str, str], ...]:
    """Return the name of a service in the log, if the server is not that of one relay alone."""
    server = relay.next_hop.lower()
    told = (
        relay.has_known_server
        and not relay.socket
        and sum(one.next_hop.lower() == server for one in relays) == 1
    )
    return () if told else (("syslog_name", f"postfix/{OWN_SERVICE}{relay.name}"),)


def beside(
    relays: Sequence[Relay],
    logins: Logins,
    tables: Tables,
    others: Neighbours,
    main_cf: Mapping[str, str],
) -> tuple[dict[str, str], tuple[Transport, ...]]:
    """Return the parameters of main.cf and the services for relays beside other hops.

    Args:
        relays: the relays of the settings.
        logins: their logins.
        tables: where Postward's tables are collected.
        others: the other hops.
        main_cf: the parameters of smtp(8) that `[main_cf]` or a profile set.

    Raises:
        SharedHopError: a relay needs a service of its own, and the admin's routes exclude one.
    """
    needs = [need for relay in relays for need in _needs(relay, relays, logins, others, main_cf)]
    routes = list(_routes(others))
    limits = [relay for relay in relays if max_processes(relay, main_cf) != "-"]
    if needs and routes:
        relay, what, remedy = needs[0]
        raise SharedHopError(
            f"{routes[0]} in main.cf routes mail that a service for relay {relay.name} would take over, and {what} needs "
            f"such a service; {remedy}, or list these routes in [[relay]] tables"
        )
    if needs or (limits and not routes):
        return _by_service(relays, logins, tables, others, main_cf)
    return _by_next_hop(relays, logins, tables, others), ()


def _needs(
    relay: Relay,
    relays: Sequence[Relay],
    logins: Logins,
    others: Neighbours,
    main_cf: Mapping[str, str],
) -> Iterator[tuple[Relay, str, str]]:
    """Yield the relay, what tables by next hop cannot express for it, and how to do without."""
    values = others.values
    if needs_services(relays):
        yield relay, "delivery by lmtp, or direct for some senders,", "route it by recipients"
    if logins.by_sender:
        yield relay, "a login by sender", "use one login for each host and port"
    if logins.delimiter != ":":
        yield relay, "a user name with a colon", "ask the relay's operator for another login"
    yield from _keys_of_a_service(relay)
    wrapped = values.get("smtp_tls_wrappermode") == "yes"
    if relay.tls == "implicit" and not wrapped:
        yield relay, "implicit TLS", _PLAIN_TLS
    if relay.tls != "implicit" and wrapped:
        yield relay, "STARTTLS beside smtp_tls_wrappermode = yes", "remove smtp_tls_wrappermode from main.cf"
    if relay.has_login and relay.tls in {"opportunistic", "none"} and not _allows_its_password(relay, values):
        yield relay, "a login without mandatory TLS", _PLAIN_TLS
    yield from _login_needs(relay, others)
    if others.captured:
        yield (
            relay,
            f"the mail of {others.captured}, which relayhost would take,",
            "route it by transport_maps",
        )
    for name in main_cf:
        yield (
            relay,
            f"{name}, which is for the relay alone,",
            f"set {name} in main.cf for all hops, or not at all",
        )


def _keys_of_a_service(relay: Relay) -> Iterator[tuple[Relay, str, str]]:
    """Yield the keys of a relay's table that only a service of its own can have."""
    if relay.ca_file or relay.ca_path or relay.fallback:
        yield relay, "ca_file, ca_path or a fallback", _PLAIN_TLS
    if relay.client_certificate or relay.mechanisms:
        yield (
            relay,
            "a client certificate, a token or auth",
            "use a password without client_certificate and auth",
        )
    for key in ("helo_name", "bind_address", "dane", "fingerprints"):
        if getattr(relay, key):
            yield relay, f"{key}, which is for this relay alone,", f"leave {key} out"
    if relay.own_service:
        yield relay, "own_service", "leave own_service out"
    if relay.protocol == "lmtp":
        yield relay, 'protocol = "lmtp"', "route this mail in main.cf"


def _allows_its_password(relay: Relay, values: Mapping[str, str]) -> bool:
    """Return True if main.cf lets Postfix send a password in clear text where the relay's settings do, and not elsewhere."""
    options = split_list(values.get("smtp_sasl_security_options", ""))
    return ("noplaintext" not in options) is relay.password_in_clear


def _login_needs(relay: Relay, others: Neighbours) -> Iterator[tuple[Relay, str, str]]:
    """Yield what the admin's tables of logins exclude, since all smtp(8) services share their options."""
    values, admins = others.values, others.values.get("smtp_sasl_password_maps")
    if not admins:
        return
    keys = {relay.host.lower(), relay.next_hop.lower(), EVERY_KEY} & others.login_keys
    disabled = values.get("smtp_sasl_auth_enable") == "no"
    forbidden = "noplaintext" in split_list(values.get("smtp_sasl_tls_security_options", ""))
    if relay.has_login and forbidden:
        name = "smtp_sasl_tls_security_options"
        yield relay, f"a login beside noplaintext in {name}", f"remove noplaintext from {name}"
    # smtp(8) looks for the host name in all tables, before it looks for the next hop (smtp_sasl_glue.c).
    if relay.username and relay.host.lower() in keys:
        yield (
            relay,
            f"a login beside that for {relay.host} in {admins}",
            f"write its key as [{relay.host}]:PORT",
        )
    if relay.username and EVERY_KEY in keys:
        yield (
            relay,
            "a login beside that of a static: table, which is for every server,",
            f"name the server in a table, as [{relay.host}]:PORT",
        )
    if not relay.has_login and not disabled and keys:
        yield relay, f"mail without the login in {admins}", "remove that login"


def _routes(others: Neighbours) -> Iterator[str]:
    """Yield the routes over which a service in default_transport would take precedence."""
    for name, usual in (("sender_dependent_relayhost_maps", ""), ("default_transport", "smtp")):
        if (value := others.values.get(name, usual)) != usual:
            yield f"{name} = {value}"


def _by_next_hop(
    relays: Sequence[Relay], logins: Logins, tables: Tables, others: Neighbours
) -> dict[str, str]:
    """Return the parameters for relays that the shared services can serve, by entries for their next hops."""
    by_sender = [(sender, relay) for relay in relays for sender in relay.senders]
    # A next hop in the admin's table of transports by sender comes before any in a table of next hops by sender.
    as_transports = bool(others.values.get("sender_dependent_default_transport_maps"))
    hops = [(sender, relay.next_hop) for sender, relay in by_sender if not as_transports]
    transports = [(sender, f"smtp:{relay.next_hop}") for sender, relay in by_sender if as_transports]
    levels = [
        (relay.next_hop, tls_policy(relay, others.values))
        for relay in relays
        if relay.next_hop and not keeps(relay, others.policies.get(relay.next_hop, ""))
    ]
    targets = {relay.name: f"smtp:{relay.next_hop}" for relay in relays}
    lists = {
        "sender_dependent_relayhost_maps": tables.refer("sender_relay", hops),
        "sender_dependent_default_transport_maps": tables.refer("sender_transport", transports),
        "smtp_tls_policy_maps": tables.refer("tls_policy", levels),
        "transport_maps": recipient_routes(relays, targets, tables),
        "smtp_sasl_password_maps": _password_maps(logins, tables),
    }
    parameters = {name: before_admins(reference, name, others) for name, reference in lists.items()}
    parameters |= {"relayhost": relays[0].next_hop, "default_transport": others.values["default_transport"]}
    if logins.enabled:
        parameters |= LOGINS_BY_NEXT_HOP
    return parameters


def _by_service(
    relays: Sequence[Relay],
    logins: Logins,
    tables: Tables,
    others: Neighbours,
    main_cf: Mapping[str, str],
) -> tuple[dict[str, str], tuple[Transport, ...]]:
    """Return parameters and services for relays of which each gets a service of its own.

    default_transport names the first one with its next hop. relayhost is not used: the admin's services obey it too.
    """
    if others.values.get(BY_SENDER) == "yes":  # then these services have the admin's tables too
        entries = with_host_names(relays, logins, others.login_keys)
        logins = replace(logins, entries=tuple(entries.items()))
    passwords = _password_maps(logins, tables)
    services = tuple(_service(relay, relays, passwords, logins, others, main_cf) for relay in relays)
    targets = {relay.name: own_target(relay) for relay in relays}
    routes = [(sender, targets[relay.name]) for relay in relays for sender in relay.senders]
    lists = {
        "sender_dependent_default_transport_maps": tables.refer("sender_transport", routes),
        "sender_dependent_relayhost_maps": "",
        "transport_maps": recipient_routes(relays, targets, tables),
        "smtp_tls_policy_maps": "",
        "smtp_sasl_password_maps": "",
    }
    parameters = {name: before_admins(reference, name, others) for name, reference in lists.items()}
    if not others.hops:
        parameters |= {"relayhost": "", "smtp_sasl_auth_enable": "no"}
    elif any(relay.direct for relay in relays):  # it would hold for direct delivery too
        parameters["relayhost"] = ""
    return parameters | {"default_transport": targets[relays[0].name]}, services


def _password_maps(logins: Logins, tables: Tables) -> str:
    own = tables.refer_logins(logins.entries, logins.renewed)
    return ", ".join(filter(None, (own, *logins.tables)))


def _service(
    relay: Relay,
    relays: Sequence[Relay],
    passwords: str,
    logins: Logins,
    others: Neighbours,
    main_cf: Mapping[str, str],
) -> Transport:
    limit = max_processes(relay, main_cf)
    if relay.protocol == "lmtp":
        return Transport(relay.name, lmtp_parameters(relay, relays), limit, "lmtp")
    fallbacks = [other.next_hop for other in relays if other.fallback] if relay is relays[0] else []
    keeps_policy = keeps(relay, others.policies.get(relay.next_hop, ""))
    overrides = {
        "smtp_tls_wrappermode": "yes" if relay.tls == "implicit" else "no",
        "smtp_tls_security_level": tls_level(relay, others.values),
        "smtp_tls_policy_maps": others.values.get("smtp_tls_policy_maps", "") if keeps_policy else "",
        "smtp_fallback_relay": ",".join(fallbacks),
        **{name: value for name, value in main_cf.items() if name != CONCURRENCY},
    }
    if relay.verify and relay.verify_names:
        overrides["smtp_tls_secure_cert_match"] = ",".join(relay.verify_names)
    if relay.fingerprints:
        overrides["smtp_tls_fingerprint_cert_match"] = ",".join(relay.fingerprints)
    overrides |= authorities([relay])
    overrides |= dict(log_name(relay, relays))
    own = relay.own_parameters
    options = own.pop("smtp_sasl_tls_security_options")
    overrides |= {name: value for name, value in own.items() if value}
    if not relay.has_login:
        overrides["smtp_sasl_auth_enable"] = "no"
        return Transport(relay.name, tuple(overrides.items()), limit)
    always_encrypted = relay.tls in {"starttls", "implicit"}
    plain = always_encrypted or relay.password_in_clear
    # With logins by sender, the admin's entries for senders come before any entry for a next hop.
    admins = others.values.get("smtp_sasl_password_maps", "")
    by_sender = others.values.get(BY_SENDER) == "yes"
    references = [*split_list(passwords), *(split_list(admins) if by_sender else [])]
    if logins.delimiter != ":":
        overrides[DELIMITER] = logins.delimiter
    if logins.by_sender:
        overrides[BY_SENDER] = "yes" if relay.name in logins.by_sender else "no"
    overrides |= {
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": ",".join(references),
        "smtp_sasl_security_options": "noanonymous" if plain else "noplaintext,noanonymous",
        "smtp_sasl_tls_security_options": options,
    }
    return Transport(relay.name, tuple(overrides.items()), limit)


def max_processes(relay: Relay, main_cf: Mapping[str, str]) -> str:
    """Return the maximum number of connections that the settings or the provider allow; "-" if they say nothing."""
    if relay.max_connections:
        return str(relay.max_connections)
    provider = PROVIDERS.get(relay.provider)
    return main_cf.get(CONCURRENCY, provider.parameters.get(CONCURRENCY, "-") if provider else "-")


def before_admins(reference: str, name: str, others: Neighbours) -> str:
    """Return a list of tables with Postward's before the admin's: Postfix takes the first match."""
    own = split_list(reference)
    return ", ".join([*own, *(item for item in split_list(others.values.get(name, "")) if item not in own)])
