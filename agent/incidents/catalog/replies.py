"""Symptoms in the relay's answers: limits, senders, recipients, content."""

from collections.abc import Collection

from postward.agent.incidents.symptom import Candidate, Certainty, Effect, Resolution, Symptom, words
from postward.config.lint.facts import HostFacts
from postward.parsers import Cause

_REWRITE = "host.rewrite_sender"
_SENDER_MEND = "write an address that the relay allows into host.rewrite_sender, then {apply}"


def _other_domain(facts: HostFacts, domains: Collection[str]) -> bool | None:
    """Not if all of it was for this host's own name."""
    return False if _of_this_host(facts, domains) == {True} else None


def _own_name(facts: HostFacts, domains: Collection[str]) -> bool | None:
    """Not if none of it was."""
    return False if _of_this_host(facts, domains) == {False} else None


def _of_this_host(facts: HostFacts, domains: Collection[str]) -> set[bool]:
    if not facts.defaults or facts.fault:
        return set()
    names = {facts.value("myhostname").lower(), "localhost", f"localhost.{facts.value('mydomain').lower()}"}
    return {domain in names for domain in domains}


def _sender(
    name: str, title: str, says: str | None, what: str, setting: str = _REWRITE, remedy: str = _SENDER_MEND
) -> Symptom:
    candidate = Candidate(
        "sender", what, setting, "smtp_generic_maps, sender_canonical_maps, myorigin", remedy
    )
    return Symptom(name, title, (candidate,), Certainty.CERTAIN, Cause.SENDER_REJECTED, says=words(says) if says else None,
                   effect=Effect.LOST if name != "sender-domain" else Effect.DELAYED, proof=Resolution.SAME_SENDER)  # fmt: skip


