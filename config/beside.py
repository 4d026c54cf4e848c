"""The desired state beside other SMTP hops: the relay's wishes hold for the relay's next hop only.

Pure. Encryption by STARTTLS and logins are entries of Postward's own tables, by next hop, before the admin's tables.
A relay that needs more (TLS from the first byte, authorities of its own, a fallback, tokens) gets a service of its own in
master.cf. Parameters that other hops share keep their values.
"""

from collections.abc import Mapping, Sequence

from postward.config.neighbours import Neighbours
from postward.config.relay import Relay
from postward.config.resources import OWN_SERVICE, Tables, Transport
from postward.config.tls_level import tls_level
from postward.parsers.postconf import split_list


class SharedHopError(Exception):
    """The relays' wishes cannot be met without changing other hops."""


def beside(
    relays: Sequence[Relay], passwords: Mapping[str, str], tables: Tables, others: Neighbours
) -> tuple[dict[str, str], tuple[Transport, ...]]:
    """Return the parameters of main.cf and the services for relays beside other hops.

    Raises:
        SharedHopError: a relay needs a service of its own, and the admin's routes exclude one.
    """
    if any(_needs_service(relay, others) for relay in relays):
        return _by_service(relays, passwords, tables, others)
    return _by_next_hop(relays, passwords, tables, others), ()


def _needs_service(relay: Relay, others: Neighbours) -> bool:
    """Return True if tables by next hop cannot express what the relay needs."""
    password_in_clear = relay.username and relay.tls in {"opportunistic", "none"}
    return bool(
        relay.tls == "implicit"
        or others.values.get("smtp_tls_wrappermode") == "yes"
        or relay.ca_file
        or relay.client_certificate
        or relay.mechanisms
        or relay.fallback
        or password_in_clear
    )


def _by_next_hop(
    relays: Sequence[Relay], passwords: Mapping[str, str], tables: Tables, others: Neighbours
) -> dict[str, str]:
    """Return the parameters for relays that the shared services can serve, by entries for their next hops."""
    routes = [(sender, relay.next_hop) for relay in relays for sender in relay.senders]
    levels = [(relay.next_hop, tls_level(relay, others.values)) for relay in relays]
    lists = {
        "sender_dependent_relayhost_maps": tables.refer("sender_relay", routes),
        "sender_dependent_default_transport_maps": "",
        "smtp_tls_policy_maps": tables.refer("tls_policy", levels),
        "smtp_sasl_password_maps": tables.refer_logins(relays, passwords),
    }
    parameters = {name: _before_admins(reference, name, others) for name, reference in lists.items()}
    parameters |= {"relayhost": relays[0].next_hop, "default_transport": others.values["default_transport"]}
    if lists["smtp_sasl_password_maps"]:
        parameters |= {"smtp_sasl_auth_enable": "yes", "smtp_sasl_tls_security_options": "noanonymous"}
    return parameters


def _by_service(
    relays: Sequence[Relay], passwords: Mapping[str, str], tables: Tables, others: Neighbours
) -> tuple[dict[str, str], tuple[Transport, ...]]:
    """Return parameters and services for relays of which each gets a service of its own.

    default_transport names the first one with its next hop. relayhost is not used: the admin's services obey it too.
    """
    for name, usual in (("sender_dependent_relayhost_maps", ""), ("default_transport", "smtp")):
        if others.values[name] != usual:
            raise SharedHopError(
                f"{name} = {others.values[name]} in main.cf routes mail that a service for relay {relays[0].name} would "
                'take over; use tls = "starttls" without ca_file and fallback, or list these routes in [[relay]] tables'
            )
    passwords_by_hop = tables.refer_logins(relays, passwords)
    services = tuple(_service(relay, relays, passwords_by_hop, others) for relay in relays)
    targets = {relay.name: f"{OWN_SERVICE}{relay.name}:{relay.next_hop}" for relay in relays}
    routes = [(sender, targets[relay.name]) for relay in relays for sender in relay.senders]
    lists = {
        "sender_dependent_default_transport_maps": tables.refer("sender_transport", routes),
        "smtp_tls_policy_maps": "",
        "smtp_sasl_password_maps": "",
    }
    parameters = {name: _before_admins(reference, name, others) for name, reference in lists.items()}
    return parameters | {"default_transport": targets[relays[0].name]}, services


def _service(relay: Relay, relays: Sequence[Relay], passwords: str, others: Neighbours) -> Transport:
    fallbacks = [other.next_hop for other in relays if other.fallback] if relay is relays[0] else []
    overrides = [
        ("smtp_tls_wrappermode", "yes" if relay.tls == "implicit" else "no"),
        ("smtp_tls_security_level", tls_level(relay, others.values)),
        ("smtp_tls_policy_maps", ""),
        ("smtp_fallback_relay", ",".join(fallbacks)),
    ]
    if relay.ca_file:
        overrides.append(("smtp_tls_CAfile", relay.ca_file))
    own = relay.own_parameters
    options = own.pop("smtp_sasl_tls_security_options")
    overrides += [(name, value) for name, value in own.items() if value]
    if not passwords:
        return Transport(relay.name, (*overrides, ("smtp_sasl_auth_enable", "no")))
    always_encrypted = relay.tls in {"starttls", "implicit"}
    plain = always_encrypted or relay.tls == "none"
    # With logins by sender, the admin's entries for senders come before any entry for a next hop.
    admins = others.values["smtp_sasl_password_maps"]
    by_sender = others.values.get("smtp_sender_dependent_authentication") == "yes"
    references = [passwords, *(split_list(admins) if by_sender else [])]
    overrides += [
        ("smtp_sasl_auth_enable", "yes"),
        ("smtp_sasl_password_maps", ",".join(references)),
        ("smtp_sasl_security_options", "noanonymous" if plain else "noplaintext,noanonymous"),
        ("smtp_sasl_tls_security_options", options),
    ]
    return Transport(relay.name, tuple(overrides))


def _before_admins(reference: str, name: str, others: Neighbours) -> str:
    """Return a list of tables with Postward's before the admin's: Postfix takes the first match."""
    return ", ".join(item for item in (reference, others.values[name]) if item)
