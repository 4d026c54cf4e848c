"""Apply on hosts with very different configurations: managed parameters match the settings, and mail arrives."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from postward.agent.enforce.apply import apply, exclusively, read_actual
from postward.agent.postfix.commands import Postfix
from postward.config.desired import DesiredState, desired_state
from postward.config.drift import drift
from postward.config.plan import plan
from postward.config.settings import parse_settings
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for

PASSWORD = "s3cret-Gr33n-Fern"

# The contents of main.cf, in addition to the paths of the instance.
STARTING_POINTS = {
    "nothing": "",
    "debian 12": (
        "smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)\nbiff = no\nappend_dot_mydomain = no\nreadme_directory = no\n"
        "# TLS parameters\nsmtp_tls_CApath=/etc/ssl/certs\nsmtp_tls_security_level=may\nrelayhost =\nmailbox_size_limit = 0\n"
        "recipient_delimiter = +\ninet_interfaces = all\n"
    ),
    "debian 13": "smtp_tls_CAfile=/etc/ssl/certs/ca-certificates.crt\nsmtp_tls_security_level=may\nbiff = no\ndelay_warning_time = 4h\n",
    "rhel 9": (
        "# LOCAL PATHNAME INFORMATION\nunknown_local_recipient_reject_code = 550\ndebug_peer_level = 2\nsetgid_group = postdrop\n"
        "smtp_tls_CApath = /etc/pki/tls/certs\nsmtp_tls_security_level = may\nmeta_directory = /etc/postfix\n"
    ),
    "the how-to": (
        "relayhost = [smtp587.sendcloud.net]:587\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_security_options = noanonymous\n"
        "smtp_sasl_tls_security_options = noanonymous\nsmtp_tls_security_level = encrypt\nsmtp_tls_wrappermode = yes\n"
    ),
    "another relay": "relayhost = [smtp.gmail.com]:587\nsmtp_use_tls = yes\nsmtp_sasl_auth_enable = yes\n",
    "wrapper mode without a level": "smtp_tls_wrappermode = yes\n",
    "level none": "smtp_tls_security_level = none\n",
    "misspelt level": "smtp_tls_security_level = encrpyt\n",
    "bad boolean": "smtp_sasl_auth_enable = true\n",
    "quoted relayhost": 'relayhost = "[smtp.relay.test]:587"\n',
    "url as relayhost": "relayhost = smtp://smtp.relay.test:587\n",
    "missing bracket": "relayhost = [smtp.relay.test:587\n",
    "inline comment": "relayhost = [smtp.relay.test]:587 # the relay\n",
    "duplicate relayhost": "relayhost = [a.test]:25\n# the new one\nrelayhost = [b.test]:25\n",
    "no blanks around =": "relayhost=[a.test]:25\nsmtp_tls_security_level=may\n",
    "many blanks": "relayhost   =     [a.test]:25   \n",
    "continued value": "mynetworks =\n    127.0.0.0/8\n    10.0.0.0/8\n    # the office\n    192.168.0.0/16\n",
    "continued after a comment": "mydestination = localhost,\n# a comment\n    $myhostname\n",
    "indented line": "smtp_helo_timeout = 30s\n  relayhost = [a.test]:25\n",
    "comment at the end without line end": "relayhost = [a.test]:25\n# the end",
    "no line end": "bounce_queue_lifetime = 1d",
    "windows line ends": "biff = no\r\nbounce_queue_lifetime = 1d\r\n",
    "tabs": "relayhost\t=\t[a.test]:25\n",
    "own macros": "my_relay = a.test\nrelayhost = [$my_relay]:25\n",
    "braces": "smtpd_banner = ${mail_name} {x}\nrelayhost = ${my_relay?{[a.test]:25}:{[b.test]:25}}\n",
    "noplaintext": "smtp_sasl_security_options = noplaintext, noanonymous\n",
    "misspelt option": "smtp_sasl_tls_security_options = noanonymus\n",
    "mechanism filter": "smtp_sasl_mechanism_filter = cram-md5\n",
    "dovecot for the client": "smtp_sasl_type = dovecot\n",
    "missing table": "smtp_sasl_password_maps = hash:/nonexistent/sasl_passwd\nsmtp_sasl_auth_enable = yes\n",
    "table without a type": "smtp_sasl_password_maps = /etc/postfix/sasl_passwd\nsmtp_sasl_auth_enable = yes\n",
    "policy table": "smtp_tls_policy_maps = hash:/nonexistent/policy\n",
    "sender-dependent relays": "sender_dependent_relayhost_maps = hash:/nonexistent/senders\n",
    "sender-dependent authentication": "smtp_sender_dependent_authentication = yes\n",
    "error transport": "default_transport = error:outside mail is not deliverable\n",
    "deferred transports": "defer_transports = smtp\n",
    "soft bounce": "soft_bounce = yes\n",
    "hard bounce of refused logins": "smtp_sasl_auth_soft_bounce = no\n",
    "domain swallowed": "mydestination = $mydomain, dest.test, localhost\n",
    "unqualified name": "myhostname = app1\n",
    "misspelt parameter": "smtp_sasl_passwd_maps = hash:/etc/postfix/sasl_passwd\n",
    "another instance": "multi_instance_name = postfix-out\nmulti_instance_enable = yes\nsyslog_name = postfix-out\n",
    "long comments": "".join(f"# {number}: kept as it is\n" for number in range(200)),
}
KINDS = dict(zip(STARTING_POINTS, cycle(("starttls", "implicit")), strict=False))


@pytest.fixture(scope="module")
def relays() -> Iterator[dict[str, Relay]]:
    """A relay of each kind."""
    require_postfix()
    ca = CA()
    with (
        Relay(ca, users={"user": PASSWORD}) as plain,
        Relay(ca, users={"user": PASSWORD}, tls="implicit") as wrapped,
    ):
        yield {"starttls": plain, "implicit": wrapped}


def desired(postfix: Postfix, relay: Relay) -> DesiredState:
    """The desired state for this relay."""
    table = {
        "name": "demo",
        "host": "127.0.0.1",
        "port": relay.port,
        "tls": relay.tls,
        "allow_unusual_port": True,
    }
    raw = {
        "host": {"profile": "send-only", "myhostname": "mail.example.test", "inet_protocols": "ipv4"},
        "relay": [table | {"username": "user", "password": PASSWORD}],
    }
    return desired_state(parse_settings(raw, "test"), postfix.facts(), {"demo": PASSWORD})


def unmanaged(text: str, managed: DesiredState) -> list[str]:
    """Return the lines of main.cf that Postward must not change: all except those of parameters that it sets."""
    kept, ours = [], False
    for line in text.split("\n"):
        if line[:1].strip() and not line.startswith("#"):
            ours = line.partition("=")[0].strip() in managed.parameters
        if line.lstrip().startswith("#") or (line.strip() and not ours):
            kept.append(line)
    return kept


@pytest.mark.parametrize("name", STARTING_POINTS)
def test_apply_works_from_every_starting_point(name: str, tmp_path: Path, relays: dict[str, Relay]) -> None:
    """postconf(1) reads back the desired values, no drift remains, other lines are unchanged, and mail arrives."""
    relay = relays[KINDS[name]]
    instance = PostfixInstance(tmp_path / "postfix")
    main_cf = instance.config_directory / "main.cf"
    main_cf.write_bytes(main_cf.read_bytes() + STARTING_POINTS[name].encode())
    instance.settle()
    postfix = Postfix(instance.config_directory)
    wanted = desired(postfix, relay)
    before = main_cf.read_text()
    with exclusively(tmp_path / "state"):
        apply(plan(drift(wanted, read_actual(postfix, wanted))), postfix, tmp_path / "state", keep=True)

    meant = postfix.meanings(wanted.parameters, wanted.parameters)
    assert postfix.meanings(wanted.parameters) == {
        name: " ".join(value.split()) for name, value in meant.items()
    }
    assert not plan(drift(wanted, read_actual(postfix, wanted)))
    assert unmanaged(before, wanted) == unmanaged(main_cf.read_text(), wanted)
    with instance:
        message_id = instance.sendmail("bob@dest.test")
        wait_for(lambda: any(mail.message_id == message_id for mail in relay.messages), what="the mail")
