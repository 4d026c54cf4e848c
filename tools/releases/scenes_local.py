"""Scenes on the host: local delivery, queue tools, bounces, and starts and stops of Postfix."""

from tests.support import Fault
from tools.releases.host import CONFIG
from tools.releases.stage import Stage, pause, scene


@scene(
    "local delivery: mailbox, alias, command, file, list, loops, unknown users",
    "postfix/local",
    "unknown user",
    "delivered to mailbox",
    "delivered to command",
    "Command time|temporary failure|mail forwarding loop",
)
def local(stage: Stage) -> None:
    if not stage.host.tree.path("/home/anna").exists():
        stage.host.run("useradd", "-m", "-s", "/bin/sh", "anna")
    for user in ("anna", "root", "list", "pipe", "failing", "later", "included", "looping", "nobody-here"):
        stage.submit(f"{user}@local.test", sender="app@local.test")
    stage.send("anna+x@local.test")
    stage.send("anna@local.test", head="Delivered-To: anna@local.test\n", sender="app@local.test")
    stage.host.write("/home/anna/.forward", "|/bin/false\n")
    stage.send("anna@host.example.test")
    stage.host.write("/home/anna/.forward", "other@dest.test, \\anna\n")
    stage.send("anna@localhost")
    stage.host.tree.path("/home/anna/.forward").unlink()
    with stage.host.configured(mailbox_command="/bin/false", luser_relay="lost@dest.test"):
        stage.send("anna@localhost.test", "anna@local.test")
        stage.submit("lost@local.test")
    with stage.host.configured(
        mailbox_command="sleep 9", command_time_limit="1s", home_mailbox="", local_recipient_maps=""
    ):
        stage.submit("anna@local.test")
        pause(2)
    for changes in (
        {"mailbox_transport": "nosuchtransport:"},
        {"mailbox_size_limit": "1", "message_size_limit": "0"},
        {"fallback_transport": "discard:"},
        {"home_mailbox": "Maildir/"},
        {"mail_spool_directory": "/nowhere/spool"},
    ):
        with stage.host.configured(**changes):
            stage.submit("anna@local.test", "nobody-there@local.test")
            pause(0.7)


@scene(
    "virtual mailboxes and aliases",
    "postfix/virtual",
    "delivered to mailbox",
    "delivered to maildir",
    "unknown user",
    "orig_to=",
)
def virtual(stage: Stage) -> None:
    stage.submit("anna@virtual.test", "bert@virtual.test")
    stage.submit("nobody@virtual.test")
    stage.submit("info@alias.test", "ring@alias.test", "nobody@alias.test")
    pause(1)
    with stage.host.configured(virtual_mailbox_base="/nowhere", virtual_minimum_uid="2000"):
        stage.send("anna@virtual.test")


@scene(
    "pipe, discard, error, retry, and transports that do not exist or break",
    "postfix/pipe",
    "postfix/discard",
    "postfix/error",
    "mail transport unavailable|Mail transport unavailable",
    "bad command startup -- throttling",
)
def transports(stage: Stage) -> None:
    names = (
        "discard",
        "error",
        "later",
        "pipecat",
        "pipefail",
        "pipelater",
        "pipekill",
        "pipeodd",
        "socketless",
    )
    for name in names:
        stage.submit(f"x@{name}.test")
    for name in names:
        stage.arrives(f"x@{name}.test")
    for name in ("nosuch", "nosuchservice", "badlevel", "badoption", "badchannel", "piperoot", "pipenone"):
        stage.submit(f"x@{name}.test")
    stage.says("bad command startup -- throttling")
    pause(2)


