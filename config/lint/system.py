"""Rules about the files around Postfix: its chroot, directories and their owners, the disk of the queue."""

from collections.abc import Iterator

from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts
from postward.config.lint.file_facts import FileFacts
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.relayhost import parsed

Facts = HostFacts
QUEUE_DIRECTORIES = ("", "incoming", "active", "deferred", "maildrop", "public")
_NOBODY = 65534  # the kernel's overflow uid and gid


def _chrooted(facts: Facts) -> bool:
    return bool(facts.relay_routes) and facts.is_chrooted(facts.default_service)


def _copy(facts: Facts, name: str) -> str:
    inside = f"{facts.value('queue_directory')}/etc"
    return f"mkdir -p {inside} && cp -L /etc/{name} {inside}/ && {remedies.postfix(facts, 'reload')}"


def _no_resolver(facts: Facts) -> Iterator[Fault]:
    dns = "dns" in facts.words("smtp_host_lookup")
    if _chrooted(facts) and dns and facts.nameservers and facts.chrooted.get("resolv.conf") == "missing":
        yield Fault(
            f"{facts.value('queue_directory')}/etc/resolv.conf",
            f"is missing, and {facts.default_service} runs chrooted there",
            _copy(facts, "resolv.conf"),
        )


def _stale_resolver(facts: Facts) -> Iterator[Fault]:
    known = (
        facts.chrooted.get("resolv.conf") == "differs"
        and facts.nameservers
        and facts.chroot_nameservers is not None
    )
    if _chrooted(facts) and known and facts.nameservers != facts.chroot_nameservers:
        inside = ", ".join(facts.chroot_nameservers or ()) or "none"
        yield Fault(
            f"{facts.value('queue_directory')}/etc/resolv.conf",
            f"has the name servers {inside}; /etc/resolv.conf has {', '.join(facts.nameservers or ())}",
            _copy(facts, "resolv.conf"),
        )


def _no_hosts(facts: Facts) -> Iterator[Fault]:
    if not _chrooted(facts) or "native" not in facts.words("smtp_host_lookup"):
        return
    for route, hop in parsed(facts.routes):
        if hop.host.lower() in facts.hosts and facts.chrooted.get("hosts") in {"missing", "differs"}:
            yield Fault(
                f"{facts.value('queue_directory')}/etc/hosts",
                f"is {_state(facts.chrooted['hosts'])}, and {hop.host} ({route.next_hop}) is in /etc/hosts",
                _copy(facts, "hosts"),
            )


def _state(comparison: str) -> str:
    return {"missing": "missing", "differs": "not the same as /etc/hosts"}[comparison]


def _writable(facts: Facts) -> Iterator[Fault]:
    for name in ("main.cf", "master.cf", "dynamicmaps.cf", ""):
        path = f"{facts.config_directory}/{name}".rstrip("/")
        known = facts.files.get(path)
        if known and known.exists and (known.owner != 0 or known.mode & 0o022):
            shown = f"is owned by uid {known.owner}" if known.owner else f"has mode {known.mode:04o}"
            yield Fault(path, shown, f"chown root:root {path} && chmod go-w {path}")


def _queue_subdirectory(facts: Facts, name: str) -> FileFacts | None:
    return facts.files.get(f"{facts.value('queue_directory')}/{name}".rstrip("/"))


def _no_queue(facts: Facts) -> Iterator[Fault]:
    known = _queue_subdirectory(facts, "")
    if known and not known.exists:
        yield Fault(
            facts.where("queue_directory"),
            f"is {facts.value('queue_directory')}, which does not exist",
            remedies.edit(facts, "correct it, or create the directory", "check"),
        )


def _unreadable(facts: Facts) -> Iterator[Fault]:
    """The programs of ordinary users, such as sendmail and postqueue, read main.cf as that user."""
    directory = facts.config_directory
    for path, bits, repair in (
        (directory, 0o005, "chmod go+rx"),
        (f"{directory}/main.cf", 0o004, "chmod go+r"),
    ):
        known = facts.files.get(path)
        if known and known.exists and known.mode & bits != bits:
            yield Fault(path, f"has mode {known.mode:04o}: only some users may read it", f"{repair} {path}")


def _differs(known: int, wanted: int | None) -> bool:
    """Return True if an owner is known and wrong. A user namespace shows unknown owners as `nobody`."""
    return wanted is not None and known not in {wanted, _NOBODY}


def _queue_owner(facts: Facts) -> Iterator[Fault]:
    repair = remedies.postfix(facts, "set-permissions")
    for name in QUEUE_DIRECTORIES:
        known = _queue_subdirectory(facts, name)
        if known is None or not known.exists or not name:
            continue
        path = f"{facts.value('queue_directory')}/{name}"
        if _differs(known.owner, facts.mail_uid):
            yield Fault(path, f"is owned by uid {known.owner}", repair)
        elif known.mode & 0o700 != 0o700 or (name == "maildrop" and known.mode & 0o030 != 0o030):
            yield Fault(path, f"has mode {known.mode:04o}", repair)
        elif name in {"maildrop", "public"} and _differs(known.group, facts.setgid_gid):
            yield Fault(path, f"has the group {known.group}", repair)


