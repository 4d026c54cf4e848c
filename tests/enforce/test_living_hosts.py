"""Every living host keeps all its routes through apply, repair and rollback, and gets its files back."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from postward.agent.commands.apply import put_into_force
from postward.agent.commands.rollback import command as rollback
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.state import ApplyError
from postward.agent.postfix.commands import Postfix
from postward.config.consequences import Effect
from postward.config.plan import Plan
from tests.enforce.living.hops import Filter
from tests.enforce.living.host import File, Host
from tests.enforce.living.layouts import HOSTS
from tests.support import Fault

_PHASES = ("before", "applied", "repaired", "rolled back")


@pytest.mark.parametrize("name", HOSTS)
def test_apply_repair_and_rollback_harm_nothing(name: str, tmp_path: Path) -> None:
    """Mail takes each route before, after apply, after the repair of a hand-edit, and after a rollback."""
    with Host(name, tmp_path) as host:
        enforcer = Enforcer(host.settings, Postfix(host.postfix.config_directory))
        before, meant, master = host.files(), host.meanings(), host.postfix.master_pid()
        sent = [host.send_all(managed=False)]

        planned, _ = enforcer.look()
        put_into_force(host.settings, enforcer, verify=True)
        applied = host.files()
        assert not enforcer.pending_confirmation
        idle, more = no_ops(planned, meant, host.meanings()), unasked(planned, before, applied)
        assert (idle, more) == ([], [])
        assert not enforcer.look()[0]
        sent.append(host.send_all(managed=True))

        host.edit(before["main.cf"])
        assert enforcer.look()[0]
        enforcer.converge()
        assert by_line(host.files()) == by_line(applied)
        sent.append(host.send_all(managed=True))

        if planned:  # where the host did as the settings say already, there is nothing to restore
            done = CliRunner().invoke(rollback, ["--config", str(host.settings_file)])
            assert done.exit_code == 0, done.output
        assert host.files() == before
        assert host.postfix.master_pid() == master
        sent.append(host.send_all(managed=False))
    print(f"{row(name, sent, planned)}   no-ops {len(idle)}  unasked {len(more)}")  # noqa: T201


def row(name: str, sent: list[int], planned: Plan) -> str:
    """Return a host's figures: routes in the four phases, and planned changes by file."""
    routes = " ".join(f"{phase} {number}" for phase, number in zip(_PHASES, sent, strict=True))
    services = len(planned.services) + len(planned.stale_services)
    files = f"main.cf {len(planned.parameters)}  master.cf {services}  tables {len(planned.tables)}"
    return f"\n{name:<22} {routes}   {files}"


@pytest.mark.parametrize("swallows", [True, False], ids=["the filter keeps mail", "the relay refuses mail"])
def test_a_failed_first_apply_harms_nothing(swallows: bool, tmp_path: Path) -> None:
    """The hop that stopped the probe is blamed, and the host is as it was, byte for byte, unasked. Mail flows again."""
    with Host("amavis", tmp_path, probe_timeout=2) as host:
        before = host.files()
        content_filter, relay = host.hops["amavis"], host.hops["relay"]
        assert isinstance(content_filter, Filter)
        content_filter.swallows = swallows
        relay.fault = Fault(step="end_of_data", reply="554 5.7.1 Not from you")
        enforcer = Enforcer(host.settings, Postfix(host.postfix.config_directory))
        with pytest.raises(ApplyError) as refusal:
            put_into_force(host.settings, enforcer, verify=True)
        said = str(refusal.value)
        assert host.files() == before
        content_filter.swallows = False
        host.send_all(managed=False)
    hop = f"at 127.0.0.1:{content_filter.port}, which is not relay demo: this hop took it and has not given it back"
    assert "rolled back to generation 0: " in said
    assert (hop if swallows else "554 5.7.1 Not from you") in said


def test_a_container_is_not_ended(tmp_path: Path) -> None:
    """A parameter that needs a restart is refused where Postfix runs in the foreground. The master stays."""
    with Host("container", tmp_path) as host:
        settings = host.settings_file.read_text()
        host.settings_file.write_text(settings.replace("[host]", '[host]\ninet_protocols = "all"'))
        before, master = host.files(), host.postfix.master_pid()
        enforcer = Enforcer(host.settings, Postfix(host.postfix.config_directory))
        with pytest.raises(ApplyError) as refusal:
            put_into_force(host.settings, enforcer, verify=True, agreed=frozenset(Effect))
        assert (host.files(), host.postfix.master_pid()) == (before, master)
    said = str(refusal.value)
    assert "inet_protocols: takes effect only when Postfix starts" in said
    assert "or leave the key out of the settings; the configuration in force is unchanged" in said


def by_line(files: Mapping[str, File]) -> dict[str, tuple[list[bytes], int, tuple[int, int]]]:
    """Return files as sorted lines: postconf(1) adds parameters in any order."""
    return {name: (sorted(file.content.splitlines()), file.mode, file.owner) for name, file in files.items()}


def no_ops(planned: Plan, before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> list[str]:
    """Return the planned changes of main.cf and master.cf after which Postfix reads the same as before."""
    names = [*planned.parameters, *(f"{name}/unix" for name in (*planned.services, *planned.stale_services))]
    return [name for name in names if before.get(name) == after.get(name)]


def unasked(planned: Plan, before: Mapping[str, File], after: Mapping[str, File]) -> list[str]:
    """Return what changed outside the planned parameters, Postward's services and the files that it made."""
    made = {name for table in planned.tables for name in (table.name, table.index_name)}
    faults = [f"{name} appeared" for name in after.keys() - before.keys() - made]
    for name, file in before.items():
        now = after.get(name)
        if now is None or now[1:] != file[1:]:
            faults.append(f"{name} is missing, or has another mode or owner")
        elif name in ("main.cf", "master.cf"):
            is_ours = planned.parameters.__contains__ if name == "main.cf" else is_service
            entries = [list(others(content, is_ours)) for content in (file.content, now.content)]
            faults += [f"{name}: {entry!r}" for entry in set(entries[0]) ^ set(entries[1])]
            faults += [f"{name} has another order"] if entries[0] != entries[1] and not faults else []
        elif now != file:
            faults.append(f"{name} changed")
    return faults


def is_service(name: str) -> bool:
    """Return True for the name of a service of Postward's."""
    return name.startswith("postward-")


def others(content: bytes, is_ours: Callable[[str], bool]) -> Iterator[bytes]:
    """Yield the lines that belong to none of Postward's entries, with all comments."""
    ours = False
    for line in content.removesuffix(b"\n").split(b"\n"):
        if line[:1].strip() and not line.startswith(b"#"):
            ours = is_ours(re.split(rb"[\s=]", line)[0].decode())
        if not ours or line.strip().startswith(b"#"):
            yield line
