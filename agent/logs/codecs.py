"""The compressed forms that a log file can have, for the living agent and the commands alike.

Each row names the file suffix, the first bytes and the Python module that unpacks. A module is imported when a
file needs it. How it fails: OSError where the module is not installed; `is_damage` names the errors of bad data.
"""

import errno
import importlib
import sys
import zlib
from collections.abc import Callable
from typing import IO, Any, Final, NamedTuple

_ZSTD: Final = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


class Codec(NamedTuple):
    """A row of the table."""

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
    """The codec of a file that begins with these bytes; None if the file is plain."""
    return next((codec for codec in CODECS if start.startswith(codec.magic)), None)


def is_damage(error: Exception) -> bool:
    """True if an unpacker raises this for data that are cut short or broken."""
    # LZMAError and ZstdError are defined in modules that may not be loaded.
    return isinstance(error, EOFError | zlib.error) or type(error).__name__ in {"LZMAError", "ZstdError"}


def _load(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OSError(
            errno.ENOTSUP,
            f"it is compressed with zstd, which needs the Python package {_ZSTD}; or unpack it with `zstd -d`"
            if module == _ZSTD
            else f"Python was built without {module}",
        ) from error
