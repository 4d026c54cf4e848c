"""The pictures of the documents: small, shown somewhere, and of the product as it is."""

import struct
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT, links_of
from tools.screenshots.documents import FOLDER, main

MAX_BYTES = 300_000
MAX_WIDTH = 1200  # pixels
PICTURES = sorted(FOLDER.iterdir())


def width_of(picture: bytes) -> int:
    """Return the width of a PNG in pixels (PNG specification, 11.2.2)."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    return int(struct.unpack(">I", picture[16:20])[0])


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small_and_shown(picture: Path) -> None:
    """It loads quickly, fits a page, and a document shows it."""
    shown = {
        (ROOT / document.parent / target).resolve()
        for document in DOCUMENTS
        for _, target in links_of(document)
        if target.endswith(".png")
    }
    content = picture.read_bytes()
    assert len(content) < MAX_BYTES
    assert width_of(content) <= MAX_WIDTH
    assert picture in shown


def test_the_pictures_can_be_taken_again(tmp_path: Path) -> None:
    """The tool makes each of them, from a running agent and a report."""
    main(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in PICTURES]
    assert all(path.stat().st_size < MAX_BYTES for path in tmp_path.iterdir())
