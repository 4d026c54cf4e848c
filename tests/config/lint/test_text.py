"""The lines of main.cf, master.cf and tables that lint reads hold no secrets."""

import pytest

from postward.config.lint.next_hop import corrected, parse_next_hop
from postward.config.lint.text import parse_main_cf, parse_master_cf, parse_table, without_secrets

SECRET = "Gr33n-Fern-s3cret"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("smtp_sasl_password_maps", f"static:user:{SECRET}", "static:********"),
        ("smtp_sasl_pasword_maps", f"static:user:{SECRET}", "static:********"),
        ("smtp_sasl_password_maps", f"inline:{{ [h]:587 = user:{SECRET} }}", "inline:********"),
        ("sender_dependent_relayhost_maps", "inline:{{a@b.test = [h]:587}}", "inline:{{a@b.test = [h]:587}}"),
        ("smtp_sasl_password", SECRET, "********"),
        ("smtp_sasl_passwd", f"user:{SECRET}", "********"),
        ("relayhost", f"smtp://user:{SECRET}@h:587", "smtp://********@h:587"),
        ("relayhost", f"user:{SECRET}@h", "********@h"),
        ("relayhost", f"smtp://user@b.test:{SECRET}@x@h:587", "smtp://user@********@h:587"),
        ("tls_high_cipherlist", "aNULL:-aNULL:HIGH:@STRENGTH", "aNULL:-aNULL:HIGH:@STRENGTH"),
        ("smtp_sasl_password_maps", "ldap:logins", "ldap:logins"),
        ("smtp_sasl_password_maps", "hash:/etc/postfix/sasl_passwd", "hash:/etc/postfix/sasl_passwd"),
        ("smtp_sasl_password_maps", "$other_maps", "$other_maps"),
        ("sender_canonical_maps", "static:app@example.net", "static:app@example.net"),
        ("smtp_sasl_mechanism_filter", "!external, static:rest", "!external, static:rest"),
        ("relayhost", "[h]:587", "[h]:587"),
    ],
)
def test_a_login_in_main_cf_is_masked(name: str, value: str, shown: str) -> None:
    """A login is masked in every form. Other values are left as they are."""
    assert without_secrets(name, value) == shown


@pytest.mark.parametrize(
    "text",
    [
        f"[h.test]:587 user:{SECRET}\n",
        f"[h.test]:587=user:{SECRET}\n",
        f"[h.test]:587 = user:{SECRET}\n",
        f"user:{SECRET}\n",
        f"user:{SECRET} [h.test]:587\n",
        f"{SECRET}\n",
        f"[h.test]:587\n  user:{SECRET}\n",
        f"  user:{SECRET}\n",
        f'[h.test]:587 "user:{SECRET}" # {SECRET}\n',
        f"[h.test]:587 user {SECRET}\n",
    ],
)
def test_values_of_a_password_table_are_dropped(text: str) -> None:
    """The password is dropped even if it stands in the place of the key."""
    entries = parse_table(text, secret=True, values=False)

    assert entries
    for entry in entries:
        assert SECRET not in f"{entry!r} {entry.key} {entry.value} {entry.faults}"


def test_lines_of_main_cf_and_master_cf_hold_no_login() -> None:
    """The value, its parts and a line without an equals sign are all masked."""
    lines = parse_main_cf(f"a = b\n  static:user:{SECRET}\nsmtp_sasl_password {SECRET}\n# {SECRET}\nb = c\n")
    services = parse_master_cf(
        f"smtp unix - - n - - smtp\n  -o smtp_sasl_password_maps=static:user:{SECRET}\n"
    )

    assert [line.number for line in lines] == [1, 3, 5]
    assert SECRET not in repr(lines) + repr(services)
    assert services[0].key == "smtp/unix"


def test_lines_are_joined_over_comments() -> None:
    """A line that begins with white space continues the previous one, even after a comment."""
    (line, other) = parse_main_cf("a = 1\n# comment\n\n  2\nb = 3")

    assert (line.value, line.parts, other.number) == ("1 2", ((4, "2"),), 5)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("[smtp.relay.test:587", "[smtp.relay.test]:587"),
        ("smtp://smtp.relay.test:587", "[smtp.relay.test]:587"),
        ("smtp:[smtp.relay.test]:587", "[smtp.relay.test]:587"),
        ("[smtp.relay.test:587]", "[smtp.relay.test]:587"),
        ("********@smtp.relay.test", "[smtp.relay.test]"),
        ("smtp.relay.test:587", "[smtp.relay.test]:587"),
    ],
)
def test_a_remedy_names_a_valid_next_hop(text: str, right: str) -> None:
    """Postfix can read the next hop that a remedy proposes."""
    assert corrected(text) == right
    assert parse_next_hop(right) is not None
