"""Rules for the libraries of Postfix: src/util and src/global, which every program links, and src/milter."""

from typing import Final

from postward.parsers.events import (
    BadParameter,
    ClockProblem,
    CompatibilityNotice,
    ConfigurationProblem,
    LookupFailed,
    MilterProblem,
    QueueFileCorrupt,
    ResourceProblem,
    ServiceUnavailable,
    Statistics,
    TableChanged,
    TableOutdated,
    TableProblem,
    TableUnavailable,
)
from postward.parsers.grammar import TABLE_TYPE
from postward.parsers.rules import Rule, problem, rule

_TABLE: Final = rf"{TABLE_TYPE}:(?:(?! (?:is unavailable\. |lookup error)|: lookup of ).)+"

# strerror(3) for exhausted resources and files that cannot be written.
_EXHAUSTED: Final = (
    r"No space left on device|Disk quota exceeded|Cannot allocate memory|Too many open files(?: in system)?"
    r"|Read-only file system|File too large|Resource temporarily unavailable|Input/output error|No buffer space available"
)

COMMON: Final[tuple[Rule, ...]] = (
    rule(
        r"table (?P<table>.+) has changed -? ?- ?(?:restarting|finishing in the background)",
        TableChanged,
        "smtp/smtp.c",
        "smtpd/smtpd.c",
        "postscreen/postscreen.c",
    ),
    rule(
        r"(?:\S+: (?:line [0-9]+: )?)?using (?:using )?backwards-compatible default setting \"?(?P<parameter>\w+) ?= ?"
        r"(?P<value>\([^)]*\)|[^\s\"]*)\"?(?: (?P<text>.*))?",
        CompatibilityNotice,
        "smtpd/smtpd_check.c",
        "smtp/smtp.c",
        "trivial-rewrite/rewrite.c",
        "master/master_ent.c",
    ),
    rule(r"(?P<text>redirecting \S++ to \S++)", CompatibilityNotice, "global/nbdb_redirect.c"),
    rule(r"(?P<text>cache \S+ (?:full|partial) cleanup: .*)", Statistics, "util/dict_cache.c"),
    rule(r"(?P<text>statistics: .*)", Statistics, "anvil/anvil.c", "scache/scache.c"),
    # Tables
    problem(
        rf"(?P<table>{_TABLE}) is unavailable\. (?P<reason>.*)", TableUnavailable, "util/dict_surrogate.c"
    ),
    # The type is unknown here, so any type matches.
    problem(
        r"(?P<table>[^\s:]+:\S+) is unavailable\. (?P<reason>unsupported dictionary type.*)",
        TableUnavailable,
        "util/dict_open.c",
        "util/dict_surrogate.c",
    ),
    problem(rf'(?P<table>{_TABLE}) lookup error for "(?P<key>.*)"', LookupFailed, "global/maps.c"),
    problem(
        r"database (?P<table>\S+) is older than source file (?P<source>.*)",
        TableOutdated,
        "util/dict_db.c",
        "util/dict_lmdb.c",
        "util/dict_cdb.c",
    ),
    problem(
        r"(?P<reason>open (?:database|dictionary|map) .*|open dictionary: .*|unsupported dictionary type: .*"
        r"|\w+ map \S+, line \d+: .*|error opening \S+: .*|dict_cdbq_open: .*|unusable file: .*)",
        TableProblem,
        "util/dict_open.c",
        "util/dict_cdb.c",
        "util/dict_db.c",
        "util/dict_regexp.c",
    ),
    problem(
        rf"(?P<table>{_TABLE})(?P<reason>: lookup of .* failed| lookup error: .*)",
        TableProblem,
        "local/alias.c",
    ),
    problem(r"table (?P<table>\S+)(?P<reason> lookup error: .*)", TableProblem, "util/dict_sockmap.c"),
    problem(
        r'(?P<reason>request for unapproved table: ".*"|\S+ service is not configured for table ".*")',
        TableProblem,
        "proxymap/proxymap.c",
        "global/dict_proxy.c",
    ),
    # Parameters
    problem(
        r"bad (?:(?:numerical|boolean|time value|string length|raw value|\w+) configuration|string length \(?\d+ [<>] \d+\)?)"
        r": (?P<parameter>\w+) = (?P<value>.*)",
        BadParameter,
        "global/mail_conf_int.c",
        "global/mail_conf_bool.c",
        "global/mail_conf_str.c",
    ),
    problem(
        r"(?P<parameter>\w+): (?P<reason>non-null host address bits in \".*)",
        BadParameter,
        "util/cidr_match.c",
    ),
    problem(
        r"(?:(?:file \S+: )?parameter (?:\"(?=\w+\"))?|config variable )(?P<parameter>\w+)\"?: (?P<reason>.*)",
        BadParameter,
        "global/mail_params.c",
        "global/own_inet_addr.c",
    ),
    problem(
        r"invalid (?P<parameter>\w+) parameter value[: ] ?(?P<value>\"?[^\s\"]*\"?)(?: (?P<reason>.*))?",
        BadParameter,
        "global/mail_conf_int.c",
    ),
    problem(
        r'invalid "-o (?P<parameter>\S+)" option value: (?P<reason>.*)', BadParameter, "util/clean_env.c"
    ),
    problem(
        r"unknown (?P<parameter>[\w ]+) value \"(?P<value>[^\"]*+)\" in (?P<reason>\".*\")",
        BadParameter,
        "util/name_mask.c",
    ),
    problem(
        r"(?P<parameter>myhostname) and relayhost parameter settings (?P<reason>must not be identical: .*)",
        BadParameter,
        "global/mail_params.c",
    ),
    problem(
        r"(?P<text>(?:open )?\S*/(?:main|master)\.cf(?:, line \d+)?: .*|Postfix library version mis-match: .*"
        r"|\S*main\.cf configuration .*|possible missing comma in .*|malformed compatibility level syntax: .*)",
        ConfigurationProblem,
        "global/compat_level.c",
        "global/mail_conf.c",
        "global/mail_version.c",
    ),
    # Services and resources
    problem(
        r"(?:connect to|problem talking to (?:server|service)) (?P<service>(?:private|public|\w+)(?:/\S+)?):"
        r" (?P<error>.*)",
        ServiceUnavailable,
        "util/auto_clnt.c",
        "util/attr_clnt.c",
        "global/mail_command_client.c",
        "global/resolve_clnt.c",
    ),
    problem(
        rf"(?P<text>.*(?:{_EXHAUSTED})|mail_queue_enter: create file .*|.*insufficient memory for .*|watchdog timeout"
        r"|not enough free space in mail queue: .*)",
        ResourceProblem,
        "global/mail_queue.c",
        "util/mymalloc.c",
        "util/watchdog.c",
        "smtpd/smtpd_check.c",
    ),
    problem(r"corrupted queue file: (?P<file>.*)", QueueFileCorrupt, "global/mark_corrupt.c"),
    problem(
        r"(?P<text>file system clock is .*|.*backward time jump detected.*)",
        ClockProblem,
        "global/mail_stream.c",
        "util/sane_time.c",
    ),
)

# src/milter, which smtpd(8) and cleanup(8) link.
MILTER: Final[tuple[Rule, ...]] = (
    problem(r"connect to Milter service (?P<milter>\S+): (?P<reason>.*)", MilterProblem, "milter/milter8.c"),
    problem(r"milter (?P<milter>\S+): (?P<reason>.*)", MilterProblem, "milter/milter8.c"),
)
