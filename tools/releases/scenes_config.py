"""Scenes of wrong settings: missing, stale and corrupt tables, misspelt parameters, old defaults."""

from tools.releases.host import CONFIG
from tools.releases.stage import Stage, pause, scene

_FILES = {"hash": "db", "cdb": "cdb", "lmdb": "lmdb"}


def _file(stage: Stage, name: str) -> str:
    return f"{CONFIG}/{name}.{_FILES[stage.host.table_type]}"


@scene("a missing table, for each parameter that names one", "is unavailable|No such file or directory")
def missing(stage: Stage) -> None:
    kind = stage.host.table_type
    for parameter in (
        "smtp_sasl_password_maps",
        "transport_maps",
        "virtual_alias_maps",
        "canonical_maps",
        "sender_canonical_maps",
        "alias_maps",
        "relocated_maps",
        "sender_dependent_relayhost_maps",
        "smtp_tls_policy_maps",
        "smtp_generic_maps",
        "header_checks",
        "recipient_bcc_maps",
        "virtual_mailbox_maps",
    ):
        table = f"regexp:{CONFIG}/nowhere" if parameter == "header_checks" else f"{kind}:{CONFIG}/nowhere"
        with stage.host.configured(**{parameter: table}):
            stage.submit("missing@dest.test", "root@local.test", "anna@virtual.test")
            pause(0.8)
            stage.smtp("missing2@dest.test")
            stage.clean()


@scene(
    "tables: without its built file, older than its source, changed, corrupt, unknown type",
    "is older than source file",
    "table .* has changed|has changed -- restarting",
    "unsupported dictionary type|is unavailable",
)
def tables(stage: Stage) -> None:
    host = stage.host
    table = host.table("passwd", f"[relay.example.test]:{stage.relay.port} user:secret\n")
    with host.configured(smtp_sasl_password_maps=table):
        stage.send("table@dest.test", expect="sent")
        pause(1.1)
        host.table("passwd", f"[relay.example.test]:{stage.relay.port} user:secret\n# changed\n")
        stage.send("table2@dest.test", expect="sent")
    host.run("touch", "-d", "2 hours ago", f"{CONFIG}/passwd")
    host.run("touch", "-d", "4 hours ago", _file(stage, "passwd"))
    with host.configured(smtp_sasl_password_maps=table):
        stage.send("stale@dest.test", expect="sent")
    routes = host.table("routes", "routed.test smtp:[relay.example.test]\n")
    with host.configured(transport_maps=routes):
        stage.send("route@dest.test")
        pause(1.1)
        host.table("routes", "routed.test smtp:[relay.example.test]\nx.test discard:\n")
        stage.send("route2@dest.test")
        stage.send("route3@x.test")
    host.write(_file(stage, "passwd"), "this is not a table\n" * 100)
    with host.configured(smtp_sasl_password_maps=table):
        stage.submit("corrupt@dest.test")
        pause(1.5)
        stage.clean()
    host.tree.path(_file(stage, "passwd")).unlink()
    with host.configured(smtp_sasl_password_maps=table):
        stage.submit("unbuilt@dest.test")
        pause(1.5)
        stage.clean()
    for number, name in enumerate(("hahs", "pcre", "mysql", "ldap")):
        with host.configured(smtp_sasl_password_maps=f"{name}:{CONFIG}/passwd"):
            stage.submit(f"type{number}@dest.test")
            pause(1.5)
            stage.clean()
    for text in ("one-word\n", "# nothing\n", " continued\n", "twice a\ntwice b\n"):
        host.write(f"{CONFIG}/odd", text)
        host.run("postmap", f"{host.table_type}:{CONFIG}/odd", check=False)
    host.write(f"{CONFIG}/odd", "/unclosed[/ REJECT\nif /x/\nnonsense\n")
    with host.configured(header_checks=f"regexp:{CONFIG}/odd", transport_maps=f"texthash:{CONFIG}/odd"):
        stage.submit("odd@dest.test")
        pause(1)
    with host.configured(transport_maps="socketmap:inet:127.0.0.1:9:x", virtual_alias_maps="tcp:127.0.0.1:9"):
        stage.submit("socketmap@dest.test")
        pause(1.5)
    with host.configured(
        smtp_sasl_password_maps=f"proxy:hash:{CONFIG}/nowhere", virtual_alias_maps="proxy:unix:passwd.byname"
    ):
        stage.submit("proxied@dest.test")
        pause(1.5)


