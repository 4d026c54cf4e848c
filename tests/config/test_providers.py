"""The table of providers: found by the names that people use."""

from collections import Counter

import pytest

from postward.config.providers import PROVIDERS, find_provider, login_fault, provider_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Gmail", "gmail"),
        ("smtp.gmail.com", "gmail"),
        ("Me@GoogleMail.com", "gmail"),
        ("SendCloud", "sendcloud"),
        ("smtp2525.sendcloud.net", "sendcloud"),
        ("Microsoft 365", "office365"),
        ("example.onmicrosoft.com", "office365"),
        ("hotmail.com", "outlook"),
        ("Amazon SES", "ses"),
        ("email-smtp.eu-west-1.amazonaws.com", "ses"),
        ("Elastic Email", "elasticemail"),
        ("mail.ru", "mailru"),
        ("163.com", "163"),
        ("sendcluod", None),
        ("example.com", None),
        ("smtp.example.com", None),
        ("", None),
    ],
)
def test_a_provider_is_found_as_people_name_it(text: str, name: str | None) -> None:
    """By its name or title in any case, a host of its relays, a mail domain or an address."""
    assert find_provider(text) == name


def test_no_name_stands_for_two_providers() -> None:
    """Every name, title, host and domain leads to its own provider."""
    names = Counter(
        other.lower()
        for name, provider in PROVIDERS.items()
        for other in {name, provider.title.lower(), *provider.also, provider.host, *provider.hosts}
    )
    assert [name for name, count in names.items() if count > 1] == []
    for name, provider in PROVIDERS.items():
        assert {find_provider(other) for other in (name, provider.title, *provider.also)} == {name}
        for host in (provider.host.format(region="eu-west-1"), *provider.hosts):
            found = provider_of(host)
            assert found is not None
            assert found[0] == name


def test_a_login_has_the_form_of_its_provider() -> None:
    """A constant name, or an address; other forms are not checked."""
    assert login_fault("sendgrid", "me") is not None
    assert login_fault("gmail", "me") is not None
    assert login_fault("gmail", "me@gmail.com") is None
    assert login_fault("mailjet", "0123abcd") is None
