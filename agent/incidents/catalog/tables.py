"""Symptoms of lookup tables: an index, a file or a server that cannot be used, and the mail that waits for it.

All lookups end in the same lines. The lines of the table's own code say which of the causes it is.
"""

from typing import Final

from postward.agent.incidents.catalog.symptom import Candidate, Changes, Resolution, Symptom, pattern
from postward.agent.incidents.model import Effect
from postward.parsers import Cause

# What the lines name: util/dict_*.c, global/maps.c, cleanup/cleanup_map1n.c, trivial-rewrite/resolve.c.
TABLE_NAMES: Final = (
    pattern(
        r"\b(?P<PARAMETER>[a-z]\w*_(?:maps|checks|clients|domains|classes|networks)|mynetworks|mydestination)\b"
        r"(?=,? (?:map )?lookup|, next-hop|: )"
    ),
    pattern(
        r"(?:table |: |\b)(?P<TABLE>(?:proxy:)?[a-z]{3,}:[\w./:@+-]+?):? (?:table )?lookup (?:error|problem)"
    ),
    pattern(r"(?P<TABLE>(?:proxy:)?[a-z]{3,}:[\w./:@+-]+) is unavailable\."),
    pattern(r"open (?:database )?(?P<TABLE>/[\w./+-]+?)(?:\.db|\.lmdb|\.dir|\.cdb)?: "),
    pattern(r"unsupported dictionary type: (?P<TYPE>\w+)"),
    pattern(r"connect to (?:mysql|pgsql) server (?P<TABLE>[\w./-]+)"),
)

_UNNAMED: Final = "the parameter that names it"
_FAILS: Final = pattern(
    r"(?:map|table) lookup (?:problem|error)|lookup error(?: for|: )|\w+_\w+ lookup failure|is unavailable\. |"
    r"unsupported dictionary type|open database |dict_(?:ldap|mysql|pgsql|sqlite|socketmap|tcp)\w*: |"
    r"connect to (?:mysql|pgsql) server|table \S+ lookup error"
)
# Tables behind a server: util/dict_sockmap.c, util/dict_tcp.c, global/dict_ldap.c, dict_mysql.c, dict_pgsql.c.
_TYPES: Final = r"\b(?:socketmap|tcp|ldap|mysql|pgsql|mongodb|memcache)"
_SERVER: Final = (
    rf"{_TYPES}:\S* (?:table )?(?:lookup (?:error|problem)|socketmap server|query failed|is unavailable)|TCP map|"
    r"connect to (?:mysql|pgsql) server|dict_(?:ldap|mysql|pgsql|socketmap|tcp)\w*: |pgsql query failed"
)
# Tables that are files.
_LOCAL: Final = (
    r"\b(?:hash|btree|lmdb|cdb|dbm|texthash|regexp|pcre|cidr):\S* (?:table )?lookup (?:error|problem)"
)
# A file name with a character that main.cf took literally: "\\/etc", quotes of either kind.
ODD_NAME: Final = r"open (?:database )?[^\s:]*[\\\"'“”‘’][^\s:]*: No such file"
_QUERY: Final = (
    r"query failed: .*(?:syntax|[Uu]nknown column|doesn't exist|does not exist|[Nn]o such (?:table|column))"
)
# util/dict_open.c: the word is a parameter of Postfix, and no table.
_PARAMETER_AS_TABLE: Final = (
    r'instead of "(?:smtpd?|lmtp|milter|tls|virtual|local|relay|sender|recipient|my|inet)_\w+"'
)
_NO_CONNECTION: Final = "|".join(
    (
        "Connection refused",
        "Connection reset",
        "Broken pipe",
        "timed out",
        "time limit exceeded",
        "No route to host",
        "Network is unreachable",
        "No such file or directory",
        "unexpected disconnect",
        "unexpected EOF",
        "Can't contact",
        "Can't connect",
        "Unable to connect",
        "could not connect",
        "Lost connection",
        "gone away",
        "could not translate host name",
    )
)
_LOGIN: Final = (
    r"Access denied for user|password authentication failed|no pg_hba\.conf entry|Invalid credentials|"
    r"Invalid DN syntax|role \S+ does not exist"
)
_SOCKET: Final = rf"{_TYPES}:\S* lookup error: .*Permission denied|through socket \S+ \(13\)|server \S+: .*Permission denied"
_ANSWER: Final = (
    r"query failed: (?!.*(?:gone away|Lost connection))|pgsql query failed: |socketmap server \w+ error|"
    r"dict_ldap_lookup: .*(?:Search error \d|Search base)|TCP map reply .*(?:malformed|bad status|longer than)|input format error"
)


def odd_name(setting: str, parameter: str) -> Candidate:
    """Return the cause of a missing file whose name has characters that do not belong to it."""
    return Candidate(
        id="table-name-odd",
        what="a backslash or a quote in the value is taken for part of the file's name: main.cf has no escapes",
        setting=setting,
        parameter=parameter,
        certain_by=pattern(ODD_NAME),
        remedy="write the path in main.cf without backslashes and quotes, then {reload}",
        changes=Changes.WRITES,
    )


