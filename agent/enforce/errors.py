"""What can go wrong when the configuration is changed."""


class ApplyError(Exception):
    """The configuration could not be changed, and what was in force still is; the text says why."""


class RefusedError(ApplyError):
    """Postfix, or a relay, judges the new configuration wrong: it would be so again."""


class HalfDoneError(ApplyError):
    """Files are changed, but not all of them, or Postfix did not take them: the next look goes on."""