@scene(
    "bounces, double bounces, delay warnings, expiry, notices to postmaster",
    "sender non-delivery notification",
    "sender delay notification",
    "status=expired, returned to sender",
    "postmaster non-delivery notification",
)
def bounces(stage: Stage) -> None:
    refused = Fault(step="rcpt", reply="550 5.1.1 Unknown", only="gone")
    deferred = Fault(step="rcpt", reply="450 4.2.0 Later", only="slow")
    changes = {
        "delay_warning_time": "1s",
        "maximal_queue_lifetime": "8s",
        "bounce_queue_lifetime": "8s",
        "notify_classes": "bounce, 2bounce, delay, policy, protocol, resource, software, data",
        "confirm_delay_cleared": "yes",
        "queue_run_delay": "1s",
        "maximal_backoff_time": "2s",
        "minimal_backoff_time": "1s",
    }
    with stage.host.configured(**changes), stage.relay.failing(refused, deferred):
        stage.send("gone@dest.test", expect="bounced")
        stage.submit("gone2@dest.test", sender="gone3@dest.test")
        stage.submit("gone4@dest.test", sender="")
        stage.submit("gone5@dest.test", sender="app+verp@client.example.test", options="-V")
        stage.submit("slow@dest.test", "slow2@dest.test")
        stage.says("sender delay notification")
        stage.relay.faults = [refused, Fault(step="rcpt", reply="450 4.2.0 Later", only="slow@")]
        stage.says("status=expired")
    with stage.host.configured(soft_bounce="yes"), stage.relay.failing(refused):
        stage.send("gonesoft@dest.test", expect="SOFTBOUNCE")
    with stage.host.configured(bounce_template_file=f"{CONFIG}/nowhere.cf"), stage.relay.failing(refused):
        stage.submit("gonetemplate@dest.test")
        stage.says("nowhere.cf")
    pause(1)


@scene(
    "the queue's tools: hold, release, requeue, expire, delete, list",
    "placed on hold",
    "released from hold",
    "requeued",
    "orig_id=",
    "Force-expired",
    "Deleted: ",
)
def tools(stage: Stage) -> None:
    with (
        stage.relay.failing(Fault(step="rcpt", reply="450 4.2.0 Later")),
        stage.host.configured(maximal_backoff_time="90s", minimal_backoff_time="60s"),
    ):
        for number in range(5):
            stage.send(f"tool{number}@dest.test", expect="deferred")
        ids = stage.host.queued()
        run = stage.host.run
        run("postsuper", "-h", ids[0])
        run("postsuper", "-H", ids[0])
        run("postsuper", "-h", "ALL")
        run("postsuper", "-H", "ALL")
        run("postsuper", "-e", ids[1])
        run("postsuper", "-f", ids[1], check=False)
        run("postsuper", "-r", ids[2])
        run("postsuper", "-d", ids[3])
        run("postsuper", "-d", "NOSUCHID", check=False)
        run("postsuper", "-d", "../x", check=False)
        run("postsuper", "-s")
        run("postsuper", "-p")
        run("postqueue", "-i", ids[4], check=False)
        run("postqueue", "-p")
        run("mailq")
        run("postcat", "-q", ids[4], check=False)
        run("postqueue", "-i", "NOSUCHID", check=False)
        pause(1)
        run("postsuper", "-r", "ALL")
        pause(1)
    run("postqueue", "-f")
    pause(1)
    # A queue file that is truncated, as by a full disk.
    stage.host.write("/var/spool/postfix/incoming/ABCDEF12345", "half", 0o700)
    run("chown", "postfix", "/var/spool/postfix/incoming/ABCDEF12345")
    run("postqueue", "-f")
    pause(2)
    run("postsuper", "-s")


@scene(
    "stop, start, restart, reload, check, status, abort, flush",
    "stopping the Postfix mail system",
    "daemon started -- version",
    "refreshing the Postfix mail system",
    "reload -- version",
    "is running",
)
def comings(stage: Stage) -> None:
    run = stage.host.run
    stage.host.reload()
    run("postfix", "status")
    run("postfix", "check")
    run("postfix", "flush")
    run("postfix", "start", check=False)
    stage.host.stop()
    run("postfix", "status", check=False)
    run("postfix", "stop", check=False)
    run("postfix", "reload", check=False)
    run("postqueue", "-p", check=False)
    stage.submit("offline@dest.test")
    stage.host.start()
    stage.arrives("offline@dest.test", "sent")
    run("postfix", "abort")
    pause(1)
    run("postfix", "start")
    pause(1)
    run("postfix", "nonsense", check=False)
    run("postkick", "public", "nosuchservice", "W", check=False)
    run("postlog", "-p", "warn", "-t", "postfix/postlog", "something said by hand")
    run("chown", "root", "/var/spool/postfix/active")
    run("touch", f"{CONFIG}/stray~")
    run("chmod", "o+w", f"{CONFIG}/transport")
    run("postfix", "check", check=False)
    run("postfix", "set-permissions", check=False)
    run("chown", "postfix", "/var/spool/postfix/active")
    run("chmod", "o-w", f"{CONFIG}/transport")


