"""Finding Postfix's processes among those of all users."""

from pathlib import Path

from postward.agent.postfix.process import is_master_running, queue_manager_start

_FIELDS = b"0 " * 17  # the fields of stat between the parent and the start


def process(folder: Path, number: int, name: bytes, parent: int = 1) -> None:
    """Write a process as proc(5) shows it."""
    entry = folder / str(number)
    entry.mkdir()
    (entry / "comm").write_bytes(name + b"\n")
    (entry / "cmdline").write_bytes(b"/usr/lib/postfix/sbin/" + name + b"\0-w\0")
    (entry / "stat").write_bytes(b"%d (%s) S %d %s100 0" % (number, name, parent, _FIELDS))
    (entry / "cwd").symlink_to("/var/spool/postfix")


def test_a_process_name_need_not_be_utf8(tmp_path: Path) -> None:
    """A user can give a program any name, also one that ends in the middle of a UTF-8 character."""
    process(tmp_path, 10, b"\xc3")
    process(tmp_path, 11, b"m) S 12 \xc3")
    process(tmp_path, 12, b"master")
    process(tmp_path, 13, b"qmgr", parent=12)

    assert is_master_running("/var/spool/postfix", tmp_path)
    assert queue_manager_start("/var/spool/postfix", tmp_path) is not None
    assert not is_master_running("/var/spool/other", tmp_path)


def test_processes_are_searched_again_only_after_a_new_one(tmp_path: Path) -> None:
    """While Postfix is down, a look costs one small file; the processes that a start brings are noticed."""
    (tmp_path / "loadavg").write_bytes(b"0.00 0.00 0.00 1/100 12\n")
    assert not is_master_running("/var/spool/postfix", tmp_path)
    process(tmp_path, 13, b"master")
    assert not is_master_running("/var/spool/postfix", tmp_path)
    (tmp_path / "loadavg").write_bytes(b"0.00 0.00 0.00 1/100 14\n")

    assert is_master_running("/var/spool/postfix", tmp_path)