@scene("main.cf with mistakes", "bad|invalid|Invalid|unused|unknown", "overriding earlier entry")
def mistakes(stage: Stage) -> None:
    host = stage.host
    for changes in (
        {"smtp_tls_security_level": "encrpyt"},
        {"smtp_connect_timeout": "soon"},
        {"default_process_limit": "many"},
        {"smtp_sasl_auth_enable": "maybe"},
        {"smtp_sasl_password_maps": ""},
        {"smtp_tls_fingerprint_digest": "md9"},
        {"smtp_bind_address": "192.0.2.1"},
        {"smtp_tls_cert_file": f"{CONFIG}/nowhere.pem"},
        {"smtp_tls_cert_file": f"{CONFIG}/host.pem", "smtp_tls_key_file": f"{CONFIG}/sasl_passwd"},
        {"transport_maps": "inline:{dest.test=smtp:[unclosed}"},
        {"content_filter": "nosuchfilter:"},
        {"smtp_sasl_security_options": "noplaintext"},
        {"smtp_sasl_mechanism_filter": "nonsense"},
        {"smtp_tls_mandatory_ciphers": "strongest"},
        {"smtp_tls_policy_maps": "inline:{x}"},
        {"myorigin": "$nosuchparameter"},
        {"smtp_destination_rate_delay": "1s", "nosuch_parameter": "x"},
        {"mydestination": "local.test, dest.test, virtual.test, alias.test"},
        {"relay_domains": "virtual.test", "virtual_alias_domains": "virtual.test, alias.test"},
    ):
        host.configure(**changes)
        host.run("postfix", "reload", check=False)
        pause(0.3)
        host.run(
            "sendmail",
            "-f",
            "app@client.example.test",
            "mistake@dest.test",
            "anna@virtual.test",
            stdin=b"Subject: x\n\nx\n",
            check=False,
        )
        pause(1)
        host.configure()
        host.run("postfix", "reload", check=False)
        pause(0.2)
        host.empty_queue()
    host.configure()
    main = host.tree.path(f"{CONFIG}/main.cf")
    for text in (
        "smtp_helo_timeout = 3s\n",
        "nonsense without a sign\n",
        "myhostname =\n",
        "inet_interfaces = 192.0.2.1\n",
        "mail_owner = nosuchuser\n",
        "compatibility_level = nonsense\n",
        "queue_directory = /nowhere\n",
    ):
        plain = main.read_text()
        main.write_text(plain + text)
        host.run("postfix", "check", check=False)
        host.run("postfix", "reload", check=False)
        host.run("sendmail", "mistake2@dest.test", stdin=b"\n", check=False)
        host.configure()
        pause(0.2)
    host.stop()
    host.start()


@scene("master.cf with mistakes, a port that is taken", "postfix/master")
def master_mistakes(stage: Stage) -> None:
    host = stage.host
    master = host.tree.path(f"{CONFIG}/master.cf")
    plain = master.read_text()
    for text in (
        f"127.0.0.1:{stage.relay.port} inet n - n - - smtpd\n",
        "bad unix - - n - - nosuchprogram\n",
        "bad socket - - n - - smtp\n",
        "short unix -\n",
        "bad unix - - n nonsense - smtp\n",
    ):
        host.stop()
        master.write_text(plain + text)
        host.run("postfix", "start", check=False)
        pause(1)
        host.run("postfix", "reload", check=False)
        pause(0.5)
    host.stop()
    host.configure()
    host.start()


@scene("old defaults: the compatibility notices", "backwards-compatible default setting")
def compatibility(stage: Stage) -> None:
    host = stage.host
    for level in ("0", "1", "99"):
        host.stop()
        host.configure(compatibility_level=level, smtputf8_enable="yes", smtpd_relay_restrictions="")
        host.run("postfix", "start", check=False)
        pause(1)
        stage.smtp("compatible@dest.test")
        stage.smtp("user@local.test")
        stage.submit("Jürgen@dest.test", "nobody@local.test")
        host.run("postfix", "reload", check=False)
        pause(0.5)
    host.stop()
    host.configure()
    host.start()


# With maillog_file Postfix 3.10 and later print the line of their start on standard error only.
@scene(
    "without maillog_file: to the system's log",
    "to=<syslog@dest.test>",
    "starting the Postfix mail system",
    "terminating on signal 15",
)
def by_syslog(stage: Stage) -> None:
    with stage.host.configured(maillog_file=""):
        stage.submit("syslog@dest.test")
        pause(2)
        stage.host.run("postfix", "check", check=False)
        stage.host.restart()
        pause(1)
