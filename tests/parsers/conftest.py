"""Property tests without a deadline: how long an example takes says nothing on a busy machine."""

from hypothesis import settings

settings.register_profile("parsers", deadline=None)
settings.load_profile("parsers")
