"""What runs: the version of Postward, the revision of its source, the version of Python; and its documents."""

import platform
from importlib.metadata import version
from importlib.resources import files
from typing import Final

DOCUMENTS: Final = "https://github.com/postward/postward/blob/main/docs"  # the project's copy


def build_labels() -> tuple[str, str, str]:
    """Return the labels of `postward_build_info`. The revision is "" in a checkout that was not built."""
    return version("postward"), revision(), platform.python_version()


def revision() -> str:
    """Return the revision of the source, as the build wrote it; "" if it is unknown."""
    file = files("postward").joinpath("REVISION")
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""
