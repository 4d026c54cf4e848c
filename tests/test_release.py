"""The labels of `postward_build_info`."""

import re

from postward.agent.metrics.catalog import BY_NAME
from postward.agent.release import build_labels


def test_the_labels_of_the_build() -> None:
    """Version, revision and release of Python, in the order of the metric; a checkout that was not built has no revision."""
    build = dict(zip(BY_NAME["postward_build_info"].labels, build_labels(), strict=True))
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+.*", build["version"])
    assert re.fullmatch(r"3\.[0-9]+\.[0-9]+.*", build["python"])
    assert build["revision"] == ""
