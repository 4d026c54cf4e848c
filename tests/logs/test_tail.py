"""Growth, rotation, compression and damage of a log: one way to lose or double lines per test.

The files are real; the tests set the clock.
"""

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from postward.agent.logs.lines import MAX_LINE
from postward.agent.logs.segment import HEAD, DamagedError, FilePosition, Segment
from postward.agent.logs.tail import FileSource

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Bed:
    """A folder with a log, and its sources, which the fixture closes."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "mail.log"
        self.now = 0.0
        self.sources: list[FileSource] = []

    def source(self, marks: list[FilePosition] | None = None) -> FileSource:
        """Open a source; None for the first start."""
        source = FileSource(self.log, marks, clock=lambda: self.now)
        self.sources.append(source)
        return source

    def restart(self, source: FileSource) -> FileSource:
        """Stop cleanly and start."""
        marks = source.marks()
        source.close()
        return self.source(None if marks is None else [FilePosition(**mark.as_json()) for mark in marks])

    def named(self, suffix: str) -> Path:
        """Return the path of the log with a suffix."""
        return self.log.with_name(self.log.name + suffix)

    def write(self, text: str, suffix: str = "") -> None:
        """Append to the log, or to a rotated file, as a syslog daemon does."""
        with self.named(suffix).open("a") as file:
            file.write(text)

    def rotate(self) -> None:
        """Rotate like logrotate with `create` and numbers."""
        numbers = sorted(
            (int(path.name.split(".")[2]) for path in self.log.parent.glob("mail.log.[0-9]*")), reverse=True
        )
        for number in numbers:
            for packed in ("", ".gz"):
                if (path := self.named(f".{number}{packed}")).exists():
                    path.rename(self.named(f".{number + 1}{packed}"))
        self.log.rename(self.named(".1"))
        self.log.touch()

    def pack(self, suffix: str = ".1") -> None:
        """Compress a file like gzip."""
        path = self.named(suffix)
        self.named(f"{suffix}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()

    def copytruncate(self) -> None:
        """Rotate like logrotate with `copytruncate`."""
        shutil.copyfile(self.log, self.named(".1"))
        os.truncate(self.log, 0)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    bed = Bed(tmp_path)
    yield bed
    for source in bed.sources:
        source.close()


@contextlib.contextmanager
def not_root() -> Iterator[None]:
    """Drop root for the block, since file modes do not apply to root."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


def drained(source: FileSource) -> str:
    """Read everything that is there."""
    parts = []
    while data := source.read():
        parts.append(data)
    return b"".join(parts).decode()


def read_all(segment: Segment) -> None:
    """Read a file to its end."""
    while segment.read_lines(1000, finished=True):
        pass