def table_causes(parameter: str, setting: str = "main_cf") -> tuple[Candidate, ...]:
    """Return the causes of a failed lookup in the tables of a parameter; a line that names another one is followed."""
    named = f"{{line PARAMETER|{parameter}}}"
    return (
        Candidate(
            id="index-missing",
            what=(
                f"the index or file of {{line TABLE|a table}} ({named}) does not exist: it was never built, or main.cf names "
                "another place"
            ),
            setting=setting,
            parameter=named,
            certain_by=pattern(r"(?:is unavailable\. .*|open (?:database )?\S+: )No such file"),
            refuted_by=pattern(rf"{_SERVER}|{ODD_NAME}"),
            remedy=f"{{rebuild {named}}}",
            changes=Changes.WRITES,
            check="does the file that the line names exist, and its source beside it?",
        ),
        odd_name(setting, named),
        Candidate(
            id="index-damaged",
            what=f"the index of {{line TABLE|a table}} ({named}) is damaged, or not of the type that main.cf names",
            setting=setting,
            parameter=named,
            certain_by=pattern("Invalid argument|Inappropriate file type|MDB_INVALID|unexpected file type"),
            refuted_by=pattern(_SERVER),
            remedy=f"{{recreate {named}}}",
            changes=Changes.WRITES,
            check=f"does postmap -s on each table of {named} list its entries?",
        ),
        Candidate(
            id="table-permission",
            what="the daemon may not read {line TABLE|the table}: owner, mode, or a rule of SELinux or AppArmor",
            setting="the host's files",
            parameter=named,
            certain_by=pattern(r"open (?:database )?\S+: Permission denied"),
            refuted_by=pattern(_SERVER),
            remedy="let Postfix's user read the table and its directories, then {reload}",
            changes=Changes.RESTARTS,
            check="namei -l on the table's path; is proxy: in front of a table that only root may read?",
        ),
        Candidate(
            id="map-type",
            what=(
                "this Postfix does not support the table type {line TYPE|that main.cf names}: it is misspelt, its package "
                "is missing, or this Postfix was built without it"
            ),
            setting="postfix.map_type",
            parameter=named,
            certain_by=pattern("unsupported dictionary type"),
            refuted_by=pattern(_SERVER),
            remedy="use a type that postconf -m lists, or {install_map {line TYPE|lmdb}}",
            changes=Changes.WRITES,
            check="postconf -m lists the types",
        ),
        Candidate(
            id="table-server",
            what="the server behind the table {line TABLE|} is down or out of reach",
            setting=setting,
            parameter=named,
            certain_by=pattern(rf"(?:{_SERVER}).*(?:{_NO_CONNECTION})"),
            refuted_by=pattern(rf"{_LOCAL}|{_LOGIN}|{_SOCKET}|{_ANSWER}"),
            remedy="start the table's server {line TABLE|}, and check the path to it; Postfix needs no change",
            changes=Changes.RESTARTS,
            check="is the type socketmap, tcp, ldap, mysql or pgsql, and does that server answer?",
        ),
        Candidate(
            id="table-login",
            what="the server behind the table {line TABLE|} refuses the user or the password of Postfix",
            setting=setting,
            parameter=named,
            certain_by=pattern(_LOGIN),
            refuted_by=pattern(rf"{_LOCAL}|\b(?:socketmap|tcp|memcache):|TCP map"),
            remedy="correct the user and the password in the table's file, then {reload}",
            changes=Changes.WRITES,
            check="does that server accept this login from this host?",
        ),
        Candidate(
            id="table-socket",
            what="Postfix may not use the socket of the server behind the table {line TABLE|}",
            setting="the host's files",
            parameter=named,
            certain_by=pattern(_SOCKET),
            refuted_by=pattern(rf"{_LOCAL}|\b(?:socketmap:inet|tcp|ldap):|TCP map"),
            remedy="let the user postfix use the server's socket, then {reload}",
            changes=Changes.RESTARTS,
            check="namei -l on the socket's path",
        ),
        Candidate(
            id="table-query",
            what="the query in the table's file is wrong: the server behind the table {line TABLE|} refuses it",
            setting=setting,
            parameter=named,
            certain_by=pattern(_QUERY),
            refuted_by=pattern(_LOCAL),
            remedy="correct the query in the table's file: see the server's words in the line",
            changes=Changes.WRITES,
            check="does postmap -q on the table give the same error?",
        ),
        Candidate(
            id="table-answer",
            what="the server behind the table {line TABLE|} answers with an error: see its text in the line",
            setting=setting,
            parameter=named,
            certain_by=pattern(_ANSWER),
            refuted_by=pattern(rf"{_LOCAL}|{_QUERY}"),
            remedy="correct the query in the table's file, or repair the server that answers so",
            changes=Changes.WRITES,
            check="does postmap -q on the table give the same error? What does the server log?",
        ),
    )


