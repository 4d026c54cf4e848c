"""The parameters of main.cf in between, so that no mail meets a relay without its login or TLS."""

import pytest

from postward.config.bridge import bridge

RELAY = {
    "smtp_sasl_auth_enable": "yes",
    "smtp_sasl_password_maps": "hash:/a",
    "smtp_sasl_security_options": "noanonymous",
    "smtp_sasl_tls_security_options": "noanonymous",
    "smtp_tls_security_level": "encrypt",
    "smtp_tls_policy_maps": "",
    "smtp_tls_wrappermode": "no",
}
NO_LOGIN = {
    **RELAY,
    "smtp_sasl_auth_enable": "no",
    "smtp_sasl_password_maps": "",
    "smtp_sasl_tls_security_options": "noplaintext, noanonymous",
    "smtp_tls_security_level": "",
}


def test_a_login_that_ends_is_kept_until_the_reload() -> None:
    """With the encryption without which the relay offers no AUTH, and the options without which it is not used."""
    assert bridge(RELAY, NO_LOGIN) == {
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": "hash:/a",
        "smtp_sasl_tls_security_options": "noanonymous",
        "smtp_tls_security_level": "encrypt",
    }


@pytest.mark.parametrize(
    ("former", "new", "expected"),
    [
        (NO_LOGIN, RELAY, {}),
        (RELAY, RELAY | {"smtp_sasl_password_maps": "hash:/b, hash:/a"}, {}),
        (RELAY, RELAY | {"smtp_tls_security_level": "secure", "smtp_tls_wrappermode": "yes"}, {}),
        (
            RELAY,
            RELAY | {"smtp_sasl_password_maps": "hash:/b"},
            {"smtp_sasl_password_maps": "hash:/a, hash:/b"},
        ),
        (NO_LOGIN | {"smtp_tls_security_level": "encrypt"}, NO_LOGIN, {"smtp_tls_security_level": "encrypt"}),
        (NO_LOGIN | {"smtp_tls_security_level": "encrypt"}, RELAY, {}),
        (
            NO_LOGIN | {"smtp_tls_chain_files": "/key,/certificate"},
            NO_LOGIN,
            {"smtp_tls_chain_files": "/key,/certificate"},
        ),
        (NO_LOGIN | {"smtp_tls_chain_files": "/k1,/c1"}, NO_LOGIN | {"smtp_tls_chain_files": "/k2,/c2"}, {}),
        (
            RELAY | {"smtp_tls_policy_maps": "hash:/p", "smtp_tls_wrappermode": "yes"},
            RELAY,
            {"smtp_tls_policy_maps": "hash:/p", "smtp_tls_wrappermode": "yes"},
        ),
    ],
)
def test_a_bridge_holds_only_logins_and_levels_that_end(
    former: dict[str, str], new: dict[str, str], expected: dict[str, str]
) -> None:
    """None for logins and levels that begin; tables that are dropped stay beside the new ones."""
    assert bridge(former, new) == expected
