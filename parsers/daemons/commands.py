"""Rules for Postfix's commands and shell scripts: postfix(1), postsuper(1), sendmail(1), conf/postfix-script."""

from typing import Final

from postward.parsers.events import (
    CompatibilityNotice,
    ConfigurationProblem,
    MailSystem,
    OwnTestLine,
    QueueAction,
    QueueActionTotal,
    Removed,
    ServiceUnavailable,
    SubmissionFailed,
)
from postward.parsers.grammar import QUEUE_ID
from postward.parsers.rules import Rule, problem, rule

SCRIPT: Final[tuple[Rule, ...]] = (
    rule(
        r"(?P<text>(?:starting|stopping|refreshing|aborting) the Postfix mail system.*"
        r"|waiting for the Postfix mail system to terminate|the Postfix mail system is .*)",
        MailSystem,
        "conf/postfix-script",
    ),
    problem(
        r"(?P<text>(?:the Postfix mail system|stopping the Postfix mail system|mail system) .*"
        r"|Postfix integrity check failed!)",
        MailSystem,
        "conf/postfix-script",
    ),
    problem(
        r"(?P<text>not owned by .*|(?:group|group or other|symlink leaves directory).* writable: .*|\S+ and \S+ differ"
        r"|not set-gid .*|symlink leaves directory: .*|damaged message: .*|missing .*|no .*|cannot execute .*|wrong .*"
        r"|non-\S+ .*|unable to .*|directory .*|To disable .*|Postfix is .*|See .*|\S+: .*)",
        ConfigurationProblem,
        "conf/postfix-script",
    ),
)

POSTFIX: Final[tuple[Rule, ...]] = (
    rule(
        r"(?P<text>Postfix is (?:using|running with) backwards-compatible default settings|See http\S+ for details"
        r"|To disable backwards compatibility use .*)",
        CompatibilityNotice,
        "postfix/postfix.c",
    ),
    problem(
        r"(?P<text>chdir\(.*|Postfix library .*|to submit mail, .*)",
        ConfigurationProblem,
        "postfix/postfix.c",
    ),
)

# postlog prints its arguments; agent/logs/canary.py passes this text.
POSTLOG: Final[tuple[Rule, ...]] = (
    rule(r"postward test line (?P<token>[0-9a-f]{16})", OwnTestLine, "postlog/postlog.c"),
)

POSTSUPER: Final[tuple[Rule, ...]] = (
    rule(rf"(?P<queue_id>{QUEUE_ID}): removed", Removed, "postsuper/postsuper.c"),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<action>requeued|placed on hold|released from hold|expired)",
        QueueAction,
        "postsuper/postsuper.c",
    ),
    rule(r"(?P<action>[A-Z][\w -]+): (?P<number>\d+) messages?", QueueActionTotal, "postsuper/postsuper.c"),
)

SUBMISSION: Final[tuple[Rule, ...]] = (
    # The user chooses the sender.
    problem(r"(?P<user>.+)\((?P<uid>\d+)\): (?P<text>.*)", SubmissionFailed, "sendmail/sendmail.c"),
    problem(
        r"User (?P<user>\S+)\((?P<uid>\d+)\) (?P<text>is not allowed to submit mail)",
        SubmissionFailed,
        "sendmail/sendmail.c",
    ),
    problem(r"uid=(?P<uid>\d+): (?P<text>.*)", SubmissionFailed, "postdrop/postdrop.c"),
)

POSTQUEUE: Final[tuple[Rule, ...]] = (
    problem(
        r"(?P<service>Queue report|Mail system|Cannot flush mail queue)(?P<error> .*)",
        ServiceUnavailable,
        "postqueue/postqueue.c",
    ),
)

# Postfix 3.11 and later: the daemon converts Berkeley DB tables to another type.
REINDEX: Final[tuple[Rule, ...]] = (
    rule(
        r"(?P<text>successfully executed '.*' as uid \d+|target file '.*' already exists, skipping this request)",
        CompatibilityNotice,
        "nbdb_reindexd/nbdb_process.c",
    ),
)