def open_files(folder: Path) -> int:
    """Return the number of files in the folder that this process has open."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            count += str(descriptor.readlink()).startswith(str(folder))
    return count


# The first start


def test_lines_before_the_first_start_are_skipped(bed: Bed) -> None:
    """Later lines are read, also those in a file that was rotated before the start."""
    bed.write("old 1\n", ".1")
    bed.write("old 2\n")
    source = bed.source()
    assert drained(source) == ""
    bed.write("late\n", ".1")
    bed.write("new\n")
    source = bed.restart(source)
    assert sorted(drained(source).split()) == ["late", "new"]


def test_an_incomplete_line_at_the_first_start_is_read(bed: Bed) -> None:
    """It is returned whole when it is complete."""
    bed.write("old\nhalf a ")
    source = bed.source()
    assert drained(source) == ""
    bed.write("line\n")
    assert drained(source) == "half a line\n"


def test_a_long_unfinished_line_at_the_first_start(bed: Bed) -> None:
    """Its beginning is found 200 kB before the end."""
    long = "x" * 200_000
    bed.write(f"old\n{long}")
    source = bed.source()
    assert drained(source) == ""
    bed.write("\n")
    assert drained(source) == f"{long}\n"


def test_a_log_that_appears_later_is_read_from_its_beginning(bed: Bed) -> None:
    """An absent log is a problem until the log appears."""
    source = bed.source()
    assert drained(source) == ""
    assert source.problem == f"{bed.log}: No such file or directory"
    bed.write("first\n")
    assert drained(source) == "first\n"
    assert source.problem is None


def test_an_absent_folder_is_an_absent_log(tmp_path: Path) -> None:
    """The folder can be created later too."""
    source = FileSource(tmp_path / "later" / "mail.log")
    assert source.read() == b""
    assert source.problem is not None
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "mail.log").write_text("first\n")
    assert drained(source) == "first\n"
    source.close()


def test_a_log_that_appears_and_is_rotated_between_two_polls(bed: Bed) -> None:
    """All lines of a log that did not exist at the first poll are read, also those in its compressed file."""
    source = bed.source()
    drained(source)
    source = bed.restart(source)
    bed.write("1\n")
    bed.rotate()
    bed.write("2\n")
    bed.pack()
    assert drained(source) == "1\n2\n"


def test_a_log_that_is_unreadable_at_the_first_start(bed: Bed) -> None:
    """Lines written while it is unreadable are read later; lines before the first poll are not."""
    bed.log.parent.chmod(0o755)
    for folder in bed.log.parent.parents:
        if folder.stat().st_mode & 0o001 == 0 and os.geteuid() == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    bed.write("old\n")
    bed.log.chmod(0o000)
    source = bed.source()
    with not_root():
        assert drained(source) == ""
        assert source.problem == f"{bed.log}: Permission denied"
        source = bed.restart(source)
        assert drained(source) == ""
    bed.log.chmod(0o644)
    bed.write("new\n")
    with not_root():
        assert drained(source) == "new\n"
        assert source.problem is None


def test_a_log_that_becomes_unreadable_by_rotation(bed: Bed) -> None:
    """The old file is read meanwhile, and the new one once it is readable."""
    for folder in (bed.log.parent, *bed.log.parent.parents):
        if folder.stat().st_mode & 0o005 != 0o005 and os.geteuid() == 0:
            folder.chmod(folder.stat().st_mode | 0o055)
    bed.write("")
    source = bed.source()
    bed.write("1\n")
    with not_root():
        assert drained(source) == ""
    bed.write("2\n")
    with not_root():
        assert drained(source) == "2\n"
    bed.rotate()
    bed.log.chmod(0o000)
    bed.write("3\n", ".1")
    bed.write("4\n")
    with not_root():
        assert drained(source) == "3\n"
        assert source.problem == f"{bed.log}: Permission denied"
    bed.write("late\n", ".1")
    with not_root():
        assert source.read() == b"late\n"
        assert source.problem == f"{bed.log}: Permission denied"
    bed.log.chmod(0o644)
    with not_root():
        assert drained(source) == "4\n"
        assert source.problem is None


def test_a_source_is_behind_until_all_has_been_returned(bed: Bed) -> None:
    """With a problem, it is behind for 10 seconds at most."""
    bed.write("1\n")
    source = bed.source([])
    assert source.read() == b"1\n"
    assert source.behind
    assert source.read() == b""
    assert not source.behind
    marks = source.marks()
    bed.log.unlink()
    source = bed.source(marks)
    source.read()
    assert source.behind
    bed.now += 11
    assert not source.behind


# Lines


def test_only_whole_lines_are_returned(bed: Bed) -> None:
    """An incomplete last line is returned once it is complete."""
    source = bed.source([])
    bed.write("1\n2")
    assert drained(source) == "1\n"
    bed.write("2\n")
    assert drained(source) == "22\n"


def test_a_line_longer_than_a_batch(bed: Bed) -> None:
    """It is returned whole."""
    source = bed.source([])
    bed.write("a\n" + "x" * 5000 + "\nb\n")
    assert source.read(100) + source.read(100) + source.read(100) == f"a\n{'x' * 5000}\nb\n".encode()


def test_bytes_without_line_ends_cost_bounded_memory(bed: Bed) -> None:
    """A line longer than a megabyte is returned in pieces."""
    source = bed.source([])
    bed.write("x" * (MAX_LINE + 5) + "\n")
    assert len(source.read()) == MAX_LINE
    assert source.read() == b"xxxxx\n"


def test_a_hole_is_skipped(bed: Bed) -> None:
    """A writer without O_APPEND goes on at its old offset after a truncation and leaves NULs before it."""
    source = bed.source([])
    bed.write("1\n" * 3000)
    drained(source)
    bed.copytruncate()
    with bed.log.open("r+b") as file:
        file.seek(400_000)
        file.write(b"2\n")
    assert drained(source) == "2\n"


# Rotation by rename


def test_late_lines_of_a_renamed_file(bed: Bed) -> None:
    """A writer that does not reopen the log goes on in the old file: both are read."""
    source = bed.source([])
    bed.write("1\n")
    assert drained(source) == "1\n"
    bed.rotate()
    bed.write("3\n")
    bed.write("2\n", ".1")
    assert drained(source) == "2\n3\n"
    bed.now = 100_000
    bed.write("4\n", ".1")
    assert drained(source) == "4\n"


def test_rotation_of_a_log_that_was_never_read(bed: Bed) -> None:
    """The rotated file is read from its beginning."""
    bed.write("")
    source = bed.source()
    drained(source)
    bed.write("1\n")
    bed.rotate()
    bed.write("2\n")
    assert drained(source) == "1\n2\n"


@pytest.mark.parametrize("packed", [False, True])
def test_several_rotations_between_two_polls(bed: Bed, packed: bool) -> None:
    """All files are read in order, also those that no poll saw as the log."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    for number in range(2, 6):
        bed.write(f"{number}\n")
        bed.rotate()
        if packed:
            bed.pack()
    bed.write("6\n")
    assert drained(source) == "2\n3\n4\n5\n6\n"
    assert source.losses == 0


