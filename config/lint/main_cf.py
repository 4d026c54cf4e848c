"""Rules about main.cf as a file: its syntax, and the types of its values."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import replace

from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.text import Line
from postward.config.lint.values import intended
from postward.config.parameters import expand
from postward.config.relay import IMPLICIT_TLS_PORTS
from postward.parsers.scrub import MASK

Facts = HostFacts


def _place(facts: Facts, line: Line, number: int | None = None) -> str:
    place = f"{facts.config_directory}/main.cf:{number or line.number}"
    return f"{place}: {line.name}" if line.name else place


def _missing_equals(facts: Facts) -> Iterator[Fault]:
    for line in facts.main_cf:
        if not line.name and not line.value:
            yield Fault(
                _place(facts, line),
                f'the line that begins with "{_start(line)}" has no "="',
                remedies.edit(facts, 'write it as "name = value", or put a # in front', "check"),
            )


def _start(line: Line) -> str:
    """Return the first word of a line, or "…" if it may be part of a login."""
    return line.text if re.fullmatch(r"[a-z0-9_]+", line.text) else "…"


def swallowed(facts: Facts) -> Iterator[tuple[Line, int, str]]:
    """Yield (line, number, parameter) of indented assignments, which belong to the line above."""
    for line in facts.main_cf:
        for number, text in line.parts:
            name = re.match(r"([A-Za-z0-9_]+)\s*=(?!=)", text)
            if name and (name[1] in facts.defaults or re.search(r"\s=\s", text)):
                yield line, number, name[1]


def with_lost_parameters(facts: Facts) -> Facts | None:
    """Return the facts as they would be with indented assignments on lines of their own; None without such lines."""
    cuts = {number for _, number, _ in swallowed(facts)}
    if not cuts:
        return None
    lines = tuple(piece for line in facts.main_cf for piece in _pieces(line, cuts))
    lost = {line.name: line.value for line in lines if line not in facts.main_cf}
    explicit = {**facts.explicit, **lost}
    values = {**facts.defaults, **explicit, "config_directory": facts.config_directory}
    return replace(facts, main_cf=lines, explicit=explicit, expanded={**facts.expanded, **expand(values)})


def _pieces(line: Line, cuts: set[int]) -> Iterator[Line]:
    """Yield the assignments of a line and of the indented lines behind it."""
    if not cuts & {number for number, _ in line.parts}:
        yield line
        return
    tail = " ".join(text for _, text in line.parts)
    begin, name, texts = line.number, line.name, [line.value.removesuffix(tail).strip()]
    for number, text in line.parts:
        if number in cuts:
            yield Line(begin, name, " ".join(texts))
            begin, (name, _, value) = number, (part.strip() for part in text.partition("="))
            texts = [value]
        else:
            texts.append(text)
    yield Line(begin, name, " ".join(texts))


def _indented_parameter(facts: Facts) -> Iterator[Fault]:
    for line, number, name in swallowed(facts):
        yield Fault(
            f"{facts.config_directory}/main.cf:{number}: {name}",
            f"is indented, and so part of the value of {line.name} in line {line.number}",
            remedies.edit(facts, "remove the white space in front of it"),
        )


def _duplicates(facts: Facts) -> Iterator[tuple[Line, Line]]:
    """Yield (earlier, later) lines of one parameter."""
    seen: dict[str, Line] = {}
    for line in facts.main_cf:
        if line.name and line.name in seen:
            yield seen[line.name], line
        seen[line.name] = line


def _duplicate_parameter(facts: Facts) -> Iterator[Fault]:
    for earlier, line in _duplicates(facts):
        yield Fault(
            _place(facts, line),
            f"is already set in line {earlier.number}; this line is in force",
            remedies.edit(facts, "remove one of the two lines"),
        )


def _duplicate_hangs(facts: Facts) -> Iterator[Fault]:
    """postlogd(8) warns of a duplicate as it starts, before it takes lines itself (postlogd/postlogd.c: pre_jail_init)."""
    names = dict.fromkeys(line.name for _, line in _duplicates(facts))
    if names and facts.value("maillog_file"):
        yield Fault(
            facts.where("maillog_file"),
            f"is set, and {', '.join(names)} more than once: a busy moment after a reload can stop all of Postfix",
            remedies.edit(
                facts,
                "remove the duplicate lines; a Postfix that hangs must be killed, master first, and started",
            ),
        )


def _warned(facts: Facts, kind: str) -> Iterator[tuple[str, str]]:
    """Yield (file, name) of postconf's warnings, without malformed names, which have rules of their own."""
    for warning in facts.warnings:
        match = re.fullmatch(rf"(.*): {kind} parameter: (.*)", warning)
        if match and re.fullmatch(r"[A-Za-z0-9_.-]+", match[2]):
            yield match[1], match[2]


