"""Correct configurations, in which lint finds nothing."""

from collections.abc import Callable

from postward.agent.postfix.config import StagedConfig
from postward.config.desired import desired_state
from postward.config.settings import Settings
from tests.config.lint.host import LOGIN, RELAY, Host
from tests.config.samples import load, toml

# Parameters that every configuration here needs to run in its own folder.
_PLACES = (
    "queue_directory",
    "data_directory",
    "command_directory",
    "daemon_directory",
    "mail_owner",
    "setgid_group",
    "default_database_type",
)


def _write(host: Host, text: str) -> Host:
    """Replace main.cf, except the parameters that name this host's folders."""
    kept = [line for line in host.main_cf.splitlines() if line.partition(" ")[0] in _PLACES]
    host._write("main.cf", "\n".join([*kept, text]))
    return host


DEBIAN = """
# See /usr/share/postfix/main.cf.dist for a commented, more complete version
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no

# appending .domain is the MUA's job.
append_dot_mydomain = no

readme_directory = no

compatibility_level = {level}

smtpd_tls_cert_file=/etc/ssl/certs/ssl-cert-snakeoil.pem
smtpd_tls_key_file=/etc/ssl/private/ssl-cert-snakeoil.key
smtpd_tls_security_level=may

smtp_tls_CApath={system}/etc
smtp_tls_security_level=may
smtp_tls_session_cache_database = btree:${{data_directory}}/smtp_scache

smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination

myhostname = vm.example.net
alias_maps = hash:{etc}/aliases
alias_database = hash:{etc}/aliases

myorigin = {system}/etc/mailname
mydestination = $myhostname, vm, localhost.localdomain, , localhost
relayhost =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = all
inet_protocols = all
"""

RHEL = """
compatibility_level = 2
queue_run_delay = 5m

debug_peer_level = 2
debugger_command =
\t PATH=/bin:/usr/bin:/usr/local/bin:/usr/X11R6/bin
\t ddd $daemon_directory/$process_name $process_id & sleep 5

inet_interfaces = localhost
inet_protocols = ipv4
mydestination = $myhostname, localhost.$mydomain, localhost

unknown_local_recipient_reject_code = 550
alias_maps = hash:{etc}/aliases
alias_database = hash:{etc}/aliases
newaliases_path = /usr/bin/newaliases.postfix
html_directory = no

myhostname = app.example.net
smtpd_tls_security_level = may
smtp_tls_CApath = {system}/etc
smtp_tls_CAfile = {ca_file}
smtp_tls_security_level = may
meta_directory = /etc/postfix
"""

HOW_TO = """
compatibility_level = 2
myhostname = mail.example.com
mydomain = example.com
myorigin = $mydomain
inet_interfaces = localhost
inet_protocols = ipv4
mydestination = $myhostname, localhost.$mydomain, localhost
#relayhost = [smtp.gmail.com]:587
relayhost = [smtp587.sendcloud.net]:587

smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = hash:{etc}/sasl_passwd
smtp_sasl_security_options = noanonymous
smtp_sasl_tls_security_options = noanonymous
smtp_tls_security_level = encrypt
smtp_tls_CAfile = {ca_file}
"""

NULL_CLIENT = """
compatibility_level = {level}
myhostname = app.example.net
myorigin = $mydomain
relayhost = $mydomain
inet_interfaces = loopback-only
mydestination =
"""


def _from_text(host: Host, text: str) -> Host:
    level = host.instance.postconf("compatibility_level")["compatibility_level"]
    text = text.format(etc=host.etc, system=host.system, ca_file=host.ca_file, level=level)
    return _write(host, f"{text}virtual_alias_maps = inline:{{root=ops@example.org}}\n")


def _debian(host: Host) -> Host:
    host.write("etc/mailname", "vm.example.net\n")
    host.table("aliases", "postmaster: root\n", index=False)
    host.table("aliases", "postmaster root\n")
    return _from_text(host, DEBIAN).master(chroot=True)


def _debian_with_relay(host: Host) -> Host:
    """Fill the chroot as the distribution's start script does."""
    _debian(host).in_chroot("resolv.conf", "# copied by the start script\nnameserver 192.0.2.53\n")
    return host.set(f"relayhost = {RELAY}", f"smtp_sasl_password_maps = hash:{host.etc}/sasl_passwd").set(
        "smtp_sasl_auth_enable = yes",
        "smtp_sasl_security_options = noanonymous",
        "smtp_tls_security_level = encrypt",
    )


def _rhel(host: Host) -> Host:
    host.write("etc/os-release", 'ID="rocky"\nID_LIKE="rhel centos fedora"\n')
    host.table("aliases", "postmaster root\n")
    host.option("smtp_fallback_relay=")
    return _from_text(host, RHEL)