def test_the_log_is_absent_for_a_while_without_create(bed: Bed) -> None:
    """The renamed file is read meanwhile."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.log.rename(bed.named(".1"))
    bed.write("2\n", ".1")
    assert drained(source) == "2\n"
    bed.write("3\n")
    assert drained(source) == "3\n"
    assert source.problem is None


def test_names_with_dates(bed: Bed) -> None:
    """With dateext the date gives the order, not the last change."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.write("2\n")
    bed.log.rename(bed.named("-20240102"))
    bed.write("3\n")
    bed.log.rename(bed.named("-20240103"))
    bed.write("4\n")
    os.utime(bed.named("-20240102"))
    assert drained(source) == "2\n3\n4\n"


def test_a_late_line_does_not_make_a_file_newer(bed: Bed) -> None:
    """The numbers give the order, although the older of two files changed last."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.rotate()
    bed.write("3\n")
    bed.rotate()
    bed.write("2\n", ".2")
    os.utime(bed.named(".1"), (1, 1))
    bed.write("4\n")
    assert drained(source) == "2\n3\n4\n"


def test_idle_files_are_closed(bed: Bed) -> None:
    """A deleted file is closed after a minute, a rotated one after an hour; the newest stays open while it has a name."""
    source = bed.source([])
    for number in range(4):
        bed.write(f"{number}\n")
        drained(source)
        bed.rotate()
        drained(source)
    assert open_files(bed.log.parent) == 5
    bed.now += 4000
    drained(source)
    assert open_files(bed.log.parent) == 2
    bed.named(".1").unlink()
    bed.now += 61
    drained(source)
    assert open_files(bed.log.parent) == 1


def test_a_closed_file_that_grows(bed: Bed) -> None:
    """Its late lines are read at the next start, once."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.rotate()
    drained(source)
    bed.rotate()
    drained(source)
    bed.now += 4000
    drained(source)
    bed.write("2\n", ".2")
    source = bed.restart(source)
    assert drained(source) == "2\n"
    assert drained(bed.restart(source)) == ""


def test_an_incomplete_last_line_of_a_compressed_file(bed: Bed) -> None:
    """It is returned as a line, since the file does not grow any more."""
    source = bed.source([])
    bed.write("1\n2")
    drained(source)
    bed.rotate()
    bed.pack()
    source = bed.restart(source)
    assert drained(source) == "2\n"


# Rotation by copy


