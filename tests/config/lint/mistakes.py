"""Mistakes that admins make, each with exactly the findings that lint reports for it."""

import os
import shutil
from collections.abc import Callable

from tests.config.lint.host import LOGIN, RELAY, Host

Damage = Callable[[Host], object]

_SENDER_MAPS = "sender_dependent_relayhost_maps = hash:$config_directory/sender_relay"

# Rows: the mistake, the change to the host, and the identifiers of the findings.
MISTAKES: tuple[tuple[str, Damage, set[str]], ...] = (
    # Next hops
    (
        "a missing bracket",
        lambda h: h.set("relayhost = [smtp.relay.test:587"),
        {"relayhost-bracket-unbalanced"},
    ),
    ("a URL as relayhost", lambda h: h.set("relayhost = smtp://smtp.relay.test:587"), {"relayhost-as-url"}),
    (
        "a transport in relayhost",
        lambda h: h.set("relayhost = smtp:[smtp.relay.test]:587"),
        {"relayhost-with-transport"},
    ),
    (
        "the port inside the brackets",
        lambda h: h.set("relayhost = [smtp.relay.test:587]"),
        {"relayhost-port-in-brackets"},
    ),
    (
        "a login in relayhost",
        lambda h: h.set(f"relayhost = {LOGIN}@smtp.relay.test"),
        {"relayhost-with-login"},
    ),
    ("no host in relayhost", lambda h: h.set("relayhost = [smtp_relay..test]:587"), {"relayhost-no-host"}),
    (
        "no brackets around the relay",
        lambda h: (h.set("relayhost = smtp.relay.test:587"), h.passwords(f"smtp.relay.test:587 {LOGIN}\n")),
        {"relayhost-without-brackets"},
    ),
    (
        "an unknown port name",
        lambda h: (
            h.set("relayhost = [smtp.relay.test]:urd"),
            h.passwords(f"[smtp.relay.test]:urd {LOGIN}\n"),
        ),
        {"relayhost-port-name-unknown"},
    ),
    (
        "this host as its own relay",
        lambda h: (
            h.set("relayhost = [client.example.test]"),
            h.passwords(f"[client.example.test] {LOGIN}\n"),
        ),
        {"relayhost-is-this-host"},
    ),
    (
        "an IPv6 relay on a host with IPv4 only",
        lambda h: (h.set("relayhost = [2001:db8::1]:587"), h.passwords(f"[2001:db8::1]:587 {LOGIN}\n")),
        {"relayhost-address-family"},
    ),
    (
        "a relay that is only in /etc/hosts",
        lambda h: (h.set("relayhost = [lan.relay.test]:587"), h.passwords(f"[lan.relay.test]:587 {LOGIN}\n")),
        {"relayhost-only-in-hosts-file"},
    ),
    (
        "a relay name without a domain",
        lambda h: (h.set("relayhost = [mailhub]:587"), h.passwords(f"[mailhub]:587 {LOGIN}\n")),
        {"relayhost-without-domain"},
    ),
    (
        "port 465 of a provider that does not offer it",
        lambda h: (
            h.set("relayhost = [smtp.office365.com]:465", "smtp_tls_wrappermode = yes"),
            h.passwords(f"[smtp.office365.com]:465 {LOGIN}\n"),
        ),
        {"relayhost-provider-port", "password-at-microsoft"},
    ),
    ("no relayhost", lambda h: h.set("relayhost ="), {"relayhost-missing"}),
    (
        "a missing bracket in the table of senders' relays",
        lambda h: (h.set(_SENDER_MAPS), h.table("sender_relay", "@b.test [smtp.b.test:587\n")),
        {"relayhost-bracket-unbalanced"},
    ),
    # TLS
    (
        "wrapper mode on port 587, from a how-to guide",
        lambda h: h.set("smtp_tls_wrappermode = yes"),
        {"wrappermode-on-starttls-port"},
    ),
    (
        "wrapper mode on port 587 without a TLS level",
        lambda h: h.set("smtp_tls_wrappermode = yes", "smtp_tls_security_level ="),
        {"wrappermode-on-starttls-port"},
    ),
    (
        "wrapper mode by a -o option",
        lambda h: h.option("smtp_tls_wrappermode=yes"),
        {"wrappermode-on-starttls-port", "master-override"},
    ),
    (
        "wrapper mode for a route to another port",
        lambda h: (
            h.set("relayhost = [smtp.relay.test]:465", "smtp_tls_wrappermode = yes"),
            h.passwords(f"[smtp.relay.test]:465 {LOGIN}\n"),
            h.set("transport_maps = hash:$config_directory/transport"),
            h.table("transport", "b.test smtp:[mx.b.test]:25\n"),
        ),
        {"wrappermode-on-other-route"},
    ),
    (
        "wrapper mode that reaches an inner server",
        lambda h: (
            h.set("relayhost = [smtp.relay.test]:465", "smtp_tls_wrappermode = yes"),
            h.passwords(f"[smtp.relay.test]:465 {LOGIN}\n"),
            h.set("relay_domains = lan.test", "relay_transport = smtp:[10.1.0.20]:25"),
        ),
        {"wrappermode-on-other-route"},
    ),
    (
        "wrapper mode that reaches a content filter",
        lambda h: (
            h.set("relayhost = [smtp.relay.test]:465", "smtp_tls_wrappermode = yes"),
            h.passwords(f"[smtp.relay.test]:465 {LOGIN}\n"),
            h.set("content_filter = smtp:[127.0.0.1]:10024"),
        ),
        {"wrappermode-on-other-route"},
    ),
    (
        "protocols of a policy divided by blanks",
        lambda h: (
            h.set("smtp_tls_policy_maps = hash:$config_directory/tls_policy"),
            h.table("tls_policy", f"{RELAY} encrypt protocols=!SSLv2 !SSLv3\n"),
        ),
        {"tls-policy-malformed"},
    ),
    (
        "the server's wrapper mode instead of the client's",
        lambda h: (
            h.set("relayhost = [smtp.relay.test]:465", "smtpd_tls_wrappermode = yes"),
            h.passwords(f"[smtp.relay.test]:465 {LOGIN}\n"),
        ),
        {"smtpd-wrappermode-in-main-cf", "implicit-tls-port-without-wrappermode"},
    ),
    (
        "wrapper mode without a mandatory level",
        lambda h: (
            h.set("relayhost = [smtp.relay.test]:465", "smtp_tls_wrappermode = yes"),
            h.set("smtp_tls_security_level = may", "smtp_sasl_security_options = noplaintext, noanonymous"),
            h.passwords(f"[smtp.relay.test]:465 {LOGIN}\n"),
        ),
        {"wrappermode-without-encryption"},
    ),
    (
        "port 465 without wrapper mode",
        lambda h: (
            h.set("relayhost = [smtp.relay.test]:465"),
            h.passwords(f"[smtp.relay.test]:465 {LOGIN}\n"),
        ),
        {"implicit-tls-port-without-wrappermode"},
    ),
    ("a misspelt TLS level", lambda h: h.set("smtp_tls_security_level = encrpyt"), {"tls-level-unknown"}),
    (
        "a misspelt TLS level in the policy table",
        lambda h: (
            h.set("smtp_tls_policy_maps = hash:$config_directory/tls_policy"),
            h.table("tls_policy", "b.test encypt\n"),
        ),
        {"tls-policy-level-unknown"},
    ),
    (
        "an unknown TLS protocol",
        lambda h: h.set("smtp_tls_mandatory_protocols = TLSv1.2+"),
        {"tls-protocols-unknown"},
    ),
    (
        "an unknown cipher grade",
        lambda h: h.set("smtp_tls_mandatory_ciphers = strong"),
        {"tls-cipher-grade-unknown"},
    ),
    (
        "the level verify without CA certificates",
        lambda h: h.set("smtp_tls_security_level = verify"),
        {"verify-without-authorities"},
    ),
    (
        "a CA file that does not exist",
        lambda h: h.set("smtp_tls_CAfile = /nowhere/ca.crt"),
        {"ca-file-missing"},
    ),
    (
        "a CA file without a certificate",
        lambda h: (h.write("empty.crt", "\n"), h.set(f"smtp_tls_CAfile = {h.system}/empty.crt")),
        {"ca-file-without-certificate"},
    ),
    (
        "a CA directory that does not exist",
        lambda h: h.set("smtp_tls_CApath = /nowhere/certs"),
        {"ca-path-missing"},
    ),
    (
        "a CA directory outside the chroot",
        lambda h: (
            h.set("smtp_tls_security_level = secure", f"smtp_tls_CApath = {h.system}/etc"),
            h.master(chroot=True),
            h.in_chroot("resolv.conf", "nameserver 192.0.2.53\n"),
        ),
        {"ca-path-outside-chroot"},
    ),
    (
        "a client certificate that does not exist",
        lambda h: h.set("smtp_tls_cert_file = /nowhere/c.pem"),
        {"tls-client-certificate-missing"},
    ),
    ("DANE without DNSSEC", lambda h: h.set("smtp_tls_security_level = dane-only"), {"dane-without-dnssec"}),
    (
        "the level fingerprint without a fingerprint",
        lambda h: h.set("smtp_tls_security_level = fingerprint"),
        {"fingerprint-missing"},
    ),
    # Logins
    ("logins without a table", lambda h: h.set("smtp_sasl_password_maps ="), {"sasl-without-passwords"}),
    ("logins switched off", lambda h: h.set("smtp_sasl_auth_enable = no"), {"sasl-switched-off"}),
    (
        "no SASL plug-ins",
        lambda h: h.remove("usr/lib/sasl2/libplain.so.2", "usr/lib/sasl2/liblogin.so.2"),
        {"sasl-plugin-missing"},
    ),
    (
        "no plug-in for tokens",
        lambda h: h.set("smtp_sasl_mechanism_filter = xoauth2, oauthbearer"),
        {"sasl-plugin-missing"},
    ),
    (
        "two plug-ins for tokens",
        lambda h: (
            h.set("smtp_sasl_mechanism_filter = xoauth2", "smtp_sasl_tls_security_options ="),
            h.write("usr/lib/sasl2/libpostward-oauth2.so", ""),
            h.write("usr/lib/sasl2/libsasl-xoauth2.so", ""),
        ),
        {"sasl-plugin-clash"},
    ),
    (
        "a token file outside the chroot",
        lambda h: (h.token_file().instance.queue_directory / "etc/tokens/app").unlink(),
        {"xoauth2-token-file"},
    ),
    (
        "a token file that Postfix may not read",
        lambda h: h.token_file().instance.queue_directory.joinpath("etc/tokens/app").chmod(0o600),
        {"xoauth2-token-file"},
    ),
    (
        "authorities outside the chroot",
        lambda h: (h.token_file().instance.queue_directory / "etc/bundle.crt").unlink(),
        {"xoauth2-authorities"},
    ),
    (
        "PLAIN forbidden",
        lambda h: h.set("smtp_sasl_tls_security_options = noplaintext"),
        {"sasl-forbids-plain"},
    ),
    (
        "PLAIN forbidden by default",
        lambda h: h.set(
            "smtp_sasl_tls_security_options = $smtp_sasl_security_options",
            "smtp_sasl_security_options = noplaintext, noanonymous",
        ),
        {"sasl-forbids-plain"},
    ),
    (
        "a misspelt SASL option",
        lambda h: h.set("smtp_sasl_security_options = noanonymus"),
        {"sasl-option-unknown"},
    ),
    (
        "a plug-in name in the mechanism filter",
        lambda h: h.set("smtp_sasl_mechanism_filter = plain, sasl2"),
        {"sasl-mechanism-unknown"},
    ),
    (
        "SASL type dovecot for the SMTP client",
        lambda h: h.set("smtp_sasl_type = dovecot"),
        {"sasl-type-not-for-clients"},
    ),
    (
        "mail bounces after a rejected login",
        lambda h: h.set("smtp_sasl_auth_soft_bounce = no"),
        {"sasl-hard-bounce"},
    ),
    ("a login without TLS", lambda h: h.set("smtp_tls_security_level = none"), {"password-without-tls"}),
    ("a login without a TLS level", lambda h: h.set("smtp_tls_security_level ="), {"password-without-tls"}),
    (
        "a login with opportunistic TLS",
        lambda h: h.set("smtp_tls_security_level = may"),
        {"password-in-clear"},
    ),
    (
        "a login with opportunistic TLS that is not logged",
        lambda h: h.set("smtp_tls_security_level = may", "smtp_tls_loglevel = 0"),
        {"password-in-clear", "tls-unlogged"},
    ),
    *(
        (
            f"a password at {relay}",
            lambda h, relay=relay: (
                h.set(f"relayhost = [{relay}]:587"),
                h.passwords(f"[{relay}]:587 {LOGIN}\n"),
            ),
            {"password-at-microsoft"},
        )
        for relay in ("smtp.office365.com", "smtp-mail.outlook.com")
    ),
    # Tables of passwords
    (
        "a key with another port",
        lambda h: h.passwords(f"[smtp.relay.test]:465 {LOGIN}\n"),
        {"password-key-mismatch"},
    ),
    (
        "a key without brackets",
        lambda h: h.passwords(f"smtp.relay.test:587 {LOGIN}\n"),
        {"password-key-mismatch"},
    ),
    (
        "a key without the port",
        lambda h: h.passwords(f"[smtp.relay.test] {LOGIN}\n"),
        {"password-key-mismatch"},
    ),
    (
        "no key for a sender's relay",
        lambda h: (h.set(_SENDER_MAPS), h.table("sender_relay", "@b.test [smtp.b.test]:587\n")),
        {"password-key-mismatch"},
    ),
    (
        "an indented entry",
        lambda h: h.passwords(f"[old.test]:587 {LOGIN}\n  {RELAY} {LOGIN}\n"),
        {"password-line-indented"},
    ),
    (
        "the only entry indented",
        lambda h: h.passwords(f"# relay\n  {RELAY} {LOGIN}\n"),
        {"password-line-indented"},
    ),
    ("= in sasl_passwd", lambda h: h.passwords(f"{RELAY}={LOGIN}\n"), {"password-line-with-equals"}),
    ("a login without a key", lambda h: h.passwords(f"{LOGIN}\n"), {"password-line-without-login"}),
    (
        "a space instead of the colon",
        lambda h: h.passwords(f"{RELAY} relay-user Gr33n-Fern-s3cret\n"),
        {"password-without-colon"},
    ),
    ("no user name", lambda h: h.passwords(f"{RELAY} :Gr33n-Fern-s3cret\n"), {"password-user-empty"}),
    ("no password", lambda h: h.passwords(f"{RELAY} relay-user:\n"), {"password-empty"}),
    ("quotes around the login", lambda h: h.passwords(f'{RELAY} "{LOGIN}"\n'), {"password-quoted"}),
    (
        "a comment after the login",
        lambda h: h.passwords(f"{RELAY} {LOGIN} # new\n"),
        {"password-with-comment"},
    ),
    (
        "the placeholder of a how-to guide as password",
        lambda h: h.passwords(f"{RELAY} username:xxxxxxxx\n"),
        {"password-placeholder"},
    ),
    (
        "the new password below the old",
        lambda h: h.passwords(f"{RELAY} relay-user:old\n{RELAY} {LOGIN}\n"),
        {"password-key-duplicate"},
    ),
    (
        "logins for each sender, and no login for bounces",
        lambda h: (
            h.set("smtp_sender_dependent_authentication = yes"),
            h.passwords(f"app@client.example.test {LOGIN}\n"),
        ),
        {"password-missing-for-bounces"},
    ),
    (
        "a login for any sender",
        lambda h: (
            h.set("smtp_sender_dependent_authentication = yes"),
            h.passwords(f"{RELAY} {LOGIN}\n@* {LOGIN}\n"),
        ),
        {"table-key-wildcard"},
    ),
    (
        "a relay without brackets whose key has them",
        lambda h: h.set("relayhost = smtp.relay.test:587"),
        {"relayhost-without-brackets"},
    ),
    (
        "logins for each sender without the parameter that enables them",
        lambda h: h.passwords(f"{RELAY} {LOGIN}\napp@client.example.test {LOGIN}\n"),
        {"password-of-sender-unused"},
    ),
    (
        "a world-readable password table",
        lambda h: (h.etc / "sasl_passwd").chmod(0o644),
        {"password-file-readable"},
    ),
    (
        "a world-readable index",
        lambda h: (h.etc / "sasl_passwd.db").chmod(0o644),
        {"password-file-readable"},
    ),
    (
        "the login in main.cf",
        lambda h: h.set(f"smtp_sasl_password_maps = static:{LOGIN}"),
        {"password-in-main-cf"},
    ),
    (
        "a password table through proxymap",
        lambda h: h.set("smtp_sasl_password_maps = proxy:hash:$config_directory/sasl_passwd"),
        {"password-table-proxied"},
    ),
    # Lookup tables
    (
        "a table without its type",
        lambda h: h.set(f"smtp_sasl_password_maps = {h.etc}/sasl_passwd"),
        {"map-without-type"},
    ),
    (
        "a table type that this Postfix does not support",
        lambda h: h.set("smtp_generic_maps = nosuchdb:$config_directory/generic"),
        {"map-type-unsupported"},
    ),
    (
        "a table that does not exist",
        lambda h: h.set("smtp_generic_maps = hash:$config_directory/generic"),
        {"map-file-missing"},
    ),
    (
        "a table of header checks that does not exist",
        lambda h: h.set("smtp_header_checks = regexp:$config_directory/checks"),
        {"map-file-missing"},
    ),
    ("no index", lambda h: (h.etc / "sasl_passwd.db").unlink(), {"index-missing"}),
    (
        "no index for the table of senders' relays",
        lambda h: (h.set(_SENDER_MAPS), h.table("sender_relay", f"@b.test {RELAY}\n", index=False)),
        {"index-missing"},
    ),
    ("an index older than its table", lambda h: h.earlier("sasl_passwd.db"), {"index-stale"}),
    (
        "a damaged index",
        lambda h: _overwrite(h, b"no database at all, but long enough for its head"),
        {"index-damaged"},
    ),
    (
        "an index of another type",
        lambda h: h.table("sasl_passwd", f"{RELAY} {LOGIN}\n", mode=0o600, kind="btree"),
        {"index-damaged"},
    ),
    # Local mail
    ("root's mail in a mailbox", lambda h: h.unset("virtual_alias_maps"), {"root-mail-unread"}),
    (
        "root's mail in another user's mailbox",
        lambda h: (
            h.unset("virtual_alias_maps").set("alias_maps = texthash:$config_directory/aliases"),
            h.table("aliases", "root: admin\nadmin: alice\n", index=False),
        ),
        {"root-mail-unread"},
    ),
    (
        "root's mail to a mailbox of the domain",
        lambda h: h.unset("virtual_alias_maps").set("myorigin = $mydomain"),
        {"root-mail-to-root"},
    ),
    # Routing
    (
        "the domain in mydestination",
        lambda h: h.set("mydestination = $myhostname, localhost, $mydomain"),
        {"mydestination-swallows-domain"},
    ),
    (
        "the senders' domain in mydestination",
        lambda h: h.set("myorigin = b.test", "mydestination = $myhostname, b.test"),
        {"mydestination-swallows-domain"},
    ),
    (
        "an unknown transport",
        lambda h: h.set("relay_transport = relay-smtps"),
        {"transport-unknown"},
    ),
    (
        "an unknown transport in transport_maps",
        lambda h: (
            h.set("transport_maps = hash:$config_directory/transport"),
            h.table("transport", "b.test smtps:[mx.b.test]:465\n"),
        ),
        {"transport-unknown"},
    ),
    (
        "a cloud image's default_transport",
        lambda h: h.set("default_transport = error"),
        {"default-transport-dead-end"},
    ),
    ("deferred transports", lambda h: h.set("defer_transports = smtp"), {"transport-deferred"}),
    (
        "a wildcard in transport_maps",
        lambda h: (
            h.set("transport_maps = hash:$config_directory/transport"),
            h.table("transport", "* smtp:[mx.b.test]\n"),
        ),
        {"relayhost-overruled"},
    ),
    ("soft_bounce", lambda h: h.set("soft_bounce = yes"), {"soft-bounce"}),
    (
        "a mailbox limit below the message size limit",
        lambda h: h.set("mailbox_size_limit = 1000"),
        {"mailbox-limit-below-message-limit"},
    ),
    # Names
    (
        "a host without a domain",
        lambda h: h.set("myhostname = app1", "mydomain = example.test"),
        {"myhostname-without-domain"},
    ),
    (
        "the host name that Postfix makes up",
        lambda h: h.set("myhostname = vm.localdomain"),
        {"myhostname-made-up"},
    ),
    ("an invalid host name", lambda h: h.set("myhostname = a..b"), {"name-invalid"}),
    ("no /etc/mailname", lambda h: h.set(f"myorigin = {h.system}/etc/mailname"), {"myorigin-file-missing"}),
    (
        "an empty /etc/mailname",
        lambda h: (h.write("etc/mailname", ""), h.set(f"myorigin = {h.system}/etc/mailname")),
        {"myorigin-file-empty"},
    ),
    (
        "a short /etc/mailname",
        lambda h: (h.write("etc/mailname", "vm\n"), h.set(f"myorigin = {h.system}/etc/mailname")),
        {"myorigin-without-domain"},
    ),
    ("senders at localhost", lambda h: h.set("myorigin = localhost"), {"myorigin-without-domain"}),
    (
        "a domain that is a top-level domain",
        lambda h: h.set("myhostname = example.test", "myorigin = $mydomain"),
        {"mydomain-top-level"},
    ),
    ("a short HELO name", lambda h: h.set("smtp_helo_name = app1"), {"helo-name-without-domain"}),
    (
        "an undefined HELO name",
        lambda h: h.set("smtp_helo_name = $my_name"),
        {"helo-name-without-domain", "undefined-reference"},
    ),
    # Addresses
    ("the name of a network interface", lambda h: h.set("inet_interfaces = eth0"), {"inet-interfaces-name"}),
    (
        "the address of another host",
        lambda h: h.set("inet_interfaces = 192.0.2.177"),
        {"inet-interfaces-not-local"},
    ),
    ("misspelt inet_protocols", lambda h: h.set("inet_protocols = ip4"), {"inet-protocols-unknown"}),
    (
        "host bits in mynetworks",
        lambda h: h.set("mynetworks = 127.0.0.0/8, 10.0.0.5/24"),
        {"mynetworks-host-bits"},
    ),
    ("everyone in mynetworks", lambda h: h.set("mynetworks = 0.0.0.0/0"), {"mynetworks-everyone"}),
    (
        "IPv6 without brackets",
        lambda h: h.set("mynetworks = 127.0.0.0/8, ::1/128"),
        {"mynetworks-ipv6-without-brackets"},
    ),
    (
        "an invalid prefix length in mynetworks",
        lambda h: h.set("mynetworks = 127.0.0.0/8, 10.0.0.0/33"),
        {"mynetworks-not-a-network"},
    ),
    (
        "mynetworks without this host",
        lambda h: h.set("mynetworks = 10.0.0.0/8"),
        {"mynetworks-without-loopback"},
    ),
    (
        "the address of another host as source address",
        lambda h: h.set("smtp_bind_address = 192.0.2.177"),
        {"bind-address-not-local"},
    ),
    (
        "the loopback address as source address",
        lambda h: h.set("smtp_bind_address = 127.0.0.1"),
        {"bind-address-loopback"},
    ),
    ("no name server", lambda h: h.write("etc/resolv.conf", "# none\n"), {"nameserver-missing"}),
    # main.cf
    ("a line without =", lambda h: h.append("relayhost [smtp.relay.test]:587"), {"missing-equals"}),
    (
        "an indented relayhost",
        lambda h: h.set("relayhost =", f"smtp_tls_loglevel = 1\n  relayhost = {RELAY}"),
        {"indented-parameter"},
    ),
    (
        "an indented block",
        lambda h: h.unset("smtp_sasl_password_maps", "smtp_tls_security_level").append(
            "smtp_tls_session_cache_timeout = 1h\n  smtp_tls_security_level = encrypt\n"
            "  smtp_sasl_password_maps = hash:$config_directory/sasl_passwd"
        ),
        {"indented-parameter"},
    ),
    (
        "a parameter twice",
        lambda h: h.append(f"relayhost = {RELAY}"),
        {"duplicate-parameter", "duplicate-parameter-hangs"},
    ),
    (
        "a misspelt parameter",
        lambda h: h.append("smtp_sasl_passwd_maps = hash:/etc/postfix/sasl_passwd"),
        {"unknown-parameter"},
    ),
    (
        "a password as a parameter of its own",
        lambda h: h.append("smtp_sasl_password = Gr33n-Fern-s3cret"),
        {"unknown-parameter", "password-in-main-cf"},
    ),
    (
        "an undefined reference",
        lambda h: h.set("mydestination = $myhostname, $my_names"),
        {"undefined-reference"},
    ),
    ("a comment after relayhost", lambda h: h.set(f"relayhost = {RELAY} # the relay"), {"inline-comment"}),
    (
        "a comment after a boolean",
        lambda h: h.set("smtp_sasl_auth_enable = yes # log in"),
        {"inline-comment"},
    ),
    ("quotes around relayhost", lambda h: h.set(f'relayhost = "{RELAY}"'), {"quoted-value"}),
    ("a no-break space from a web page", lambda h: h.append("smtp_tls_note\u00a0= x"), {"pasted-characters"}),
    ("true", lambda h: h.set("smtp_sasl_auth_soft_bounce = true"), {"bad-boolean"}),
    ("true by a -o option", lambda h: h.option("smtp_send_xforward_command=true"), {"bad-boolean"}),
    ("10MB", lambda h: h.set("message_size_limit = 10MB"), {"bad-number"}),
    ("five minutes with the unit min", lambda h: h.set("queue_run_delay = 5min"), {"bad-number"}),
    ("a parameter that refers to itself", lambda h: h.set("mydomain = $mydomain"), {"macro-loop"}),
    ("no compatibility_level", lambda h: _without(h, "compatibility_level"), {"compatibility-level-missing"}),
    (
        "the compatibility_level of a newer release",
        lambda h: h.set("compatibility_level = 99.1"),
        {"compatibility-level-too-high"},
    ),
    ("smtp_use_tls", lambda h: h.set("smtp_use_tls = yes"), {"obsolete-tls-setting"}),
    (
        "smtp_use_tls instead of a level",
        lambda h: (_without(h, "smtp_tls_security_level"), h.set("smtp_use_tls = yes")),
        {"obsolete-tls-setting", "password-in-clear"},
    ),
    # master.cf
    ("a missing column", lambda h: h.master("relay-smtps unix - - n - smtp"), {"master-field-count"}),
    (
        "an indented service",
        lambda h: h.master("  relay-smtps unix - - n - - smtp"),
        {"master-service-indented"},
    ),
    ("spaces around =", lambda h: h.option("smtp_tls_wrappermode = yes"), {"master-option-with-blanks"}),
    ("a service twice", lambda h: h.master("smtp unix - - n - - smtp"), {"master-service-duplicate"}),
    (
        "no TLS by a -o option",
        lambda h: h.option("smtp_tls_security_level=none"),
        {"master-override", "password-without-tls"},
    ),
    ("no logins by a -o option", lambda h: h.option("smtp_sasl_auth_enable=no"), {"master-override"}),
    (
        "a service that logs as another instance",
        lambda h: (
            h.set("multi_instance_name = postfix-out", "syslog_name = postfix-out"),
            h.option("syslog_name=postfix/$service_name"),
        ),
        {"master-log-name"},
    ),
    ("a service removed", lambda h: h.master(without="cleanup"), {"master-service-missing"}),
    ("no tlsmgr", lambda h: h.master(without="tlsmgr"), {"master-service-missing"}),
    (
        "a daemon that does not exist",
        lambda h: h.master("policy unix - n n - - nosuchd"),
        {"master-daemon-missing"},
    ),
    ("maillog_file without postlog", lambda h: h.master(without="postlog"), {"postlog-service-missing"}),
    # Chroot, files and disk
    ("a chroot without resolv.conf", lambda h: h.master(chroot=True), {"chroot-without-resolver"}),
    (
        "a chroot with an outdated resolv.conf",
        lambda h: (h.master(chroot=True), h.in_chroot("resolv.conf", "nameserver 198.51.100.53\n")),
        {"chroot-resolver-stale"},
    ),
    (
        "a chroot without /etc/hosts",
        lambda h: (
            h.master(chroot=True),
            h.set("smtp_host_lookup = native", "relayhost = [lan.relay.test]:587"),
            h.passwords(f"[lan.relay.test]:587 {LOGIN}\n"),
        ),
        {"chroot-hosts-stale"},
    ),
    ("a world-writable main.cf", lambda h: (h.etc / "main.cf").chmod(0o666), {"config-writable"}),
    ("a main.cf owned by a deploy user", lambda h: os.chown(h.etc / "main.cf", 1000, 0), {"config-writable"}),
    ("a main.cf for some users only", lambda h: (h.etc / "main.cf").chmod(0o640), {"config-unreadable"}),
    (
        "a maildrop without its group",
        lambda h: _maildrop(h, 0o700),
        {"queue-owner"},
    ),
    (
        "a queue directory that does not exist",
        lambda h: h.set("queue_directory = /nowhere/queue"),
        {"queue-directory-missing"},
    ),
    (
        "a queue directory owned by root",
        lambda h: (h.instance.queue_directory / "incoming").mkdir(),
        {"queue-owner"},
    ),
    (
        "a data directory owned by root",
        lambda h: os.chown(h.instance.data_directory, 0, 0),
        {"data-directory-owner"},
    ),
    (
        "postdrop without its set-gid group",
        lambda h: (h.write("sbin/postdrop", ""), h.set(f"command_directory = {h.system}/sbin")),
        {"postdrop-not-setgid"},
    ),
    (
        "less disk space than queue_minfree",
        lambda h: h.set("queue_minfree = 9000000000000000"),
        {"queue-disk-full"},
    ),
    (
        "maillog_file outside the allowed directories",
        lambda h: h.set("maillog_file = /nowhere/mail.log"),
        {"maillog-file-outside-prefixes"},
    ),
)


def _overwrite(host: Host, data: bytes) -> int:
    return (host.etc / "sasl_passwd.db").write_bytes(data)


def _without(host: Host, name: str) -> Host:
    lines = [line for line in host.main_cf.splitlines(keepends=True) if not line.startswith(f"{name} ")]
    host._write("main.cf", "".join(lines))
    return host


def _maildrop(host: Host, mode: int) -> None:
    folder = host.instance.queue_directory / "maildrop"
    folder.mkdir()
    shutil.chown(folder, "postfix")
    folder.chmod(mode)