def _how_to(host: Host) -> Host:
    return _from_text(host, HOW_TO).passwords(
        f"[smtp.gmail.com]:587 email@example.com:Gr33n-Fern-s3cret\n[smtp587.sendcloud.net]:587 {LOGIN}\n"
    )


def _lan(host: Host) -> Host:
    """Use a relay in the LAN that requires neither login nor TLS and is listed in /etc/hosts."""
    return host.set(
        "relayhost = [lan.relay.test]",
        "smtp_host_lookup = dns, native",
        "smtp_sasl_auth_enable = no",
        "smtp_sasl_password_maps =",
        "smtp_tls_security_level = none",
    )


def _texthash(host: Host) -> Host:
    """Use tables of types without an index, for several parameters."""
    (host.etc / "sasl_passwd.db").unlink()
    host.write("etc/checks", "/^Received:/ IGNORE\n")
    for name, text in {
        "generic": "root@vm app@example.net\n",
        "tls_policy": f"{RELAY} secure match=relay.test\n",
    }.items():
        host.table(name, text, index=False)
    return host.set(
        "smtp_sasl_password_maps = texthash:$config_directory/sasl_passwd",
        "smtp_generic_maps = texthash:$config_directory/generic",
        "smtp_tls_policy_maps = texthash:$config_directory/tls_policy",
        f"smtp_header_checks = regexp:{host.system}/etc/checks",
        f"smtp_tls_CAfile = {host.ca_file}",
    )


def _tunnel(host: Host) -> Host:
    """Send through a tunnel on this host, which does the TLS."""
    return host.set("relayhost = [127.0.0.1]:2525", "smtp_tls_security_level = none").passwords(
        f"[127.0.0.1]:2525 {LOGIN}\n"
    )


def _own_service(host: Host) -> Host:
    """Send one sender's mail with implicit TLS, by a separate service in master.cf."""
    host.table("sasl_passwd", f"{RELAY} {LOGIN}\n[smtp.b.test]:465 {LOGIN}\n", mode=0o600)
    host.table("transports", "@b.test smtps:[smtp.b.test]:465\n")
    host.master(
        "smtps unix - - n - - smtp\n  -o smtp_tls_wrappermode=yes -o { smtp_tls_security_level = encrypt }"
    )
    return host.set("sender_dependent_default_transport_maps = hash:$config_directory/transports")


def _by_sender(host: Host) -> Host:
    """Use a login for each sender, and one for bounces, whose sender is empty."""
    return host.set("smtp_sender_dependent_authentication = yes").passwords(
        f"{RELAY} {LOGIN}\napp@client.example.test {LOGIN}\n"
    )


def _null_sender_elsewhere(host: Host) -> Host:
    """Use a login for one sender's relay. Bounces go to a server in the LAN, which requires none."""
    host.table("sender_relay", f"app@client.example.test {RELAY}\n")
    host.passwords(f"app@client.example.test {LOGIN}\n")
    return host.set(
        "relayhost = [192.0.2.9]",
        "smtp_sender_dependent_authentication = yes",
        "sender_dependent_relayhost_maps = hash:$config_directory/sender_relay",
    )


def _xoauth2(host: Host) -> Host:
    """Log in with a token, by the plug-in that is a package of its own."""
    for name in ("plain", "login"):
        (host.system / f"usr/lib/sasl2/lib{name}.so.2").unlink()
    host.write("usr/lib/sasl2/libsasl-xoauth2.so", "")
    return host.set("smtp_sasl_mechanism_filter = xoauth2")


def _kerberos(host: Host) -> Host:
    """Log in with a ticket, which needs no password, and so no encryption."""
    host.write("usr/lib/sasl2/libgssapiv2.so.2", "")
    host.passwords(f"{RELAY} client:\n")
    return host.set("smtp_sasl_mechanism_filter = gssapi", "smtp_tls_security_level = may")


def _kerberos_without_tls(host: Host) -> Host:
    """Log in with a ticket by a service of its own, beside a relay with a password."""
    host.write("usr/lib/sasl2/libgssapiv2.so.2", "")
    host.passwords(f"{RELAY} {LOGIN}\n[lan.relay.test] client:\n")
    host.table("transports", "@b.test kerberos:[lan.relay.test]\n")
    host.master(
        "kerberos unix - - n - - smtp\n  -o smtp_sasl_mechanism_filter=gssapi -o smtp_tls_security_level=none"
    )
    return host.set(
        "smtp_host_lookup = dns, native",
        "sender_dependent_default_transport_maps = hash:$config_directory/transports",
    )