def test_copytruncate(bed: Bed) -> None:
    """Lines that were unread before the truncation are read in the copy."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.write("2\n")
    bed.copytruncate()
    bed.write("3\n")
    assert drained(source) == "2\n3\n"
    assert source.losses == 0


def test_copytruncate_of_a_log_that_was_never_read(bed: Bed) -> None:
    """The truncation shows only in the copy, not in the log."""
    bed.write("")
    source = bed.source()
    drained(source)
    bed.write("1\n")
    bed.copytruncate()
    bed.write("2\n")
    assert drained(source) == "1\n2\n"


def test_a_copy_that_is_not_followed_by_a_truncation_yet(bed: Bed) -> None:
    """The copy is not read, neither before a restart nor after it."""
    source = bed.source([])
    bed.write("1\n2\n")
    drained(source)
    shutil.copyfile(bed.log, bed.named(".1"))
    bed.write("3\n")
    assert drained(source) == "3\n"
    source = bed.restart(source)
    bed.write("4\n")
    assert drained(source) == "4\n"
    os.truncate(bed.log, 0)
    bed.write("5\n")
    assert drained(source) == "5\n"


def test_a_copy_that_has_only_begun(bed: Bed) -> None:
    """An empty or incomplete copy of an unread log is not taken for a new file."""
    bed.write("")
    source = bed.source()
    drained(source)
    bed.named(".1").touch()
    assert drained(source) == ""
    bed.write("1\n")
    bed.named(".1").write_text("1")
    assert drained(source) == "1\n"
    bed.named(".1").write_text("1\n")
    bed.write("2\n")
    assert drained(source) == "2\n"
    os.truncate(bed.log, 0)
    bed.write("3\n")
    assert drained(source) == "3\n"


def test_two_truncations_between_two_polls(bed: Bed) -> None:
    """Both copies are read."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.write("2\n")
    bed.copytruncate()
    bed.named(".1").rename(bed.named(".2"))
    bed.write("3\n")
    bed.copytruncate()
    bed.write("4\n")
    assert drained(source) == "2\n3\n4\n"


def read_past_a_fragment(bed: Bed) -> FileSource:
    """Return a source that has joined a line; the copy holds only its beginning, a part of the timestamp."""
    source = bed.source([])
    bed.write("")
    drained(source)
    bed.write("2024-06-0")
    drained(source)
    bed.copytruncate()
    bed.write("1 one\n")
    assert drained(source) == "2024-06-01 one\n"
    return source


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
def test_the_beginning_of_a_line_is_not_read_again(bed: Bed, restarted: bool, packed: bool) -> None:
    """A copy that holds only the beginning of a line is recognised after the line was joined, also compressed."""
    source = read_past_a_fragment(bed)
    if packed:
        bed.pack()
    source = bed.restart(source) if restarted else source
    bed.write("2024-06-02 two\n")
    assert drained(source) == "2024-06-02 two\n"
    assert source.losses == 0


@pytest.mark.parametrize("restarted", [False, True])
def test_a_line_cut_in_two_by_copytruncate(bed: Bed, restarted: bool) -> None:
    """Its first part at the end of the copy and its second part at the beginning of the log are joined."""
    source = bed.source([])
    bed.write("1\n<one ")
    drained(source)
    bed.copytruncate()
    drained(source)
    if restarted:
        source = bed.restart(source)
    bed.write("line>\n2\n")
    assert drained(source) == "<one line>\n2\n"
    assert drained(bed.restart(source)) == ""


def test_the_beginning_of_a_line_does_not_identify_a_file(bed: Bed) -> None:
    """A later file that begins with the same part of a timestamp is new and is read."""
    source = read_past_a_fragment(bed)
    bed.log.unlink()
    bed.named(".1").rename(bed.named(".2"))
    bed.write("2024-06-02 two\n", ".1")
    assert drained(bed.restart(source)) == "2024-06-02 two\n"


def test_truncation_without_a_copy_is_a_loss(bed: Bed) -> None:
    """It counts as one loss, and later lines are read."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.write("2\n")
    os.truncate(bed.log, 0)
    bed.write("3\n")
    assert drained(source) == "3\n"
    assert source.losses == 1


@pytest.mark.parametrize("copies", [1, 2])
def test_a_log_that_is_truncated_and_renamed_during_one_poll(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, copies: int
) -> None:
    """Both happen between the check for a truncation and the check for a rename."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    is_at = Segment.is_at

    def rotate_first(segment: Segment, path: Path) -> bool:
        monkeypatch.undo()
        for number in range(copies):
            bed.write(f"2{number}\n")
            if number:
                bed.named(".1").rename(bed.named(".2"))
            bed.copytruncate()
        bed.rotate()
        bed.write("3\n", ".1")
        bed.write("4\n")
        return is_at(segment, path)

    monkeypatch.setattr(Segment, "is_at", rotate_first)
    assert drained(source).split() == [*["20", "21"][:copies], "3", "4"]
    assert source.losses == 0


