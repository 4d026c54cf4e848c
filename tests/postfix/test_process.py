"""Finding Postfix's processes among those of all users."""

from pathlib import Path

import pytest

from postward.agent.postfix.process import (
    is_master_running,
    master_cgroup,
    queue_manager_start,
    service_of,
)

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


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        (
            "0::/system.slice/system-postfix.slice/postfix@postfix-out.service\n",
            "postfix@postfix-out.service",
        ),
        ("1:name=systemd:/system.slice/postfix.service\n0::/\n", "postfix.service"),
        ("0::/system.slice/postward-enforce.service\n", ""),
        ("0::/user.slice/user-0.slice/session-3.scope\n", ""),
    ],
)
def test_the_unit_of_an_instance_is_that_of_its_master(tmp_path: Path, cgroup: str, unit: str) -> None:
    """A master that a service of Postfix started is restarted by that service, any other one without systemd."""
    process(tmp_path, 12, b"master")
    (tmp_path / "12" / "cgroup").write_text(cgroup)

    assert service_of(master_cgroup("/var/spool/postfix", tmp_path)) == unit
    assert master_cgroup("/var/spool/postfix-out", tmp_path) == ""


def test_an_unprivileged_user_knows_a_master_by_its_lock(tmp_path: Path) -> None:
    """Where its directory cannot be read, the master of a queue is the process that has locked its master.pid."""
    proc = tmp_path / "proc"
    proc.mkdir()
    process(proc, 12, b"master")
    (proc / "12" / "cwd").unlink()  # readlink(2) fails, as without permission
    queues = tmp_path / "postfix", tmp_path / "postfix-out"
    for queue in queues:
        (queue / "pid").mkdir(parents=True)
        (queue / "pid" / "master.pid").touch()
    inode = (queues[1] / "pid" / "master.pid").stat().st_ino
    (proc / "locks").write_text(f"1: FLOCK  ADVISORY  WRITE 12 fe:00:{inode} 0 EOF\n")

    assert is_master_running(str(queues[1]), proc)
    assert not is_master_running(str(queues[0]), proc)
    assert not is_master_running(str(tmp_path / "absent"), proc)
    (proc / "locks").unlink()  # not visible: a host with one instance has one master
    assert is_master_running(str(queues[0]), proc)