@scene("a daemon killed, one that hangs on", "killed by signal 9")
def killed(stage: Stage) -> None:
    stage.send("alive@dest.test", expect="sent")
    for pid in stage.host.tree.pids():
        name = (stage.host.tree.proc(pid) / "comm").read_text().strip()
        if name in ("smtp", "qmgr", "tlsmgr", "cleanup"):
            stage.host.tree.kill(pid)
    stage.says("killed by signal 9")
    pause(1)
    stage.send("again@dest.test", expect="sent")


@scene("several instances under names of their own", "postfix-out/", "postfix-out/qmgr")
def instances(stage: Stage) -> None:
    host = stage.host
    plain = host.tree.path(f"{CONFIG}/main.cf").read_text()
    own = (
        "queue_directory = /var/spool/postfix-out\n"
        "data_directory = /var/lib/postfix-out\n"
        "multi_instance_name = postfix-out\n"
        "multi_instance_enable = yes\n"
        "master_service_disable = inet\n"
    )
    host.write("/etc/postfix-out/main.cf", plain + own)
    host.write("/etc/postfix-out/master.cf", host.tree.path(f"{CONFIG}/master.cf").read_text())
    host.run("install", "-d", "/var/spool/postfix-out")
    host.run("install", "-d", "-o", "postfix", "/var/lib/postfix-out")
    host.configure(multi_instance_directories="/etc/postfix-out", multi_instance_enable="yes")
    host.run("postfix", "-c", "/etc/postfix-out", "start", check=False)
    pause(1)
    host.run(
        "sendmail",
        "-C",
        "/etc/postfix-out",
        "-f",
        "app@client.example.test",
        "out@dest.test",
        stdin=b"Subject: x\n\nx\n",
    )
    stage.arrives("out@dest.test", "sent")
    host.run("postmulti", "-l", check=False)
    host.run("postfix", "-c", "/etc/postfix-out", "reload", check=False)
    host.run("postfix", "-c", "/etc/postfix-out", "stop", check=False)
    host.configure()


@scene("mail that goes round: too many hops", "too many hops")
def hops(stage: Stage) -> None:
    stage.submit("hops@dest.test", head="Received: from x\n" * 60)
    stage.says("too many hops")


@scene("submission by sendmail that goes wrong", "postfix/sendmail|postfix/postdrop")
def submission(stage: Stage) -> None:
    run = stage.host.run
    run("sendmail", "-f", "x@y.test", stdin=b"To: nobody\n\n", check=False)
    run("sendmail", "-t", stdin=b"Subject: no recipient\n\nx\n", check=False)
    run("sendmail", "-t", stdin=b"To: t@dest.test, u@dest.test\nBcc: v@dest.test\n\nx\n")
    run("sendmail", "-bi", check=False)
    run("sendmail", "-bp", check=False)
    run(
        "sendmail",
        "-bs",
        stdin=b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<bs@dest.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n",
        check=False,
    )
    run("postdrop", stdin=b"nonsense", check=False)
    stage.host.write("/var/spool/postfix/maildrop/0123456789", "nonsense", 0o700)
    run("chown", "postfix", "/var/spool/postfix/maildrop/0123456789")
    run("postqueue", "-f")
    stage.submit("noid@dest.test", head="Message-ID:\n")
    stage.submit(
        "oddid@dest.test",
        head="Message-ID: no brackets (at all)\nResent-Message-ID: <r@x.test>\nResent-From: a@b.test\n",
    )
    with stage.host.configured(authorized_submit_users="nobody"):
        run("su", "-s", "/bin/sh", "-c", "/usr/sbin/sendmail x@dest.test </dev/null", "mail", check=False)
        run("su", "-s", "/bin/sh", "-c", "/usr/bin/mailq", "mail", check=False)
    with stage.host.configured(queue_minfree="999999999999"):
        stage.smtp("nospace@dest.test")
    pause(1)
