"""The way of root's mail through alias files (aliases(5))."""

from postward.config.lint.local_mail import aliases_from


def test_aliases_are_followed_from_root() -> None:
    """The first file with a name decides; other names are left out, and names are compared in lowercase."""
    files = {"a": "# local\nroot: Admin\nbin: root\n", "b": "root: alice\nadmin:\n  ops@example.com\n"}

    assert aliases_from("root", files) == {"root": "Admin", "admin": "ops@example.com"}
    assert aliases_from("root", {"a": "postmaster: root\n"}) == {}


def test_a_loop_ends() -> None:
    """Each name counts once."""
    assert aliases_from("root", {"a": "root: admin\nadmin: root\n"}) == {"root": "admin", "admin": "root"}


def test_a_command_is_not_shown() -> None:
    """It can hold a secret, as can a list of addresses."""
    assert aliases_from("root", {"a": 'root: "|/usr/bin/notify --key s3cret"\n'}) == {"root": "…"}