SYMPTOMS: tuple[Symptom, ...] = (
    # --- names
    Symptom(
        "helo-name", "the relay does not take this host's name",
        (Candidate("myhostname", "myhostname, which Postfix gives in EHLO, has no domain or does not exist", "host.myhostname",
                   "myhostname, smtp_helo_name", "write a full host name into host.myhostname, then {apply}"),),
        cause=Cause.HELO_REJECTED, effect=Effect.LOST,
    ),
    # --- limits
    Symptom(
        "too-many-recipients", "the relay takes fewer recipients at once",
        (Candidate("recipient-limit", "more recipients in one mail than the relay allows", "main_cf.smtp_destination_recipient_limit",
                   "smtp_destination_recipient_limit", "{set smtp_destination_recipient_limit=10}"),),
        cause=Cause.RATE_LIMIT, says=words("too many recipients"),
    ),
    Symptom(
        "too-many-connections", "more connections at once than the relay allows",
        (Candidate("concurrency", "the relay limits connections at once", "main_cf.smtp_destination_concurrency_limit",
                   "smtp_destination_concurrency_limit", "{set smtp_destination_concurrency_limit=2}"),),
        cause=Cause.RATE_LIMIT, says=words("concurren|too many (?:concurrent )?(?:connections|sessions)"),
    ),
    Symptom(
        "rate-limit", "mail is sent faster than the relay allows",
        (Candidate("rate", "the relay limits how fast mail may come", "main_cf.smtp_destination_rate_delay",
                   "smtp_destination_rate_delay, smtp_destination_concurrency_limit", "{set smtp_destination_rate_delay=1s}, or have "
                   "the relay raise the limit"),),
        cause=Cause.RATE_LIMIT,
    ),
    Symptom(
        "quota", "the day's or month's amount is used up",
        (Candidate("quota", "the account has sent as much as it may", "nothing in the settings: the account at the relay", "-",
                   "wait until it begins anew, have it raised, or use another relay; {hold}"),),
        cause=Cause.QUOTA, effect=Effect.LOST,
    ),
    Symptom(
        "greylisted", "the receiver delays mail of unknown senders on purpose (greylisting)",
        (Candidate("greylisting", "this is normal; the next attempt succeeds", "nothing in the settings: the receiver", "-", "wait"),),
        cause=Cause.GREYLISTED, effect=Effect.NOTE, proof=Resolution.SENT,
    ),
    # --- senders
    _sender("sender-domain", "the relay does not find the sender's domain", "Domain not found|domain .*does not exist",
            "the sender's domain does not exist in DNS: a host name without a domain, or .localdomain", "host.myorigin",
            "write a domain of yours into host.mydomain (host.myorigin), or an address into host.rewrite_sender; then {apply}"),
    _sender("sender-not-verified", "the relay has not verified this sender", r"not verified|verified Sender Identity",
            "the sender's address or domain is not verified in the account at the relay",
            remedy="verify the domain in the relay's console (for SES in the region of relay.host), or " + _SENDER_MEND),
    _sender("sender-send-as", "the account may not send as this sender", "SendAsDenied|not allowed to send as",
            "the mailbox has no right to send as this address", remedy="give it the right Send As, or " + _SENDER_MEND),
    _sender("sender-must-be-login", "the sender must be the login's own address", "must (?:be same as|equal) authoriz(?:ed|ation)",
            "this relay takes no sender but the login", remedy="write the login's address into host.rewrite_sender, then {apply}"),
    _sender("sender-rejected", "the relay does not allow this sender", None, "the login may not send as this address"),
    # --- relaying
    Symptom(
        "relay-denied", "the server that Postfix talks to does not relay for this host",
        (
            Candidate("brackets", "without brackets Postfix asks for the MX hosts of relayhost, and talks to another server", "relay.host",
                      "relayhost", "{set relayhost=[HOST]:PORT}, with brackets", "is the host after relay= the one in relayhost?",
                      ("relayhost-without-brackets",)),
            Candidate("no-login-here", "no login took place, because this port offers none or none is set up", "relay.port, relay.username",
                      "relayhost, smtp_sasl_auth_enable", "{set_login}", "postward relay shows whether a login is offered",
                      hints=("sasl-switched-off", "password-key-mismatch", "password-without-tls")),
            Candidate("no-relayhost", "mail goes past the relay, to the recipients' own servers", "relay.host", "relayhost", "{set_login}",
                      "postconf -h relayhost", ("relayhost-missing", "relayhost-overruled")),
        ),
        cause=Cause.RELAY_DENIED, effect=Effect.LOST,
    ),
    # --- single mails
    Symptom(
        "soft-bounce", "mail that cannot be delivered is kept in the queue: soft_bounce is on",
        (Candidate("soft-bounce", "soft_bounce = yes turns every permanent refusal into a delay", "main_cf.soft_bounce", "soft_bounce",
                   "{remove soft_bounce}"),),
        cause=Cause.RECIPIENT_REJECTED, says=words("^status=SOFTBOUNCE"), effect=Effect.DELAYED,
    ),
    Symptom(
        "local-recipient", "mail for this domain is delivered on this host, where there is no such user: it never leaves",
        (
            Candidate("mydestination", "the domain stands in mydestination", "host.mydestination", "mydestination",
                      "take the domain out of host.mydestination, then {apply}", "postconf -hx mydestination",
                      hints=("mydestination-swallows-domain",), host=_other_domain),
            Candidate("no-such-user", "it is meant for this host, and there is no such user or alias", "/etc/aliases", "alias_maps",
                      "add an alias to /etc/aliases, then {newaliases}", "is the recipient's domain this host's name?", host=_own_name),
        ),
        cause=Cause.RECIPIENT_REJECTED, daemon="local", effect=Effect.REJECTED,
    ),
    Symptom(
        "recipient-unknown", "recipients do not exist or do not take mail",
        (Candidate("recipient", "the address is wrong; nothing is wrong with the relay", "nothing in the settings: the recipient's address",
                   "-", "correct the address in the program that writes to it"),),
        cause=Cause.RECIPIENT_REJECTED, effect=Effect.REJECTED,
    ),
    Symptom(
        "smtputf8", "an address with letters beyond ASCII, and the relay cannot take it",
        (Candidate("address", "the relay does not offer SMTPUTF8", "nothing in the settings: the recipient's address", "-",
                   "use an address in ASCII"),),
        cause=Cause.CONTENT, says=words("SMTPUTF8 is required|requires SMTPUTF8"), effect=Effect.REJECTED,
    ),
    Symptom(
        "content", "the relay refuses mail for its content",
        (Candidate("content", "a filter of the relay takes it for spam, or misses an approved template", "nothing in the settings: the mail's "
                   "content", "-", "read the relay's words; change the mail"),),
        cause=Cause.CONTENT, effect=Effect.REJECTED,
    ),
    Symptom(
        "size", "mail is larger than the relay takes",
        (Candidate("size", "the relay's limit is lower than this host's", "main_cf.message_size_limit", "message_size_limit",
                   "set message_size_limit to the relay's limit, so that programs learn it when they submit"),),
        cause=Cause.SIZE, effect=Effect.REJECTED,
    ),
    Symptom(
        "policy-dmarc", "receivers refuse the sender's domain: SPF, DKIM or DMARC",
        (Candidate("dns-of-sender", "the relay is not in the sender domain's SPF record, or does not sign with its DKIM key",
                   "nothing in the settings: DNS of the sender's domain", "-",
                   "add the relay's include to SPF, and its DKIM key to DNS"),),
        cause=Cause.POLICY, says=words(r"dmarc|dkim|\bspf\b|5\.7\.2[3-9]"), effect=Effect.REJECTED,
    ),
    Symptom(
        "policy", "the relay refuses mail by a rule of its own",
        (Candidate("policy", "the relay's words say which rule", "nothing in the settings: the relay", "-", "read the relay's words"),),
        Certainty.LIKELY, Cause.POLICY, effect=Effect.REJECTED,
    ),
    Symptom(
        "relay-busy", "the relay puts mail off",
        (Candidate("relay-temporary", "the relay is busy, in maintenance, or limits this account", "nothing in the settings: the relay", "-",
                   "wait; if it lasts, ask the relay"),),
        Certainty.LIKELY, Cause.REMOTE_TEMPORARY,
    ),
    Symptom(
        "other", "the relay, or Postfix, gives a reason that this catalogue does not know",
        (Candidate("unknown", "the line's own words are all that is known", "-", "-", "read the line"),),
        Certainty.LIKELY, Cause.OTHER,
    ),
)  # fmt: skip
