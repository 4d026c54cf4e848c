"""`make image`: build the image of the package in dist/, save it there, and print its size."""

import sys
import zlib
from pathlib import Path

from tools.container.image import ROOT, build, save, size


def main() -> None:
    """Build, save and measure."""
    build()
    archive = save(ROOT / "dist")
    sys.stdout.write(
        f"{archive}: {size() / 1e6:.0f} MB, {compressed(archive) / 1e6:.0f} MB as a registry sends it (gzip)\n"
    )


def compressed(path: Path) -> int:
    """Return the size that gzip gives a file, in bytes."""
    compressor = zlib.compressobj(wbits=31)
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(1 << 20), b"")
        return sum(len(compressor.compress(block)) for block in blocks) + len(compressor.flush())


if __name__ == "__main__":
    main()
