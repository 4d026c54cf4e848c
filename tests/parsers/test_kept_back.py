"""Replies that accept a mail and say that it is not passed on."""

import pytest

from postward.parsers.kept_back import kept_back, may_be_kept_back

SAYS = {
    "250 2.7.0 Ok, discarded, id=15303-02 - spam": "discarded",  # amavis, posted logs
    "250 2.7.0 Ok, discarded, id=2022049-03 - INFECTED: Win.Test.EICAR_HDB-1": "discarded",
    "250 quarantined as 7f3c2d": "quarantined",
    "250 2.5.0 OK, sent to quarantine": "quarantined",
    "250 2.0.0 Ok: Message held in quarantine": "quarantined",
    "250 2.1.5 <a@example.com>: recipient is on the suppression list": "suppressed",
    "250 2.0.0 Suppressed": "suppressed",
    "250 Message silently dropped": "discarded",
}
DOES_NOT = (
    "250 2.0.0 Ok: queued as 4gB0aa1234z9t",
    "250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4gB0aa1234z9t",
    "250 2.6.0 <1@quarantine.example.com> [InternalId=1, Hostname=discarded.example.com] Queued mail for delivery",
    "250 2.0.0 Ok: queued as DISCARDED",
    "250 2.0.0 quarantined@example.com... Recipient ok",
    "250 ok dirdel discarded.example.com",
    "250 2.0.0 Ok, not quarantined",
    "delivered to command: /usr/bin/quarantined",
    "discarded",
    "550 5.7.1 Message discarded",
    "250",
    "",
)


@pytest.mark.parametrize(("reply", "kind"), SAYS.items())
def test_replies_that_keep_mail_back(reply: str, kind: str) -> None:
    """In the reply's own words."""
    assert kept_back(reply) == kind
    assert may_be_kept_back([None, "250 ok", reply])


@pytest.mark.parametrize("reply", DOES_NOT)
def test_other_replies(reply: str) -> None:
    """An address, a Message-ID, a host name, a queue ID, a command and a refusal are none."""
    assert kept_back(reply) is None


def test_healthy_replies_are_not_looked_at() -> None:
    """One search for a block of them."""
    assert not may_be_kept_back([None, *DOES_NOT[:2]])
