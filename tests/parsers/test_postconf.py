"""The output of postconf."""

from postward.parsers import Service, parse_master, parse_parameters, split_list


def test_parameters_are_names_and_values() -> None:
    """Values keep their own equals signs, and may be empty."""
    text = "relayhost = [smtp.relay.example]:587\nempty =\nmaps = inline:{ a = b }\npostconf: warning: unused parameter\n"
    assert parse_parameters(text) == {
        "relayhost": "[smtp.relay.example]:587",
        "empty": "",
        "maps": "inline:{ a = b }",
    }


def test_a_continued_value_is_one_value() -> None:
    """main.cf's own form, too, can be read."""
    assert parse_parameters("mynetworks = 127.0.0.0/8\n    [::1]/128\n") == {
        "mynetworks": "127.0.0.0/8 [::1]/128"
    }


def test_services_and_overrides_of_master() -> None:
    """Postconf -M prints eight fields and -P one setting a line."""
    text = (
        "smtp       inet  n       -       y       -       -       smtpd\n"
        "relay      unix  -       -       y       -       -       smtp -o syslog_name=postfix/$service_name\n"
        "relay/unix/syslog_name = postfix/$service_name\n"
        "submission/inet/smtpd_tls_security_level = encrypt\n"
    )
    master = parse_master(text)
    assert master.services["smtp/inet"] == Service("smtp", "inet", "n", "-", "y", "-", "-", "smtpd")
    assert master.services["relay/unix"].command == "smtp -o syslog_name=postfix/$service_name"
    assert master.overrides == {
        "relay/unix/syslog_name": "postfix/$service_name",
        "submission/inet/smtpd_tls_security_level": "encrypt",
    }


def test_a_list_is_split_at_commas_and_blanks_outside_braces() -> None:
    """Two spellings of one list are equal item by item."""
    assert (
        split_list("noanonymous, noplaintext")
        == split_list("noanonymous\n\tnoplaintext,")
        == ["noanonymous", "noplaintext"]
    )
    assert split_list("check_x inline:{ a=b, {c = d, e} }, permit") == [
        "check_x",
        "inline:{ a=b, {c = d, e} }",
        "permit",
    ]
    assert split_list("") == []
    assert split_list("}a, b") == ["}a", "b"]
