"""SPF, DMARC and the HELO name of the senders' domains, asked of a name server on loopback."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from postward.agent.commands.doctor import command
from postward.agent.doctor.domains import MAX_LOOKUPS, RULES, Dns, DnsError, domain_findings, read_spf
from postward.config.providers import PROVIDERS
from postward.config.settings import Settings, load_settings
from tests.support.name_server import Records, name_server

_RELAY = """\
[host]
myhostname = "mail.shop.org"

[[relay]]
name = "main"
provider = "gmail-relay"
"""
_DIRECT = """\
[host]
myhostname = "mail.shop.org"

[[relay]]
name = "main"
direct = true
"""
_GOOGLE: Records = {
    ("_spf.google.com", "TXT"): ['"v=spf1 include:_netblocks.google.com ~all"'],
    ("_netblocks.google.com", "TXT"): ['"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all"'],
}
_DMARC: Records = {("_dmarc.shop.org", "TXT"): ['"v=DMARC1; p=none"']}
_HELO: Records = {
    ("mail.shop.org", "A"): ["192.0.2.9"],
    ("9.2.0.192.in-addr.arpa", "PTR"): ["mail.shop.org."],
}


def _spf(*values: str) -> Records:
    return {("shop.org", "TXT"): [_strings(value) for value in values], **_GOOGLE, **_DMARC}


def _strings(value: str) -> str:
    """Return a text as strings of a TXT record, which have at most 255 bytes."""
    return " ".join(f'"{value[start : start + 200]}"' for start in range(0, len(value), 200))


def _many(number: int, *, first: bool) -> Records:
    """An SPF record with this many other includes, before or behind that of the relay."""
    others = [f"include:n{index}.shop.org" for index in range(number)]
    terms = ["include:_spf.google.com", *others] if first else [*others, "include:_spf.google.com"]
    more: Records = {
        (f"n{index}.shop.org", "TXT"): ['"v=spf1 ip4:198.51.100.1 -all"'] for index in range(number)
    }
    return {**_spf(f"v=spf1 {' '.join(terms)} -all"), **more}


def settings_of(folder: Path, text: str) -> Settings:
    """Load settings."""
    path = folder / "postward.toml"
    path.write_text(text)
    return load_settings(path)


def found(folder: Path, text: str, records: Records) -> dict[str, tuple[str, str]]:
    """Return finding → what and remedy."""
    with name_server(records) as resolver:
        findings = domain_findings(settings_of(folder, text), Dns(resolver))
    return {finding.id: (finding.what, finding.remedy) for finding in findings}


# Case → settings, zone, findings.
_CASES: dict[str, tuple[str, Records, set[str]]] = {
    "covered": (_RELAY, _spf("v=spf1 include:_spf.google.com ~all"), set()),
    "covered by redirect": (_RELAY, _spf("v=spf1 redirect=_spf.google.com"), set()),
    "covered by an include of an include": (
        _RELAY,
        {
            **_spf("v=spf1 include:all.shop.org -all"),
            ("all.shop.org", "TXT"): ['"v=spf1 include:_spf.google.com -all"'],
        },
        set(),
    ),
    "in two strings": (
        _RELAY,
        {("shop.org", "TXT"): ['"v=spf1 include:_spf." "google.com ~all"'], **_GOOGLE, **_DMARC},
        set(),
    ),
    "covered by its addresses": (_RELAY, _spf("v=spf1 ip4:192.0.0.0/16 ip6:2001:db8::/32 -all"), set()),
    "a term that depends on the mail": (_RELAY, _spf("v=spf1 exists:%{i}.shop.org -all"), set()),
    "everything is allowed": (_RELAY, _spf("v=spf1 +all"), set()),
    "no record": (_RELAY, {**_GOOGLE, **_DMARC, ("shop.org", "TXT"): ['"other"']}, {"spf-missing"}),
    "no such domain": (_RELAY, {**_GOOGLE, **_DMARC}, {"spf-missing"}),
    "two records": (_RELAY, _spf("v=spf1 include:_spf.google.com -all", "v=spf1 mx -all"), {"spf-several"}),
    "another relay": (_RELAY, _spf("v=spf1 mx ip4:203.0.113.7 -all"), {"spf-relay"}),
    "excluded": (_RELAY, _spf("v=spf1 -include:_spf.google.com ~all"), {"spf-relay"}),
    "half of its addresses": (_RELAY, _spf("v=spf1 ip4:192.0.2.0/25 ip6:2001:db8::/32 -all"), {"spf-relay"}),
    "an include of itself": (_RELAY, _spf("v=spf1 include:shop.org -all"), {"spf-relay"}),
    "many includes behind": (_RELAY, _many(12, first=True), set()),
    "as many as may be": (_RELAY, _many(MAX_LOOKUPS - 2, first=False), set()),
    "too many includes before": (_RELAY, _many(MAX_LOOKUPS - 1, first=False), {"spf-lookups"}),
    "no DMARC": (
        _RELAY,
        {("shop.org", "TXT"): ['"v=spf1 include:_spf.google.com ~all"'], **_GOOGLE},
        {"dmarc-missing"},
    ),
    "DMARC of the domain above": (
        _RELAY.replace("mail.shop.org", "mail.eu.shop.org"),
        {("eu.shop.org", "TXT"): ['"v=spf1 include:_spf.google.com ~all"'], **_GOOGLE, **_DMARC},
        set(),
    ),
    "direct": (_DIRECT, {**_HELO, **_DMARC}, set()),
    "direct, without an address": (_DIRECT, _DMARC, {"helo-unknown"}),
    "direct, another name": (
        _DIRECT,
        {**_HELO, **_DMARC, ("9.2.0.192.in-addr.arpa", "PTR"): ["host9.provider.net."]},
        {"helo-not-back"},
    ),
    "direct, no name": (_DIRECT, {("mail.shop.org", "A"): ["192.0.2.9"], **_DMARC}, {"helo-not-back"}),
    "a domain that is private": (_RELAY.replace("shop.org", "shop.test"), {}, set()),
    "a provider that replaces the sender": (
        _RELAY.replace('"gmail-relay"', '"sendgrid"\npassword = "key"'),
        {},
        set(),
    ),
    "a mailbox at the provider": (
        _RELAY.replace("gmail-relay", "gmail").replace("\n\n", '\nrewrite_sender = "me@gmail.com"\n\n', 1),
        {},
        set(),
    ),
}


@pytest.mark.parametrize("case", _CASES)
def test_a_domain_has_these_findings(case: str, tmp_path: Path) -> None:
    """And no other."""
    text, records, expected = _CASES[case]

    assert found(tmp_path, text, records).keys() == expected


def test_every_rule_has_a_case() -> None:
    """A new rule requires a domain that breaks it."""
    assert {rule.id for rule in RULES} == set().union(*(case[2] for case in _CASES.values()))


def test_findings_name_the_fact_and_the_remedy(tmp_path: Path) -> None:
    """The record to write, and both names of an address."""
    missing = found(tmp_path, _RELAY, {**_GOOGLE, **_DMARC})["spf-missing"]
    other = found(tmp_path, _DIRECT, _CASES["direct, another name"][1])["helo-not-back"]

    assert missing == ("has no SPF record", "add the TXT record: v=spf1 include:_spf.google.com ~all")
    assert other[0] == "does not resolve back: 192.0.2.9 is host9.provider.net"
    assert other[1].endswith("PTR record to mail.shop.org")


def test_a_name_server_that_fails_proves_nothing(tmp_path: Path) -> None:
    """The look ends; a missing answer is not a missing record."""
    with (
        name_server({}, failing=frozenset({"shop.org"})) as resolver,
        pytest.raises(DnsError, match=r"shop\.org TXT"),
    ):
        domain_findings(settings_of(tmp_path, _RELAY), Dns(resolver))


@pytest.mark.parametrize("failing", [False, True])
def test_the_command_shows_findings_or_why_there_are_none(
    failing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In JSON: a finding, or the part that was not checked; `--no-dns` asks nothing."""
    settings_of(
        tmp_path, f'{_RELAY}[postfix]\nconfig_directory = "{tmp_path}"\n[state]\ndirectory = "{tmp_path}"\n'
    )
    options = ["--no-relay", "--json", "--config", str(tmp_path / "postward.toml")]
    with name_server({**_GOOGLE, **_DMARC}, failing=frozenset({"shop.org"} if failing else ())) as resolver:
        monkeypatch.setattr("postward.agent.commands.doctor.Dns", lambda: Dns(resolver))
        asked = json.loads(CliRunner().invoke(command, options).stdout)
        silent = json.loads(CliRunner().invoke(command, [*options, "--no-dns"]).stdout)
    ids = {finding["id"] for finding in asked["findings"]}

    assert ("spf-missing" in ids) is not failing
    assert any(text.startswith("the senders' domains: shop.org TXT") for text in asked["unread"]) is failing
    assert "spf-missing" not in {finding["id"] for finding in silent["findings"]}
    assert not any("senders' domains" in text for text in silent["unread"])


def test_records_without_an_end_are_bounded() -> None:
    """A chain of includes that is longer than any limit is read up to it."""
    chain: Records = {
        (f"d{n}.shop.org", "TXT"): [f'"v=spf1 include:d{n + 1}.shop.org -all"'] for n in range(200)
    }
    with name_server(chain) as resolver:
        spf = read_spf(Dns(resolver), "d0.shop.org")

    assert MAX_LOOKUPS < spf.lookups < 40


def test_domains_to_include_are_public_names() -> None:
    """Of all providers that have one."""
    for provider in PROVIDERS.values():
        assert provider.spf == "" or provider.spf.count(".") >= 1