def _unknown_parameter(facts: Facts) -> Iterator[Fault]:
    for file, name in _warned(facts, "unused"):
        close = close_parameter(name, facts)
        right = (
            f'write "{close}" if that is meant, or remove it'
            if close
            else f"remove it, or correct its name (postconf -d | grep {name[:8]})"
        )
        place = facts.where(name) if file.endswith("main.cf") else f"{file}: {name}"
        yield Fault(
            place, "is not a parameter of this Postfix, and nothing uses it", remedies.edit(facts, right)
        )


def close_parameter(name: str, facts: Facts) -> str:
    """Return the parameter of which a name is a misspelling; "" if it may as well be another one.

    A name is not a misspelling if its parts are words of Postfix, as in parameters of other releases. A parameter that
    main.cf sets beside it is not the one that is meant.
    """
    joined = {known.replace("_", ""): known for known in facts.defaults}
    if same := joined.get(name.replace("_", "").replace("-", "").lower()):
        return same
    close = difflib.get_close_matches(name, facts.defaults, 1, 0.85)
    words = {word for known in facts.defaults for word in known.split("_")}
    if not close or close[0] in facts.explicit or set(name.split("_")) <= words:
        return ""
    return close[0]


def _wrapped_listener(facts: Facts) -> Iterator[Fault]:
    """In main.cf the parameter holds for all smtpd(8) services, port 25 among them. It belongs into master.cf."""
    if facts.explicit.get("smtpd_tls_wrappermode", "no").lower() != "yes":
        return
    needed = any(hop.hop.port in IMPLICIT_TLS_PORTS and not hop.hop.wrapper for hop in facts.routes)
    to_client = f"; {remedies.assign(facts, ('smtp_tls_wrappermode', 'yes'))}" if needed else ""
    yield Fault(
        facts.where("smtpd_tls_wrappermode"),
        "is yes for all listeners"
        + (", and smtp_tls_wrappermode, which the relay needs, is no" if needed else ""),
        f"{remedies.remove(facts, 'smtpd_tls_wrappermode')}{to_client}",
    )


def _undefined_reference(facts: Facts) -> Iterator[Fault]:
    for file, name in _warned(facts, "undefined"):
        users = [line for line in facts.main_cf if re.search(rf"\$[({{]?{re.escape(name)}\b", line.value)]
        place = _place(facts, users[-1]) if users else file
        close = difflib.get_close_matches(name, facts.defaults, 1, 0.8)
        right = f'write "${close[0]}"' if close else "correct the name, or define it"
        yield Fault(
            place,
            f"refers to ${name}, which does not exist and is taken as empty",
            remedies.edit(facts, right),
        )


# Parameters whose text is for people and may contain a "#".
_TEXTS = re.compile(r".*(banner|footer|mail_name|text|template|reply|command|_cmd)$")


def has_comment(line: Line) -> bool:
    """Return True for a value with a comment behind it."""
    return bool(re.search(r"(^|\s)#", line.value)) and not _TEXTS.match(line.name)


def _inline_comment(facts: Facts) -> Iterator[Fault]:
    for line in facts.main_cf:
        if has_comment(line):
            yield Fault(
                _place(facts, line),
                "has a # behind its value, and Postfix takes it for part of the value",
                _set_intended(facts, line, "put the comment on a line of its own"),
            )


def _set_intended(facts: Facts, line: Line, instruction: str) -> str:
    """Set the intended value; only the admin can write one that is masked."""
    if MASK in line.value:
        return remedies.edit(facts, instruction)
    return remedies.assign(facts, (line.name, intended(line.value)))


def _quoted_value(facts: Facts) -> Iterator[Fault]:
    for line in facts.main_cf:
        if re.fullmatch(r"\s*([\"']).*\1", line.value) and not _TEXTS.match(line.name):
            yield Fault(
                _place(facts, line),
                "has its value in quotes, and Postfix takes them for part of the value",
                _set_intended(facts, line, "remove the quotes"),
            )


# Characters that come from web pages and word processors.
_PASTED = {
    "\ufeff": "a byte order mark",
    "\u00a0": "a no-break space",
    "\u200b": "an invisible space",
    "\u201c": "a typographic quote",
    "\u201d": "a typographic quote",
    "\u2018": "a typographic quote",
    "\u2019": "a typographic quote",
    "\u2013": "a dash instead of a hyphen",
    "\uff1a": "a full-width colon",
    "\uff0c": "a full-width comma",
    "\u3000": "a full-width space",
}


