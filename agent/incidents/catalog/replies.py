"""Symptoms in the relay's replies: limits, senders, recipients, content."""

from collections.abc import Collection

from postward.agent.incidents.catalog.symptom import Candidate, Changes, Resolution, Symptom, pattern
from postward.agent.incidents.model import Effect
from postward.config.lint.facts import HostFacts
from postward.parsers import Cause

_SENDER_REMEDY = "write an address that the relay allows into host.rewrite_sender, then {apply}"


def _other_domain(facts: HostFacts, domains: Collection[str]) -> bool | None:
    """Rule the cause out if all mail was for this host's own name."""
    return False if _of_this_host(facts, domains) == {True} else None


def _own_name(facts: HostFacts, domains: Collection[str]) -> bool | None:
    """Rule the cause out if no mail was for this host's own name."""
    return False if _of_this_host(facts, domains) == {False} else None


def _of_this_host(facts: HostFacts, domains: Collection[str]) -> set[bool]:
    if not facts.defaults or facts.fault:
        return set()
    names = {facts.value("myhostname").lower(), "localhost", f"localhost.{facts.value('mydomain').lower()}"}
    return {domain in names for domain in domains}


SYMPTOMS: tuple[Symptom, ...] = (
    # Names
    Symptom(
        id="helo-name",
        title="the relay rejects this host's HELO name",
        cause=Cause.HELO_REJECTED,
        effect=Effect.LOST,
        candidates=(
            Candidate(
                id="myhostname",
                what="myhostname, which Postfix sends in EHLO, has no domain or does not exist",
                setting="host.myhostname",
                parameter="myhostname, smtp_helo_name",
                remedy="write a fully qualified host name into host.myhostname, then {apply}",
                changes=Changes.WRITES,
                check="postconf -hx smtp_helo_name myhostname",
            ),
            Candidate(
                id="helo-dns",
                what="the name has no address in DNS, or another one than that from which this host sends",
                setting="nothing in the settings: DNS of this host's name",
                parameter="-",
                remedy="create an A record for the name, and a PTR record for the address",
                changes=Changes.WRITES,
                check="does dig A on the name give this host's public address?",
            ),
        ),
    ),
    # Limits
    Symptom(
        id="too-many-recipients",
        title="the relay accepts fewer recipients per mail",
        cause=Cause.RATE_LIMIT,
        text=pattern("too many recipients"),
        candidates=(
            Candidate(
                id="recipient-limit",
                what="a mail has more recipients than the relay allows",
                setting="main_cf.smtp_destination_recipient_limit",
                parameter="smtp_destination_recipient_limit",
                remedy="{set smtp_destination_recipient_limit=10}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="too-many-connections",
        title="Postfix opens more connections at once than the relay allows",
        cause=Cause.RATE_LIMIT,
        text=pattern("concurren|too many (?:concurrent )?(?:connections|sessions)"),
        candidates=(
            Candidate(
                id="concurrency",
                what="the relay limits the number of simultaneous connections",
                setting="main_cf.smtp_destination_concurrency_limit",
                parameter="smtp_destination_concurrency_limit",
                remedy="{set smtp_destination_concurrency_limit=2}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="rate-limit",
        title="mail is sent faster than the relay allows",
        cause=Cause.RATE_LIMIT,
        candidates=(
            Candidate(
                id="rate",
                what="the relay limits the rate of mail",
                setting="main_cf.smtp_destination_rate_delay",
                parameter="smtp_destination_rate_delay, smtp_destination_concurrency_limit",
                remedy="{set smtp_destination_rate_delay=1s}, or ask the relay's operator for a higher limit",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="quota",
        title="the daily or monthly quota is used up",
        cause=Cause.QUOTA,
        effect=Effect.LOST,
        candidates=(
            Candidate(
                id="quota",
                what="the account has sent as much mail as it may",
                setting="nothing in the settings: the account at the relay",
                parameter="-",
                remedy="wait until the quota resets, ask for a higher one, or use another relay; {hold}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="greylisted",
        title="the receiver delays mail from unknown senders on purpose (greylisting)",
        cause=Cause.GREYLISTED,
        effect=Effect.NOTE,
        candidates=(
            Candidate(
                id="greylisting",
                what="this is normal: the next attempt succeeds",
                setting="nothing in the settings: the receiver",
                parameter="-",
                remedy="wait",
                changes=Changes.READS,
            ),
        ),
    ),
    # Senders
    Symptom(
        id="sender-domain",
        title="the relay cannot find the sender's domain",
        cause=Cause.SENDER_REJECTED,
        text=pattern("Domain not found|domain .*does not exist"),
        resolution=Resolution.SAME_SENDER,
        candidates=(
            Candidate(
                id="sender",
                what=(
                    "the sender's domain does not exist in DNS: it is a host name without a domain, or "
                    ".localdomain"
                ),
                setting="host.myorigin",
                parameter="smtp_generic_maps, sender_canonical_maps, myorigin",
                remedy=(
                    "write a domain of yours into host.mydomain (host.myorigin), or an address into "
                    "host.rewrite_sender; then {apply}"
                ),
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="sender-not-verified",
        title="the relay has not verified this sender",
        cause=Cause.SENDER_REJECTED,
        text=pattern("not verified|verified Sender Identity"),
        effect=Effect.LOST,
        resolution=Resolution.SAME_SENDER,
        candidates=(
            Candidate(
                id="sender",
                what="the sender's address or domain is not verified in the account at the relay",
                setting="host.rewrite_sender",
                parameter="smtp_generic_maps, sender_canonical_maps, myorigin",
                remedy="verify the domain in the relay's console (for SES in the region of relay.host), or "
                + _SENDER_REMEDY,
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="sender-send-as",
        title="the account may not send as this sender",
        cause=Cause.SENDER_REJECTED,
        text=pattern("SendAsDenied|not allowed to send as"),
        effect=Effect.LOST,
        resolution=Resolution.SAME_SENDER,
        candidates=(
            Candidate(
                id="sender",
                what="the mailbox has no permission to send as this address",
                setting="host.rewrite_sender",
                parameter="smtp_generic_maps, sender_canonical_maps, myorigin",
                remedy="grant the permission Send As, or " + _SENDER_REMEDY,
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="sender-must-be-login",
        title="the sender must be the login's own address",
        cause=Cause.SENDER_REJECTED,
        text=pattern("must (?:be same as|equal) authoriz(?:ed|ation)"),
        effect=Effect.LOST,
        resolution=Resolution.SAME_SENDER,
        candidates=(
            Candidate(
                id="sender",
                what="this relay accepts only the login's address as sender",
                setting="host.rewrite_sender",
                parameter="smtp_generic_maps, sender_canonical_maps, myorigin",
                remedy="write the login's address into host.rewrite_sender, then {apply}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="sender-rejected",
        title="the relay does not allow this sender",
        cause=Cause.SENDER_REJECTED,
        effect=Effect.LOST,
        resolution=Resolution.SAME_SENDER,
        candidates=(
            Candidate(
                id="sender",
                what="the login may not send as this address, or the receiver refuses its domain",
                setting="host.rewrite_sender",
                parameter="smtp_generic_maps, sender_canonical_maps, myorigin",
                remedy=_SENDER_REMEDY,
                changes=Changes.WRITES,
            ),
        ),
    ),
    # Relaying
    Symptom(
        id="relay-denied",
        title="the server that Postfix talks to does not relay for this host",
        cause=Cause.RELAY_DENIED,
        effect=Effect.LOST,
        candidates=(
            Candidate(
                id="brackets",
                what=(
                    "relayhost has no brackets, so Postfix looks up MX hosts of the name and talks to "
                    "another server"
                ),
                setting="relay.host",
                parameter="relayhost",
                remedy="write the relay as [name]:port in relayhost, with brackets, then {reload}",
                changes=Changes.WRITES,
                check="is the host after relay= the one in relayhost?",
                lint_decides=("relayhost-without-brackets",),
            ),
            Candidate(
                id="no-login-here",
                what="no login took place: this port offers none, or none is configured",
                setting="relay.port, relay.username",
                parameter="relayhost, smtp_sasl_auth_enable",
                remedy="{set_login}",
                changes=Changes.WRITES,
                check="postward relay shows whether a login is offered",
                lint_proves=("sasl-switched-off", "password-key-mismatch", "password-without-tls"),
            ),
            Candidate(
                id="no-relayhost",
                what="mail bypasses the relay and goes to the recipients' MX hosts",
                setting="relay.host",
                parameter="relayhost",
                remedy="{set_login}",
                changes=Changes.WRITES,
                check="postconf -h relayhost",
                lint_decides=("relayhost-missing", "relayhost-overruled"),
            ),
        ),
    ),
    # Single mails
    Symptom(
        id="soft-bounce",
        title="mail that cannot be delivered stays in the queue: soft_bounce is on",
        cause=Cause.RECIPIENT_REJECTED,
        text=pattern("^status=SOFTBOUNCE"),
        candidates=(
            Candidate(
                id="soft-bounce",
                what="soft_bounce = yes turns every permanent refusal into a delay",
                setting="main_cf.soft_bounce",
                parameter="soft_bounce",
                certain_by=pattern(r"status=SOFTBOUNCE"),
                remedy="{remove soft_bounce}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="local-recipient",
        title=(
            "mail for this domain is delivered on this host, where the user does not exist: it never goes out"
        ),
        cause=Cause.RECIPIENT_REJECTED,
        daemon="local",
        effect=Effect.REJECTED,
        candidates=(
            Candidate(
                id="mydestination",
                what="the domain is in mydestination",
                setting="host.mydestination",
                parameter="mydestination",
                remedy="remove the domain from host.mydestination, then {apply}",
                changes=Changes.WRITES,
                check="postconf -hx mydestination",
                lint_proves=("mydestination-swallows-domain",),
                host_check=_other_domain,
            ),
            Candidate(
                id="no-such-user",
                what="the mail is for this host, which has no such user or alias",
                setting="/etc/aliases",
                parameter="alias_maps",
                remedy="add an alias to /etc/aliases, then {newaliases}",
                changes=Changes.WRITES,
                check="is the recipient's domain this host's name?",
                host_check=_own_name,
            ),
        ),
    ),
    Symptom(
        id="recipient-unknown-here",
        title="this host delivers the mail itself, and does not know the recipient",
        cause=Cause.RECIPIENT_REJECTED,
        text=pattern(r"host \S+\[/\S+\] said: |unknown (?:user|mailbox)|User unknown in (?:local|virtual)"),
        effect=Effect.REJECTED,
        candidates=(
            Candidate(
                id="recipient",
                what="the address does not exist on this host",
                setting="nothing in the settings: the recipient's address",
                parameter="-",
                remedy="correct the address in the program that sends the mail",
                changes=Changes.WRITES,
                check="is its domain hosted here?",
            ),
            Candidate(
                id="domain-taken-for-local",
                what="Postfix takes the recipient's domain for its own and delivers it here, although it is hosted elsewhere",
                setting="main_cf",
                parameter="mydestination, virtual_mailbox_domains, virtual_alias_domains, transport_maps",
                remedy="remove the domain from the list that contains it, then {reload}",
                changes=Changes.WRITES,
                check="postconf mydestination virtual_mailbox_domains virtual_alias_domains",
            ),
        ),
    ),
    Symptom(
        id="recipient-unknown",
        title="recipients do not exist or do not accept mail",
        cause=Cause.RECIPIENT_REJECTED,
        effect=Effect.REJECTED,
        candidates=(
            Candidate(
                id="recipient",
                what="the address is wrong, or its mailbox is full, closed or refuses this sender; the relay works",
                setting="nothing in the settings: the recipient's address",
                parameter="-",
                remedy="correct the address in the program that sends the mail",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="smtputf8",
        title="mail asks for SMTPUTF8, which the relay does not support",
        cause=Cause.CONTENT,
        text=pattern("SMTPUTF8 is required|requires SMTPUTF8"),
        effect=Effect.REJECTED,
        candidates=(
            Candidate(
                id="address",
                what="the recipient's address contains non-ASCII characters",
                setting="nothing in the settings: the recipient's address",
                parameter="-",
                refuted_by=pattern("to=<[ -~]+>.*SMTPUTF8 is required"),
                remedy="use an ASCII address",
                changes=Changes.WRITES,
                check="is the address in the line plain ASCII?",
            ),
            Candidate(
                id="smtputf8-header",
                what="the client asked for SMTPUTF8 for a header or the sender, though the recipient is plain ASCII",
                setting="main_cf.smtputf8_enable",
                parameter="smtputf8_enable, smtputf8_autodetect_classes",
                remedy="{set smtputf8_enable=no}",
                changes=Changes.WRITES,
                check="does a header of the mail contain unencoded UTF-8? Then let the program encode it",
            ),
        ),
    ),
    Symptom(
        id="content",
        title="the relay rejects mail for its content",
        cause=Cause.CONTENT,
        effect=Effect.REJECTED,
        candidates=(
            Candidate(
                id="content",
                what="a filter of the relay classifies it as spam, or expects an approved template",
                setting="nothing in the settings: the mail's content",
                parameter="-",
                remedy="read the relay's reply; change the mail",
                changes=Changes.READS,
            ),
        ),
    ),
    Symptom(
        id="size",
        title="mail is larger than the relay accepts",
        cause=Cause.SIZE,
        effect=Effect.REJECTED,
        candidates=(
            Candidate(
                id="size",
                what="the relay's limit is lower than this host's",
                setting="main_cf.message_size_limit",
                parameter="message_size_limit",
                remedy=(
                    "set message_size_limit to the relay's limit, so that programs see the error when they "
                    "submit"
                ),
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="policy-dmarc",
        title="receivers reject the sender's domain: SPF, DKIM or DMARC",
        cause=Cause.POLICY,
        text=pattern(r"dmarc|dkim|\bspf\b|5\.7\.2[3-9]"),
        effect=Effect.REJECTED,
        candidates=(
            Candidate(
                id="dns-of-sender",
                what=(
                    "the sender domain's SPF record does not include the relay, or the relay does not sign "
                    "with its DKIM key"
                ),
                setting="nothing in the settings: DNS of the sender's domain",
                parameter="-",
                remedy="add the relay's include to SPF, and its DKIM key to DNS",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="reverse-dns",
        title="the relay rejects this host's address for its reverse DNS",
        cause=Cause.POLICY,
        text=pattern(
            r"\bPTR\b|reverse[ -](?:DNS|lookup|hostname|name|record)|\brDNS\b|cannot find your (?:reverse )?hostname"
        ),
        effect=Effect.LOST,
        candidates=(
            Candidate(
                id="ptr-missing",
                what="the address from which this host sends has no PTR record, or its name does not lead back to the address",
                setting="nothing in the settings: DNS of this host's address",
                parameter="smtp_bind_address, smtp_bind_address6",
                remedy="let the owner of the address (the provider) set its PTR record to this host's name",
                changes=Changes.READS,
                check="dig -x on the address in the reply; is it an IPv6 address that should not be used (inet_protocols)?",
            ),
        ),
    ),
    Symptom(
        id="policy",
        title="the relay rejects mail by its own policy",
        cause=Cause.POLICY,
        effect=Effect.REJECTED,
        candidates=(
            Candidate(
                id="policy",
                what="the relay's reply says which rule",
                is_unknown=True,
                setting="nothing in the settings: the relay",
                parameter="-",
                remedy="read the relay's reply",
                changes=Changes.READS,
            ),
        ),
    ),
    Symptom(
        id="relay-busy",
        title="the relay defers mail",
        cause=Cause.REMOTE_TEMPORARY,
        candidates=(
            Candidate(
                id="relay-temporary",
                what="the relay is busy, in maintenance, or limits this account",
                setting="nothing in the settings: the relay",
                parameter="-",
                remedy="wait; if it lasts, contact the relay's operator",
                changes=Changes.READS,
            ),
        ),
    ),
    Symptom(
        id="other",
        title="the relay or Postfix gives a reason that the catalogue does not contain",
        cause=Cause.OTHER,
        candidates=(
            Candidate(
                id="unknown",
                what="only the text of the line is known",
                setting="-",
                parameter="-",
                remedy="read the line",
                changes=Changes.READS,
                is_unknown=True,
            ),
        ),
    ),
)