def test_a_truncated_log_that_grows_beyond_its_old_size(bed: Bed) -> None:
    """The truncation is recognised by the first bytes, not by the size."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.copytruncate()
    bed.write("2\n3\n4\n")
    assert drained(source) == "2\n3\n4\n"


def test_a_truncation_while_the_log_is_read(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes at the old offset of a rewritten log are not returned."""
    source = bed.source([])
    bed.write("1 aaaaaaaaaa\n")
    drained(source)
    bed.write("2\n")
    read_at = Segment.read_at

    def truncate_first(segment: Segment, offset: int, size: int) -> bytes:
        if offset:
            monkeypatch.undo()
            bed.copytruncate()
            bed.write("3 bbbbbbbbbbbbb\n4\n")
        return read_at(segment, offset, size)

    monkeypatch.setattr(Segment, "read_at", truncate_first)
    assert drained(source) == "2\n3 bbbbbbbbbbbbb\n4\n"


# Compression


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd.compress)],
)
def test_rotated_and_compressed_while_down(bed: Bed, suffix: str, pack: object) -> None:
    """The compressed file is read from the offset reached in the plain file."""
    assert callable(pack)
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.write("2\n")
    bed.rotate()
    bed.named(f".1{suffix}").write_bytes(pack(bed.named(".1").read_bytes()))
    bed.named(".1").unlink()
    bed.write("3\n")
    source = bed.restart(source)
    assert drained(source) == "2\n3\n"
    assert source.losses == 0


def test_compression_in_progress(bed: Bed) -> None:
    """A compressed file beside its plain file is ignored."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.write("2\n")
    bed.rotate()
    bed.write("3\n")
    bed.named(".1.gz").write_bytes(gzip.compress(bed.named(".1").read_bytes())[:15])
    source = bed.restart(source)
    assert drained(source) == "2\n3\n"


def test_a_file_that_is_compressed_while_it_is_read(bed: Bed) -> None:
    """The deleted plain file is read to its end, and the compressed file is not read."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.rotate()
    bed.write("2\n", ".1")
    bed.pack()
    bed.write("3\n")
    assert drained(source) == "2\n3\n"
    bed.rotate()
    bed.write("4\n")
    assert drained(source) == "4\n"


def test_a_damaged_compressed_file(bed: Bed) -> None:
    """The lines before the damage are read, the rest counts as one loss, and reading goes on in the log."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    lines = "".join(f"{number} {os.urandom(20).hex()}\n" for number in range(5000))
    bed.write(lines)
    bed.rotate()
    bed.pack()
    whole = bed.named(".1.gz").read_bytes()
    bed.named(".1.gz").write_bytes(whole[: len(whole) // 2])
    bed.write("last\n")
    source = bed.restart(source)
    text = drained(source)
    assert text.endswith("last\n")
    assert lines.startswith(text.removesuffix("last\n")[: len(lines) // 4])
    drained(source)
    assert source.losses == 1


def test_a_damaged_file_raises_one_kind_of_error(tmp_path: Path) -> None:
    """Every compression raises `DamagedError` after the lines before the damage."""
    for suffix, pack in (
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", zstd.compress),
    ):
        path = tmp_path / f"log{suffix}"
        path.write_bytes(pack(b"line\n" * 1000)[:-9])
        segment = Segment(path)
        with pytest.raises(DamagedError, match="is truncated or damaged"):
            read_all(segment)
        segment.close()


def test_many_compressed_files_at_a_start(bed: Bed) -> None:
    """After a long stop, all files are read in order and closed."""
    source = bed.source([])
    bed.write("0\n")
    drained(source)
    for number in range(1, 40):
        bed.write(f"{number}\n")
        bed.rotate()
        bed.pack()
    source = bed.restart(source)
    assert drained(source).split() == [str(number) for number in range(1, 40)]
    drained(source)
    assert open_files(bed.log.parent) == 1
    assert len(source.marks() or []) <= 17


# Other changes and faults


def test_a_log_that_is_deleted_and_created_again(bed: Bed) -> None:
    """The rest of the deleted file and the new file are read; older files are not."""
    bed.write("old\n", ".1")
    bed.write("")
    source = bed.source()
    drained(source)
    bed.write("1\n")
    drained(source)
    with bed.log.open("a") as writer:
        bed.log.unlink()
        writer.write("2\n")
    bed.write("3\n")
    assert drained(source) == "2\n3\n"


def test_an_inode_that_is_reused(bed: Bed) -> None:
    """A mark with the device and inode of another file does not match it."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    [mark] = source.marks() or []
    bed.log.write_text("other 1\nother 2\n")
    status = bed.log.stat()
    marks = [FilePosition(status.st_dev, status.st_ino, mark.head_length, mark.head, mark.offset)]
    source = bed.source(marks)
    assert drained(source) == "other 1\nother 2\n"
    assert source.losses == 1


