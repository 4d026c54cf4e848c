"""The manual page of the package."""

import click

from postward.agent.cli import COMMANDS, main
from postward.agent.commands.manual import manual


def test_every_command_and_option_is_in_the_manual() -> None:
    """With the text of --help, and hyphens that can be copied."""
    page = manual("2026-11-29")
    context = click.Context(main, info_name="postward")
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        assert rf".SS \fBpostward {name}\fR" in page
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[-1].replace("-", r"\-") in page


def test_no_line_of_text_is_a_roff_request() -> None:
    """Only roff requests begin with a dot or an apostrophe."""
    known = (".TH ", ".SH ", ".SS ", ".TP", ".PP", ".B ", ".BR ")
    unknown = [
        line
        for line in manual("2026-11-29").splitlines()
        if line[:1] in {".", "'"} and not line.startswith(known)
    ]
    assert unknown == []