_PROXIED: Final = Candidate(
    id="password-proxied",
    what="proxymap(8) opens tables without root privileges, and may not read {line TABLE|this table}",
    setting="relay.password_file",
    parameter="{line TABLE|the table in the line}",
    certain_by=pattern(r"open (?:database )?\S+: Permission denied"),
    refuted_by=pattern(_SOCKET),
    remedy="remove proxy: in front of the table, then {reload}",
    changes=Changes.WRITES,
    check="namei -l on the table's path: may the user postfix read it?",
)

SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        id="generic-table",
        title="smtp(8) exits: smtp_generic_maps cannot be looked up",
        text=pattern("smtp_generic_maps map lookup problem"),
        names=TABLE_NAMES,
        candidates=table_causes("smtp_generic_maps", "host.rewrite_sender"),
    ),
    Symptom(
        id="submission-table",
        title="cleanup(8) cannot look up a table: no mail is accepted",
        daemon="cleanup",
        text=_FAILS,
        names=TABLE_NAMES,
        resolution=Resolution.LEFT,
        candidates=table_causes(_UNNAMED),
    ),
    Symptom(
        id="routing-table",
        title="a table that routes mail cannot be looked up: mail waits",
        daemon="trivial-rewrite",
        text=_FAILS,
        names=TABLE_NAMES,
        resolution=Resolution.LEFT,
        candidates=table_causes(_UNNAMED, "relay.senders"),
    ),
    Symptom(
        id="smtpd-table",
        title="smtpd(8) cannot look up a table: clients are deferred",
        daemon="smtpd|postscreen",
        text=_FAILS,
        names=TABLE_NAMES,
        resolution=Resolution.ACCEPTED,
        candidates=table_causes(_UNNAMED),
    ),
    Symptom(
        id="password-table-unreadable",
        title="a lookup table cannot be read for lack of permission, and mail waits for it",
        daemon="proxymap",
        text=pattern(r"is unavailable\. open .*Permission denied"),
        resolution=Resolution.LEFT,
        names=TABLE_NAMES,
        candidates=(_PROXIED,),
    ),
    Symptom(
        id="proxied-table",
        title="proxymap(8) cannot look up a table: mail waits",
        daemon="proxymap",
        text=_FAILS,
        names=TABLE_NAMES,
        resolution=Resolution.LEFT,
        candidates=tuple(_PROXIED if one.id == "table-permission" else one for one in table_causes(_UNNAMED)),
    ),
    Symptom(
        id="alias-table",
        title="aliases cannot be looked up: mail for this host waits",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("alias database unavailable"),
        names=TABLE_NAMES,
        candidates=(
            Candidate(
                id="alias-index",
                what="newaliases was never run, or the index is damaged",
                setting="/etc/aliases",
                parameter="alias_maps",
                certain_by=pattern(
                    r"open database \S+: (?:No such file|Invalid argument)|is unavailable\. .*No such file"
                ),
                refuted_by=pattern(_SERVER),
                remedy="{newaliases}",
                changes=Changes.WRITES,
                check="does the index of each table in alias_maps exist?",
            ),
            *(one for one in table_causes("alias_maps", "/etc/aliases") if not one.id.startswith("index-")),
        ),
    ),
    Symptom(
        id="map-without-type",
        title="a daemon exits: a table is named without its type",
        text=pattern('expecting "type:name" form'),
        names=(pattern(r'form instead of "(?P<VALUE>[\w.-]+)"'),),
        candidates=(
            Candidate(
                id="line-indented",
                what=(
                    "an indented line of main.cf continues the parameter above it: {line VALUE|a parameter's name} is read "
                    "as the name of a table"
                ),
                setting="main_cf",
                parameter="{line VALUE|the parameter in the line}",
                certain_by=pattern(_PARAMETER_AS_TABLE),
                remedy="remove the white space at the start of the line that sets it, in main.cf; then {reload}",
                changes=Changes.WRITES,
            ),
            Candidate(
                id="map-type-missing",
                what="Postfix expects type:name, as in hash:/etc/postfix/sasl_passwd",
                setting="relay.password_file",
                parameter="the parameter that names the table",
                certain_by=pattern('expecting "type:name" form'),
                refuted_by=pattern(_PARAMETER_AS_TABLE),
                remedy="write the type before the name, then {reload}",
                changes=Changes.WRITES,
                lint_decides=("map-without-type",),
            ),
        ),
    ),
    Symptom(
        id="table-syntax",
        title="a pattern table has an invalid line, which Postfix skips",
        text=pattern(r"(?:regexp|pcre|cidr) map \S+ line \d+"),
        effect=Effect.NOTE,
        resolution=Resolution.STARTED,
        names=(pattern(r"(?:regexp|pcre|cidr) map (?P<TABLE>[\w./-]+),? line (?P<LINE>\d+)"),),
        candidates=(
            Candidate(
                id="table-line",
                what="Postfix skips the rule, and mail goes out without it",
                setting="main_cf",
                parameter="{line TABLE|the table in the line}",
                certain_by=pattern(r"(?:regexp|pcre|cidr) map \S+ line \d+"),
                remedy="correct line {line LINE|with the fault} of {line TABLE|the table}, then {reload}",
                changes=Changes.WRITES,
            ),
        ),
    ),
)