def marks_with_a_reused_inode(bed: Bed, log: str, copy: str) -> list[FilePosition]:
    """Read a log and the next one, whose text is `log`, compress the first and copy the second.

    Return the marks as if the copy had the inode of the first.
    """
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.rotate()
    bed.write(log)
    drained(source)
    marks = source.marks() or []
    bed.pack()
    shutil.copyfile(bed.log, bed.named(copy))
    status = bed.named(copy).stat()
    return [replace(marks[0], device=status.st_dev, inode=status.st_ino), *marks[1:]]


def test_an_inode_that_is_reused_by_a_copy(bed: Bed) -> None:
    """A copy of the log is recognised although it has the inode of a former log, which was compressed."""
    marks = marks_with_a_reused_inode(bed, "2\n", ".old")
    bed.write("3\n")

    assert drained(bed.source(marks)) == "3\n"


def test_a_line_cut_by_copytruncate_is_joined_where_the_copy_reuses_an_inode(bed: Bed) -> None:
    """The copy is not taken for a log, although it has the inode of a former one, which was compressed."""
    marks = marks_with_a_reused_inode(bed, "2\nbeginning, ", ".1")
    os.truncate(bed.log, 0)
    bed.write("end\n3\n")

    assert drained(bed.source(marks)) == "beginning, end\n3\n"


def test_a_file_that_vanished_before_its_end_was_read(bed: Bed) -> None:
    """It counts as one loss, and the log is read from its beginning."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.log.unlink()
    bed.write("2\n")
    source = bed.restart(source)
    assert drained(source) == "2\n"
    assert source.losses == 1


def test_a_manual_copy_is_not_read(bed: Bed) -> None:
    """It is recognised under every name of a rotated file, before and after a rotation, and across restarts."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    for suffix in (".0", ".9", ".old", "-20240101"):
        shutil.copyfile(bed.log, bed.named(suffix))
    bed.write("2\n")
    bed.log.rename(bed.named(".1"))
    bed.write("3\n")
    source = bed.restart(source)
    assert drained(source) == "2\n3\n"
    assert drained(bed.restart(source)) == ""