def _data_owner(facts: Facts) -> Iterator[Fault]:
    path = facts.value("data_directory")
    known = facts.files.get(path)
    if known and facts.mail_uid is not None and (not known.exists or _differs(known.owner, facts.mail_uid)):
        shown = f"is owned by uid {known.owner}" if known.exists else "does not exist"
        owner = facts.value("mail_owner")
        yield Fault(path, shown, f"install -d -o {owner} -m 0700 {path} && {remedies.restart(facts)}")


def _postdrop(facts: Facts) -> Iterator[Fault]:
    path = f"{facts.value('command_directory')}/postdrop"
    known = facts.files.get(path)
    if not known or facts.setgid_gid is None:
        return
    if not known.exists or known.mode & 0o2111 != 0o2111 or _differs(known.group, facts.setgid_gid):
        shown = f"has mode {known.mode:04o} and group {known.group}" if known.exists else "does not exist"
        yield Fault(path, shown, remedies.postfix(facts, "set-permissions"))


def _disk_full(facts: Facts) -> Iterator[Fault]:
    if facts.disk is None:
        return
    queue = facts.value("queue_directory")
    limit, reserve = facts.value("message_size_limit"), facts.value("queue_minfree")
    needed = max(int(limit) * 3 // 2 if limit.isdecimal() else 0, int(reserve) if reserve.isdecimal() else 0)
    if facts.disk.free < needed:
        yield Fault(
            queue,
            f"has {facts.disk.free} bytes free, and Postfix requires {needed} (1.5 × message_size_limit, queue_minfree)",
            f"free space there (du -xh {queue} | sort -h | tail), or lower message_size_limit",
        )
    elif facts.disk.free * 50 < facts.disk.size:
        yield Fault(
            queue,
            f"has {facts.disk.free * 100 // facts.disk.size} % of its file system free",
            f"free space there (du -xh {queue} | sort -h | tail)",
        )


def _inodes(facts: Facts) -> Iterator[Fault]:
    if facts.disk and facts.disk.inodes and facts.disk.free_inodes * 100 < facts.disk.inodes:
        yield Fault(
            facts.value("queue_directory"),
            f"has {facts.disk.free_inodes} of {facts.disk.inodes} inodes free",
            "delete small files there (df -i)",
        )


def _log_prefix(facts: Facts) -> Iterator[Fault]:
    path, prefixes = facts.value("maillog_file"), facts.words("maillog_file_prefixes")
    if path and prefixes and not any(path.startswith(prefix) for prefix in prefixes):
        yield Fault(
            facts.where("maillog_file"),
            f"is {path}, and maillog_file_prefixes allows {', '.join(prefixes)}",
            remedies.edit(facts, "write a path below /var", "start"),
        )


E, W = Severity.ERROR, Severity.WARNING
_DNS = "smtp(8) cannot resolve the relay's name (Host not found, try again), although the host can: all mail is deferred."

RULES: tuple[Rule[HostFacts], ...] = (
    Rule(id="chroot-without-resolver", severity=E, check=_no_resolver, why=_DNS),
    Rule(id="chroot-resolver-stale", severity=E, check=_stale_resolver, why=_DNS),
    Rule(id="chroot-hosts-stale", severity=E, check=_no_hosts, why=_DNS),
    Rule(
        id="config-writable",
        severity=E,
        check=_writable,
        why="Users who can write it can run programs as root. Postfix skips a dynamicmaps.cf that others than root can write.",
    ),
    Rule(
        id="config-unreadable",
        severity=E,
        check=_unreadable,
        why="sendmail, postqueue and every other program of ordinary users fail (open main.cf: Permission denied).",
    ),
    Rule(id="queue-directory-missing", severity=E, check=_no_queue, why="Postfix does not start."),
    Rule(
        id="queue-owner",
        severity=E,
        check=_queue_owner,
        why="Postfix cannot open its queue (Permission denied), or users cannot submit mail.",
    ),
    Rule(
        id="data-directory-owner",
        severity=E,
        check=_data_owner,
        why="tlsmgr(8) ends with a fatal error, and every TLS session fails.",
    ),
    Rule(
        id="postdrop-not-setgid",
        severity=E,
        check=_postdrop,
        why="Only root can submit mail by sendmail; it hangs for other users (Permission denied).",
    ),
    Rule(
        id="queue-disk-full",
        severity=E,
        check=_disk_full,
        why="Postfix accepts no mail now or soon (452 Insufficient system storage).",
    ),
    Rule(
        id="queue-inodes-used-up",
        severity=E,
        check=_inodes,
        why="Postfix cannot write mail, and sendmail and postqueue hang.",
    ),
    Rule(
        id="maillog-file-outside-prefixes",
        severity=E,
        check=_log_prefix,
        why="Every Postfix command fails, including sendmail and postfix stop.",
    ),
)
# The rules about owners and modes of Postfix's own files.
PERMISSIONS = tuple(
    rule
    for rule in RULES
    if rule.id in {"config-unreadable", "queue-owner", "data-directory-owner", "postdrop-not-setgid"}
)
