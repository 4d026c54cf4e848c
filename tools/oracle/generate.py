"""Generates configurations that route mail in many ways, and addresses that exercise them. Seeded, so repeatable."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

HOST = "client.example.test"
RELAY_HOSTS = ("relay.example.test", "second.example.test", "inner.example.test")
DOMAINS = (
    "example.test",
    HOST,
    "shop.test",
    "sub.shop.test",
    "deep.sub.shop.test",
    "list.test",
    "elsewhere.test",
    "mail.elsewhere.test",
    "localhost",
)
USERS = ("app", "root", "info", "app+news", "owner-list", "list-request", "Postmaster", "a.b", "app-x+y", "x")
ODD = (
    "app%elsewhere.test@client.example.test",
    "elsewhere.test!app",
    "elsewhere.test!app@localhost",
    '"app@elsewhere.test"@localhost',
    '"a b"@elsewhere.test',
    "app@[127.0.0.1]",
    "app@[192.0.2.7]",
    "app@192.0.2.7",
    "app@elsewhere.test.",
    "app@",
    "@",
    "app@-bad-.test",
    "app@shop",
    "-dash@elsewhere.test",
    "app@ELSEWHERE.test",
    "App@Shop.Test",
    "double-bounce@client.example.test",
    "@elsewhere.test",
    "a%b%shop.test",
    "app@shop.test@localhost",
)


# Share of the configurations that set a parameter, its name, and its values.
_SCALARS: tuple[tuple[float | str, ...], ...] = (
    (0.5, "recipient_delimiter", "+", "-", "+-", ""),
    (0.2, "append_dot_mydomain", "yes"),
    (0.2, "append_at_myorigin", "no"),
    (0.2, "swap_bangpath", "no"),
    (0.2, "allow_percent_hack", "no"),
    (0.2, "resolve_dequoted_address", "no"),
    (0.2, "resolve_null_domain", "yes"),
    (0.2, "resolve_numeric_domain", "yes"),
    (0.2, "owner_request_special", "no"),
    (0.1, "allow_min_user", "yes"),
    (0.1, "show_user_unknown_table_name", "no"),
    (0.3, "parent_domain_matches_subdomains", "", "transport_maps", "relay_domains, transport_maps"),
    (0.2, "myorigin", "$mydomain", "origin.test", "$myhostname"),
    (0.1, "empty_address_relayhost_maps_lookup_key", "null@example.test", "<>"),
    (0.1, "empty_address_default_transport_maps_lookup_key", "null@example.test"),
    (0.1, "empty_address_recipient", "nowhere@list.test"),
    (0.2, "defer_transports", "smtp", "relay, other"),
    (0.5, "mydestination", "$myhostname, localhost, $mydomain", "", "!shop.test, localhost list.test"),
    (0.6, "relay_domains", "list.test", "shop.test", ".shop.test", "!deep.sub.shop.test shop.test", ""),
    (0.3, "virtual_mailbox_domains", "list.test", "shop.test, example.test", "static:all"),
    (0.3, "virtual_alias_domains", "list.test", "sub.shop.test", "$virtual_alias_maps"),
    (0.1, "masquerade_domains", "shop.test", "!sub.shop.test shop.test"),
    (0.1, "masquerade_classes", "envelope_sender, envelope_recipient"),
    (0.2, "propagate_unmatched_extensions", "canonical", "virtual", ""),
    (0.8, "smtp_tls_security_level", "none", "may", "encrypt", ""),
    (0.2, "smtp_tls_wrappermode", "yes", "no"),
)


@dataclass
class Table:
    """A table in a file: type, name and lines, each a key and a value."""

    type: str
    name: str
    lines: list[tuple[str, str]]


@dataclass
class Case:
    """A configuration to write, and mails to ask about.

    Attributes:
        main_cf: parameters; "TABLES" in a value stands for the directory of the tables.
        services: further lines of master.cf.
        overrides: -o settings: (service, parameter, value).
        tables: the tables in files.
        mails: (sender, recipient).
    """

    main_cf: dict[str, str] = field(default_factory=dict)
    services: list[str] = field(default_factory=list)
    overrides: list[tuple[str, str, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    mails: list[tuple[str, str]] = field(default_factory=list)


class Generator:
    """Makes cases. `types` are the table types that this Postfix can build."""

    def __init__(self, seed: int, types: frozenset[str]) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._types = sorted(types & {"hash", "btree", "lmdb", "cdb", "texthash"})
        self._patterns = sorted(types & {"pcre", "regexp"})

    def cases(self, number: int, mails: int) -> list[Case]:
        """Return cases with so many mails each."""
        return [self._case(mails) for _ in range(number)]

    def _case(self, mails: int) -> Case:
        case = Case()
        for make in (self._scalars, self._classes, self._routes, self._rewriting, self._client):
            make(case)
        case.mails = [(self._sender(), self._recipient()) for _ in range(mails)]
        case.mails[0] = ("", case.mails[0][1])
        return case

    # Choices

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _one(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _address(self) -> str:
        return f"{self._one(*USERS)}@{self._one(*DOMAINS)}"

    def _sender(self) -> str:
        return self._one(
            "", self._address(), self._address(), self._address(), self._one(*USERS), self._one(*ODD)
        )

    def _recipient(self) -> str:
        return self._one(
            self._address(), self._address(), self._address(), self._one(*USERS), self._one(*ODD)
        )

    def _relay(self) -> str:
        host = self._one(*RELAY_HOSTS)
        return self._one(
            f"[{host}]:587", f"[{host}]:465", f"[{host}]", f"[{host}]:submission", f"{host}:2525", host
        )

    def _hop(self) -> str:
        return self._one(
            self._relay(),
            self._relay(),
            self._relay(),
            f"{self._relay()}, {self._relay()}",
            "[127.0.0.1]:10024",
        )

    def _transport(self, *, full: bool) -> str:
        """A transport; `full` excludes forms that are valid in transport_maps alone."""
        hop = self._hop()
        forms = [
            "smtp",
            f"smtp:{hop}",
            f"relay:{hop}",
            f"other:{hop}",
            "error:5.7.1 not here",
            "discard:gone",
            "local",
        ]
        forms += [
            "virtual",
            "lmtp:unix:private/dovecot",
            f"lmtp:inet:{RELAY_HOSTS[2]}:24",
            "retry:4.0.0 later",
            "none:x",
        ]
        if not full:
            forms += [":", f":{hop}", "smtp:", "error:", "retry:", "other:", f"smtp:{hop}"]
        return self._one(*forms)

    # Tables

    def _table(
        self, case: Case, name: str, entry: Callable[[], tuple[str, str]], *, patterns: bool = True
    ) -> str:
        """Add one to three tables and return the list that names them."""
        return self._one(" ", ", ").join(
            self._single(case, f"{name}{number}", entry, patterns)
            for number in range(self._random.choice((1, 1, 1, 2)))
        )

    def _single(self, case: Case, name: str, entry: Callable[[], tuple[str, str]], patterns: bool) -> str:
        entries = [entry() for _ in range(self._random.randint(1, 7))]
        if not self._chance(0.1):
            entries = list(dict(entries).items())  # keys are unique, except that they may differ in case
        kind = self._one(
            *self._types,
            *self._types,
            "inline",
            *(["static", *self._patterns] if patterns else []),
            "proxy",
            "missing",
        )
        if kind == "static":
            return f"static:{{{entries[0][1]}}}"
        if kind == "inline":
            return f"inline:{{ {', '.join(f'{{ {key} = {value} }}' for key, value in entries)} }}"
        if kind == "missing":
            return f"{self._one(*self._types)}:TABLES/{name}" if self._chance(0.1) else "inline:{ none=none }"
        if kind in self._patterns:
            entries = [(self._pattern(key), value) for key, value in entries]
        proxy = "proxy:" if kind == "proxy" else ""
        kind = self._types[0] if proxy else kind
        case.tables.append(Table(kind, name, entries))
        return f"{proxy}{kind}:TABLES/{name}"

    def _pattern(self, key: str) -> str:
        text = key.replace(".", r"\.").replace("+", r"\+").replace("/", r"\/")
        text = text if text.strip("*@<>") else ".+"
        return self._one(
            f"/^{text}$/", f"/{text}/", f"!/{text}/", f"/{text}$/i", f"/^[[:alnum:]+.-]+{text[-12:]}$/"
        )

    def _sender_key(self) -> str:
        return self._one(self._address(), self._address(), f"@{self._one(*DOMAINS)}", self._one(*USERS), "<>")

    def _sender_relay(self) -> tuple[str, str]:
        return self._sender_key(), self._one("DUNNO", "dunno", self._hop(), self._hop())

    def _sender_transport(self) -> tuple[str, str]:
        return self._sender_key(), self._one("DUNNO", self._transport(full=True))

    def _transport_entry(self) -> tuple[str, str]:
        domain = self._one(*DOMAINS)
        key = self._one(self._address(), domain, f".{domain}", "*", "test", ".test")
        return key, self._transport(full=False)

    def _canonical(self) -> tuple[str, str]:
        return self._sender_key(), self._one(self._address(), f"@{self._one(*DOMAINS)}", self._one(*USERS))

    def _alias(self) -> tuple[str, str]:
        return self._sender_key(), self._one(self._address(), f"{self._address()}, {self._address()}", "app")

    def _policy_entry(self) -> tuple[str, str]:
        names = (*RELAY_HOSTS, ".example.test", *DOMAINS[:4])
        attribute = self._one(
            *("", "", " protocols=>=TLSv1.2", " ciphers=high", " !SSLv3", " match=x.test", " colour=blue")
        )
        level = self._one("none", "may", "encrypt", "encrypt", "Encrypt", "strong")
        return self._one(self._relay(), self._relay(), *names[:3], self._one(*names)), f"{level}{attribute}"

    def _login(self) -> tuple[str, str]:
        key = self._one(
            self._relay(), self._relay(), self._one(*RELAY_HOSTS), self._sender_key(), "127.0.0.1"
        )
        return key, f"{self._one('user', 'second', 'third')}{self._random.randint(1, 9)}:secret"

    # Parts of a configuration

    def _maybe(self, case: Case, share: float, name: str, *choices: str) -> None:
        if self._chance(share):
            case.main_cf[name] = self._one(*choices)

    def _scalars(self, case: Case) -> None:
        for share, name, *choices in _SCALARS:
            self._maybe(case, float(share), str(name), *map(str, choices))

    def _classes(self, case: Case) -> None:
        for name in ("mydestination", "relay_domains", "virtual_mailbox_domains"):
            if self._chance(0.15):
                case.main_cf[name] = self._table(
                    case, name, lambda: (self._one("", ".") + self._one(*DOMAINS), "x")
                )

    def _routes(self, case: Case) -> None:
        if self._chance(0.7):
            case.main_cf["relayhost"] = self._hop()
        for name, usual in (
            ("default", "smtp"),
            ("relay", "relay"),
            ("local", "local:$myhostname"),
            ("virtual", "virtual"),
        ):
            if self._chance(0.25):
                case.main_cf[f"{name}_transport"] = self._one(usual, self._transport(full=True))
        if self._chance(0.5):
            case.main_cf["sender_dependent_relayhost_maps"] = self._table(
                case, "sender_relay", self._sender_relay
            )
        if self._chance(0.4):
            case.main_cf["sender_dependent_default_transport_maps"] = self._table(
                case, "sender_transport", self._sender_transport
            )
        if self._chance(0.6):
            case.main_cf["transport_maps"] = self._table(case, "transport", self._transport_entry)
        if self._chance(0.1):
            case.main_cf["relocated_maps"] = self._table(
                case, "relocated", lambda: (self._address(), "new@home.test")
            )
        case.services.append("other unix - - n - - smtp")

    def _rewriting(self, case: Case) -> None:
        for name in ("canonical_maps", "sender_canonical_maps", "recipient_canonical_maps"):
            if self._chance(0.2):
                case.main_cf[name] = self._table(case, name, self._canonical)
        if self._chance(0.4):
            case.main_cf["virtual_alias_maps"] = self._table(case, "virtual", self._alias)

    def _client(self, case: Case) -> None:
        """Settings of smtp(8): TLS, logins, fallbacks, content filters."""
        self._maybe(case, 0.15, "smtp_fallback_relay", self._hop())
        if self._chance(0.6):
            case.main_cf["smtp_tls_policy_maps"] = self._table(case, "tls_policy", self._policy_entry)
        if self._chance(0.7):
            case.main_cf["smtp_sasl_auth_enable"] = "yes"
            case.main_cf["smtp_sasl_password_maps"] = self._table(case, "sasl_passwd", self._login)
            self._maybe(case, 0.5, "smtp_sender_dependent_authentication", "yes", "no")
        if self._chance(0.4):
            name, value = self._random.choice(
                (
                    ("smtp_tls_wrappermode", "yes"),
                    ("smtp_tls_security_level", "encrypt"),
                    ("smtp_tls_policy_maps", ""),
                    ("smtp_sasl_auth_enable", "no"),
                    ("smtp_fallback_relay", ""),
                )
            )
            case.overrides.append((self._one("smtp/unix", "other/unix", "relay/unix"), name, value))
        if self._chance(0.15):
            case.main_cf["content_filter"] = self._one(
                f"other:{self._hop()}", "other:", "smtp:[127.0.0.1]:10024"
            )
            if self._chance(0.3):
                case.overrides.append(("pickup/unix", "content_filter", ""))


def parameters(case: Case, tables: str) -> Mapping[str, str]:
    """Return the parameters of a case, with its tables in a directory."""
    return {name: value.replace("TABLES", tables) for name, value in case.main_cf.items()}