def test_a_log_that_is_moved_and_replaced_by_a_link(bed: Bed, tmp_path: Path) -> None:
    """Reading goes on in the copy, at the same offset."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.write("2\n")
    (tmp_path / "big").mkdir()
    shutil.copyfile(bed.log, tmp_path / "big" / "log")
    bed.log.unlink()
    bed.log.symlink_to(tmp_path / "big" / "log")
    bed.write("3\n")
    assert drained(source) == "2\n3\n"
    bed.write("4\n")
    assert drained(bed.restart(source)) == "4\n"


@pytest.mark.parametrize("kind", ["folder", "fifo", "loop"])
def test_a_log_that_is_not_a_regular_file(bed: Bed, kind: str) -> None:
    """It is a problem until a file replaces it; reading neither raises an error nor blocks."""
    source = bed.source([])
    if kind == "folder":
        bed.log.mkdir()
    elif kind == "fifo":
        os.mkfifo(bed.log)
    else:
        bed.log.symlink_to(bed.log)
    assert source.read() == b""
    assert source.problem in {
        f"{bed.log}: is not a regular file",
        f"{bed.log}: Too many levels of symbolic links",
    }
    (bed.log.rmdir if kind == "folder" else bed.log.unlink)()
    bed.write("1\n")
    assert drained(source) == "1\n"
    assert source.problem is None
    assert open_files(bed.log.parent) == 1


def test_a_log_that_lost_its_end(bed: Bed) -> None:
    """After a power cut the position can lie beyond the end: it counts as one loss, and no line is read twice."""
    source = bed.source([])
    bed.write("1\n2\n3\n")
    drained(source)
    marks = source.marks()
    os.truncate(bed.log, 5)
    source = bed.source(marks)
    assert drained(source) == ""
    assert source.losses == 1
    os.truncate(bed.log, 4)
    bed.write("4\n")
    assert drained(source) == "4\n"


def test_the_log_is_on_disk_before_its_position_is(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sync` flushes the open files, also if they are closed before the flush, and leaves no descriptor open."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    keep = source.sync()
    source.close()
    keep()
    assert flushed == [bed.log.stat().st_ino]
    assert open_files(bed.log.parent) == 0


def test_a_rename_between_the_listing_and_the_opening(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The survey notices that the name belongs to another file, and starts again."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    bed.write("2\n")
    bed.rotate()
    bed.write("3\n")

    open_segment = Segment.__init__

    def rotate_first(segment: Segment, path: Path) -> None:
        monkeypatch.undo()
        bed.rotate()
        bed.write("4\n")
        open_segment(segment, path)

    monkeypatch.setattr(Segment, "__init__", rotate_first)
    assert drained(source) == "2\n3\n4\n"


def test_a_failed_survey_leaves_no_descriptor(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that it opened before the failure are closed."""
    source = bed.source([])
    bed.write("1\n")
    drained(source)
    for number in range(2, 5):
        bed.write(f"{number}\n")
        bed.rotate()
    opened = open_files(bed.log.parent)

    def fail(*_: object) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Segment, "starts_like", fail)
    assert source.read() == b"2\n"
    assert source.read() == b""
    assert source.problem == f"{bed.log}: Input/output error"
    assert open_files(bed.log.parent) == opened
    monkeypatch.undo()
    assert drained(source) == "3\n4\n"


def test_a_stop_before_the_first_successful_poll(bed: Bed) -> None:
    """The next start skips existing lines, like a first start."""
    bed.log.symlink_to(bed.log)  # a loop: the file cannot be examined
    source = bed.source()
    assert source.read() == b""
    assert source.marks() is None
    bed.log.unlink()
    bed.write("old\n")
    assert drained(bed.restart(source)) == ""


def test_a_mark_matches_a_compressed_file(tmp_path: Path) -> None:
    """It matches by the first kilobyte of the unpacked data."""
    data = b"".join(b"line %d\n" % number for number in range(1000))
    plain, packed = tmp_path / "log", tmp_path / "log.1.gz"
    plain.write_bytes(data)
    packed.write_bytes(gzip.compress(data))
    one, other = Segment(plain), Segment(packed)
    one.go_to(5000)
    mark = one.mark()
    assert mark.head_length == HEAD
    assert other.is_continued_by(mark)
    other.continue_from(mark)
    assert other.read_lines(1 << 20) == data[5000:]
    one.close()
    other.close()


def test_a_long_hole_gives_way_to_other_tasks(tmp_path: Path) -> None:
    """A read skips a bounded number of NULs, and says that there is more; the line behind them is read once."""
    log = tmp_path / "mail.log"
    log.write_bytes(b"first\n")
    source = FileSource(log, [])
    assert source.read() == b"first\n"
    with log.open("ab") as file:
        file.write(bytes(1 << 24) + b"second\n")
        file.truncate(1 << 40)
        file.seek(0, 2)
        file.write(b"third\n")

    reads = [(source.read(4096), source.skipping) for _ in range(10)]

    assert reads[:8] == [(b"", True)] * 8
    assert reads[8:] == [(b"second\n", False), (b"third\n", False)]
    assert source.read() == b""
    source.close()
