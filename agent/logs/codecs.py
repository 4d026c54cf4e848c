"""The compression formats of log files, for the agent and the commands.

Each row names the file suffix, the first bytes and the Python module that unpacks. A module is imported when a file
needs it.

How it fails: OSError if the module is not installed; `is_damage` recognises the errors of damaged data.
"""

import errno
import importlib
import sys
import zlib
from collections.abc import Callable
from typing import IO, Any, Final, NamedTuple

_ZSTD: Final = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


class Codec(NamedTuple):
    """A compression format."""

    suffix: str
    magic: bytes
    module: str

    def open(self, file: IO[bytes]) -> Any:
        """Open a stream of the unpacked bytes.

        Raises:
            OSError: the Python package is not installed.
        """
        opener: Callable[[IO[bytes]], Any] = _load(self.module).open
        return opener(file)


CODECS: Final = (
    Codec(".gz", b"\x1f\x8b", "gzip"),
    Codec(".xz", b"\xfd7zXZ\x00", "lzma"),
    Codec(".bz2", b"BZh", "bz2"),
    Codec(".zst", b"\x28\xb5\x2f\xfd", _ZSTD),
)
BY_SUFFIX: Final = {codec.suffix: codec for codec in CODECS}


def by_first_bytes(start: bytes) -> Codec | None:
    """Return the codec of a file that begins with these bytes; None if the file is plain."""
    return next((codec for codec in CODECS if start.startswith(codec.magic)), None)


def is_damage(error: Exception) -> bool:
    """Return True if unpackers raise this error for truncated or damaged data."""
    # LZMAError and ZstdError are defined in modules that may not be loaded.
    return isinstance(error, EOFError | zlib.error) or type(error).__name__ in {"LZMAError", "ZstdError"}


def _load(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OSError(
            errno.ENOTSUP,
            f"is compressed with zstd, which needs the Python package {_ZSTD}; install it, or unpack the file with `zstd -d`"
            if module == _ZSTD
            else f"Python was built without {module}",
        ) from error