def _pasted_characters(facts: Facts) -> Iterator[Fault]:
    for line in facts.main_cf:
        pasted = [name for char, name in _PASTED.items() if char in f"{line.name}{line.value}{line.text}"]
        if pasted:
            yield Fault(
                f"{facts.config_directory}/main.cf:{line.number}",
                f"has {pasted[0]}, as text copied from a web page does",
                remedies.edit(facts, "type the line again"),
            )


# Parameters that also take other values than the numbers or booleans that their defaults look like.
FREE_VALUES = re.compile(
    r".*(_tls_loglevel|_concurrency_(positive|negative)_feedback|_tcp_port|_directory|forbid_bare_newline|mail_release_date)|compatibility_level|process_id"
)
_NUMBER, _TIME = re.compile(r"[+-]?\d+"), re.compile(r"\d+[smhdw]?")


def _values(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield (place, default, value) of parameters; the default shows the type."""
    names = {line.name for line in facts.main_cf if not has_comment(line) and not _is_cut(facts, line)}
    for name in facts.explicit:
        value = intended(facts.expanded.get(name, ""))
        if name in names and name in facts.defaults and not FREE_VALUES.fullmatch(name) and "{" not in value:
            yield facts.where(name), facts.defaults[name], value
    for key, value in facts.master.overrides.items():
        service, kind, name = key.split("/", 2)
        if (
            name in facts.defaults
            and not FREE_VALUES.fullmatch(name)
            and "$" not in value
            and "{" not in value
        ):
            yield f"{facts.master_where(f'{service}/{kind}')} -o {name}", facts.defaults[name], value


def _is_cut(facts: Facts, line: Line) -> bool:
    return any(other is line for other, _, _ in swallowed(facts))


def _bad_boolean(facts: Facts) -> Iterator[Fault]:
    for place, default, value in _values(facts):
        if default in {"yes", "no"} and value.lower() not in {"yes", "no"}:
            right = "yes" if value.lower() in {"true", "on", "1", "enable", "enabled", "y"} else "no"
            name = place.rpartition(": ")[2]
            override = " -o " in name
            remedy = (
                remedies.edit(facts, f'write "{right}"')
                if override
                else remedies.assign(facts, (name, right))
            )
            yield Fault(place, f'is "{value}"; a boolean is yes or no', remedy)


def _bad_number(facts: Facts) -> Iterator[Fault]:
    for place, default, value in _values(facts):
        number, time = _NUMBER.fullmatch(default), _TIME.fullmatch(default)
        if number and not _NUMBER.fullmatch(value):
            yield Fault(
                place,
                f'is "{value}"; a number consists of digits',
                remedies.edit(facts, "write it in digits"),
            )
        elif time and not number and not _TIME.fullmatch(value):
            right = "write digits and one of s, m, h, d, w, as in 5m"
            yield Fault(place, f'is "{value}", which is not a time', remedies.edit(facts, right))


def _macro_loop(facts: Facts) -> Iterator[Fault]:
    if match := re.search(r'macro call nesting: "([^"]*)"', facts.fault):
        yield Fault(
            facts.where(match[1]),
            f"refers to itself by ${match[1]}",
            remedies.edit(facts, "write the value out", "check"),
        )


def _refused(facts: Facts) -> Iterator[Fault]:
    if facts.fault:
        yield Fault(
            f"{facts.config_directory}/main.cf",
            f"Postfix says: {facts.fault}",
            remedies.edit(facts, "correct what Postfix reports", "check"),
        )


def _level_missing(facts: Facts) -> Iterator[Fault]:
    if "compatibility_level" not in facts.explicit and facts.version >= (3, 0):
        level = f"{facts.version[0]}.{facts.version[1]}" if facts.version >= (3, 6) else "2"
        yield Fault(
            facts.where("compatibility_level"),
            "is not set, so Postfix keeps the defaults of old releases",
            remedies.assign(facts, ("compatibility_level", level)),
        )


def _level_too_high(facts: Facts) -> Iterator[Fault]:
    limit = facts.version if facts.version >= (3, 6) else (2, 99)
    value = facts.value("compatibility_level")
    too_new = facts.version < (3, 6) and "." in value
    if facts.version > (0, 0) and (facts.level > limit or too_new):
        right = f"{limit[0]}.{limit[1]}" if facts.version >= (3, 6) else "2"
        yield Fault(
            facts.where("compatibility_level"),
            f"is {value}, and this is Postfix {facts.version[0]}.{facts.version[1]}",
            remedies.assign(facts, ("compatibility_level", right)),
        )


def _obsolete_tls(facts: Facts) -> Iterator[Fault]:
    for name in ("smtp_use_tls", "smtp_enforce_tls", "smtp_tls_per_site"):
        if name not in facts.explicit or facts.value(name).lower() in {"no", ""}:
            continue
        if facts.value("smtp_tls_security_level"):
            yield Fault(facts.where(name), "is obsolete and ignored", remedies.remove(facts, name))
            continue
        level = "may" if name == "smtp_use_tls" and not facts.sends_by_login else "encrypt"
        yield Fault(
            facts.where(name),
            f"is obsolete; smtp_tls_security_level = {level} replaces it",
            f"{remedies.assign(facts, ('smtp_tls_security_level', level))}; {remedies.remove(facts, name)}",
        )


E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE

RULES: tuple[Rule[HostFacts], ...] = (
    Rule(
        id="missing-equals",
        severity=E,
        check=_missing_equals,
        why="Every Postfix command fails, including sendmail and postfix stop.",
    ),
    Rule(
        id="indented-parameter",
        severity=E,
        check=_indented_parameter,
        why="White space at its start continues the line above: the parameter is not set, and the one above has a wrong value.",
    ),
    Rule(
        id="duplicate-parameter",
        severity=W,
        check=_duplicate_parameter,
        why="The last line is in force, and edits of the other have no effect.",
    ),
    Rule(
        id="duplicate-parameter-hangs",
        severity=E,
        check=_duplicate_hangs,
        why="Each daemon logs a warning about the duplicate as it starts. postlogd writes it to its own socket: if ten lines wait "
        "there already, it blocks, and every program that logs blocks too.",
    ),
    Rule(
        id="unknown-parameter",
        severity=W,
        check=_unknown_parameter,
        why="Postfix ignores unknown names and logs nothing about them.",
    ),
    Rule(
        id="smtpd-wrappermode-in-main-cf",
        severity=E,
        check=_wrapped_listener,
        why="smtpd_ is about mail that comes in: every client that greets in clear text, on port 25 too, waits until a timeout. "
        "Mail that goes out has smtp_tls_wrappermode.",
    ),
    Rule(
        id="undefined-reference",
        severity=W,
        check=_undefined_reference,
        why="Postfix uses an empty value and logs nothing about it.",
    ),
    Rule(
        id="inline-comment",
        severity=E,
        check=_inline_comment,
        why="A comment behind a value makes a wrong boolean, number or list. Behind relayhost it makes a second relay called #, which "
        "stops smtp(8) as soon as the first relay fails. Comments need lines of their own.",
    ),
    Rule(
        id="quoted-value",
        severity=E,
        check=_quoted_value,
        why="main.cf has no quoting: the value in force includes the quotes.",
    ),
    Rule(
        id="pasted-characters",
        severity=E,
        check=_pasted_characters,
        why="Postfix takes such a character for part of a name or value.",
    ),
    Rule(
        id="bad-boolean",
        severity=E,
        check=_bad_boolean,
        why="The daemon that reads it ends with a fatal error, and mail stays in the queue without a reason.",
    ),
    Rule(
        id="bad-number",
        severity=E,
        check=_bad_number,
        why="The programs that read it end with a fatal error; some numbers are read by every program.",
    ),
    Rule(
        id="macro-loop",
        severity=E,
        check=_macro_loop,
        why="Every Postfix command fails, including sendmail and postfix stop.",
    ),
    Rule(
        id="refused-by-postfix",
        severity=E,
        check=_refused,
        why="Postfix cannot read its configuration: no command works, including sendmail.",
    ),
    Rule(
        id="compatibility-level-missing",
        severity=N,
        check=_level_missing,
        why="Old defaults apply, such as a chroot for services with - in master.cf. Each start logs a reminder.",
    ),
    Rule(
        id="compatibility-level-too-high",
        severity=W,
        check=_level_too_high,
        why="The file was written for a newer release. Postfix 3.5 and older do not start with a level such as 3.6.",
    ),
    Rule(
        id="obsolete-tls-setting",
        severity=W,
        check=_obsolete_tls,
        why="Postfix 3.9 and later log a warning, and later releases will ignore it. It never worked with smtp_tls_wrappermode.",
    ),
)