HEALTHY: tuple[tuple[str, Callable[[Host], Host]], ...] = (
    ("the host before any mistake", lambda h: h),
    ("Debian's main.cf", _debian),
    ("Debian's main.cf with a relay, chrooted", _debian_with_relay),
    ("RHEL's main.cf", _rhel),
    ("the how-to guide, corrected", _how_to),
    ("a relay in the LAN", _lan),
    ("a null client", lambda h: _from_text(h, NULL_CLIENT)),
    ("tables without an index", _texthash),
    ("a tunnel", _tunnel),
    ("a separate service for implicit TLS", _own_service),
    ("logins for each sender", _by_sender),
    ("a login that bounces do not need", _null_sender_elsewhere),
    ("XOAUTH2", _xoauth2),
    ("sasl-xoauth2 in a chroot", lambda h: h.token_file()),
    ("GSSAPI", _kerberos),
    ("GSSAPI without TLS, beside a password", _kerberos_without_tls),
    (
        "mailboxes behind a socket",
        lambda h: h.set(
            "virtual_mailbox_domains = box.test", "virtual_transport = lmtp:unix:private/dovecot"
        ),
    ),
    (
        "a provider's port for STARTTLS",
        lambda h: h.set("relayhost = [smtp.qq.com]:587").passwords(f"[smtp.qq.com]:587 {LOGIN}\n"),
    ),
    (
        "tables in main.cf",
        lambda h: h.set(
            f"smtp_tls_policy_maps = inline:{{ {{ {RELAY} = encrypt protocols=>=TLSv1.2 }} }}",
            "sender_dependent_relayhost_maps = inline:{ { @b.test = [smtp.relay.test]:587 } }",
        ),
    ),
    (
        "no relay at all",
        lambda h: h.set("relayhost =", "smtp_sasl_auth_enable = no", "smtp_sasl_password_maps ="),
    ),
)


def _login(name: str, host: str, more: str) -> str:
    return f'[[relay]]\nname = "{name}"\nhost = "{host}"\nusername = "relay-user"\npassword = "Gr33n-Fern-s3cret"\n{more}\n'


_HOST = '[host]\nmyhostname = "client.example.test"\n'

# Name and text of settings from which Postward writes a correct Postfix configuration.
SETTINGS: tuple[tuple[str, str], ...] = (
    ("starttls", _HOST + _login("a", "smtp.relay.test", 'tls = "starttls"')),
    ("implicit TLS", _HOST + _login("a", "smtp.relay.test", 'tls = "implicit"')),
    ("opportunistic TLS", _HOST + _login("a", "smtp.relay.test", 'tls = "opportunistic"')),
    (
        "no TLS, on purpose",
        _HOST + _login("a", "smtp.relay.test", 'tls = "none"\nallow_cleartext_password = true'),
    ),
    ("no TLS, no login", toml(relay='host = "smtp.relay.test"\nport = 25\ntls = "none"')),
    ("verified", _HOST + _login("a", "smtp.relay.test", 'verify = true\nca_file = "CA_FILE"')),
    (
        "several relays of both kinds",
        _HOST
        + _login("a", "smtp.relay.test", "")
        + _login("b", "smtp.b.test", 'senders = ["@b.test"]')
        + _login("c", "smtp.c.test", 'tls = "implicit"\nsenders = ["@c.test"]'),
    ),
    (
        "a fallback relay",
        _HOST + _login("a", "smtp.relay.test", "") + _login("b", "smtp.b.test", "fallback = true"),
    ),
    ("tables as text", _HOST + _login("a", "smtp.relay.test", "") + '[postfix]\nmap_type = "texthash"\n'),
    ("a provider", _HOST + '[[relay]]\nname = "a"\nprovider = "sendgrid"\npassword = "Gr33n-Fern-s3cret"\n'),
)


def write_desired(host: Host, text: str) -> Settings:
    """Write the Postfix configuration that the settings ask for, as `postward apply` does, and return the settings."""
    settings = load(text.replace("CA_FILE", str(host.ca_file)))
    (host.etc / "sasl_passwd").unlink()
    (host.etc / "sasl_passwd.db").unlink()
    postfix = StagedConfig(host.etc)
    passwords = {relay.name: "Gr33n-Fern-s3cret" for relay in settings.relay if relay.username}
    desired = desired_state(settings, postfix.facts(), passwords)
    for table in desired.tables:
        host.table(table.name, table.text, mode=table.mode, kind=table.type, index=bool(table.index_name))
    postfix.set_parameters({"smtp_sasl_password_maps": "", **desired.parameters})
    if desired.transports:
        postfix.set_services({transport.name: transport.definition for transport in desired.transports})
    return settings
