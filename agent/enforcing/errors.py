"""What can go wrong when the configuration is changed."""


class ApplyError(Exception):
    """The configuration could not be changed; the text says why, and what is in force."""


class RefusedError(ApplyError):
    """Postfix itself judges the new configuration wrong: it would be so again."""
