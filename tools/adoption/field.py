"""Generates hosts as how-tos, roles and images configure them: parts of posted configurations, in chance combinations.

Seeded, so repeatable. The parts are those of public guides for relays: notations of relayhost, places and forms of
sasl_passwd, TLS parameters old and new, relays and logins by sender, rewriting, and what stands beside them.
"""

import random

from tools.oracle.generate import Case, Table

HOSTS = (
    "smtp.gmail.com",
    "smtp.office365.com",
    "email-smtp.eu-west-1.amazonaws.com",
    "smtp.sendgrid.net",
    "smtp.mailgun.org",
    "smtp.yandex.ru",
    "relay.isp.example",
    "mail.example.net",
    "192.0.2.25",
)
DOMAINS = ("shop.example", "blog.example", "example.com", "brand.example")
PASSWORDS = ("hunter2-{}", "p@ss:w0rd {}", "ünïcode-{}", "a#b'c\"{}", "xxxx yyyy zzzz {}")


class Field:
    """Makes cases. `types` are the table types that this Postfix can build."""

    def __init__(self, seed: int, types: frozenset[str]) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._types = sorted(types & {"hash", "btree", "lmdb", "cdb", "texthash"})
        self.secrets: list[str] = []

    def case(self) -> Case:
        """Return the next case. `secrets` has the passwords of all cases so far."""
        case = Case()
        host = self._one(*HOSTS)
        hop = self._hop(host)
        case.main_cf["relayhost"] = hop
        self._tls(case, hop)
        by_sender = self._chance(0.35)
        logins = [(self._key(hop, host), self._login())] if self._chance(0.85) else []
        if by_sender:
            logins += self._senders(case, hop, host)
        if logins:
            self._sasl(case, logins)
        self._beside(case)
        return case

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _one(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _hop(self, host: str) -> str:
        if self._chance(0.08):
            return f"{host}:587" if self._chance(0.5) else host
        return f"[{host}]{self._one(':587', ':587', ':587', ':465', ':25', ':2525', ':submission', '')}"

    def _key(self, hop: str, host: str) -> str:
        return self._one(hop, hop, hop, hop, host, f"[{host}]:587", f"[{host}]")

    def _login(self) -> str:
        password = self._one(*PASSWORDS).format(len(self.secrets))
        self.secrets.append(password)
        return f"{self._one('user', 'apikey', 'user@example.com', 'AKIAEXAMPLE', 'resend')}:{password}"

    def _maybe(self, case: Case, share: float, name: str, *choices: str) -> None:
        if self._chance(share):
            case.main_cf[name] = self._one(*choices)

    def _tls(self, case: Case, hop: str) -> None:
        if hop.endswith(":465") and self._chance(0.9):
            case.main_cf["smtp_tls_wrappermode"] = "yes"
            case.main_cf["smtp_tls_security_level"] = self._one("encrypt", "encrypt", "secure", "verify")
        else:
            self._maybe(
                case, 0.7, "smtp_tls_security_level", "encrypt", "encrypt", "may", "secure", "none", "dane"
            )
            self._maybe(case, 0.5, "smtp_use_tls", "yes")
        self._maybe(case, 0.5, "smtp_tls_CAfile", "/etc/ssl/certs/ca-certificates.crt")
        self._maybe(case, 0.1, "smtp_tls_CApath", "/etc/ssl/certs")
        self._maybe(case, 0.2, "smtp_tls_note_starttls_offer", "yes")
        self._maybe(case, 0.2, "smtp_tls_loglevel", "0", "1", "2")
        self._maybe(case, 0.1, "smtp_tls_mandatory_protocols", "!SSLv2,!SSLv3", ">=TLSv1.2")
        if self._chance(0.15):
            self._table(
                case, "smtp_tls_policy_maps", "tls_policy", [(hop, self._one("encrypt", "may", "secure"))]
            )

    def _sasl(self, case: Case, logins: list[tuple[str, str]]) -> None:
        case.main_cf["smtp_sasl_auth_enable"] = self._one("yes", "yes", "yes", "yes", "no")
        self._maybe(
            case,
            0.9,
            "smtp_sasl_security_options",
            "noanonymous",
            "noanonymous",
            "noanonymous",
            "",
            "",
            "noplaintext",
        )
        self._maybe(case, 0.3, "smtp_sasl_tls_security_options", "noanonymous", "")
        self._maybe(case, 0.2, "smtp_sasl_mechanism_filter", "plain", "login", "plain, login", "xoauth2")
        if len(logins) == 1 and self._chance(0.1) and " " not in logins[0][1]:
            case.main_cf["smtp_sasl_password_maps"] = f"static:{logins[0][1]}"
            return
        self._table(case, "smtp_sasl_password_maps", "sasl_passwd", logins)

    def _senders(self, case: Case, hop: str, host: str) -> list[tuple[str, str]]:
        case.main_cf["smtp_sender_dependent_authentication"] = self._one("yes", "yes", "yes", "no")
        senders = [self._one(f"@{domain}", f"info@{domain}") for domain in self._random.sample(DOMAINS, 3)]
        hops = [self._one(hop, self._hop(self._one(*HOSTS)), self._hop(host)) for _ in senders]
        routes = [(sender, other) for sender, other in zip(senders, hops, strict=True) if self._chance(0.8)]
        name = "sender_dependent_relayhost_maps"
        if self._chance(0.15):
            name = "sender_dependent_default_transport_maps"
            routes = [(sender, f"smtp:{other}") for sender, other in routes]
        if routes:
            self._table(case, name, "sender_relay", routes)
        return [
            (self._one(sender, sender, other), self._login())
            for sender, other in zip(senders, hops, strict=True)
            if self._chance(0.8)
        ]

    def _beside(self, case: Case) -> None:
        self._maybe(case, 0.3, "myorigin", "$mydomain", "TABLES/mailname", "example.com")
        case.tables.append(Table("texthash", "mailname", [("example.com", "")]))
        self._maybe(case, 0.1, "message_size_limit", "52428800")
        self._maybe(case, 0.1, "smtp_fallback_relay", self._hop(self._one(*HOSTS)))
        self._maybe(case, 0.1, "smtp_helo_name", "out.example.com")
        self._maybe(case, 0.05, "content_filter", "smtp-amavis:[127.0.0.1]:10024")
        self._maybe(case, 0.1, "relay_domains", "list.example", "")
        self._maybe(case, 0.05, "virtual_transport", "lmtp:unix:private/dovecot-lmtp")
        self._maybe(case, 0.1, "sender_canonical_maps", "static:noreply@example.com")
        if "sender_canonical_maps" in case.main_cf:
            self._maybe(case, 0.7, "sender_canonical_classes", "envelope_sender, header_sender")
            self._maybe(
                case, 0.7, "local_header_rewrite_clients", "permit_inet_interfaces, permit_mynetworks"
            )
        if self._chance(0.25):
            self._table(case, "smtp_generic_maps", "generic", [("root@localhost", "admin@example.com")])
        if self._chance(0.2):
            way = self._one(f"smtp:{self._hop('inner.example.com')}", ":", f"relay:{self._hop(HOSTS[-2])}")
            self._table(case, "transport_maps", "transport", [("partner.example", way), (".lan", "smtp:")])
        case.services.append("smtp-amavis unix - - n - 2 smtp -o smtp_data_done_timeout=1200")

    def _table(self, case: Case, name: str, file: str, entries: list[tuple[str, str]]) -> None:
        entries = list({key.lower(): (key, value) for key, value in entries}.values())
        kind = self._one(*self._types, "hash", "hash", "hash", "proxy", "inline")
        if kind == "inline" and all(
            "{" not in f"{key}{value}" and "," not in value for key, value in entries
        ):
            case.main_cf[name] = (
                f"inline:{{ {', '.join(f'{{ {key} = {value} }}' for key, value in entries)} }}"
            )
            return
        kind = "hash" if kind == "inline" else kind
        case.tables.append(Table("hash" if kind == "proxy" else kind, file, entries))
        case.main_cf[name] = f"{'proxy:hash' if kind == 'proxy' else kind}:TABLES/{file}"
