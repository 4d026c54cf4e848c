"""Import rules: packages import only lower ones, and the lowest packages do no I/O."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STANDARD = frozenset(sys.stdlib_module_names)

# Packages that each package may import, besides itself.
ALLOWED = {
    "parsers": STANDARD,
    "config": STANDARD | {"parsers", "pydantic", "pydantic_core", "pydantic_settings"},
}
# Modules of the standard library that do I/O or read a clock; a pure package does not import them.
IMPURE = frozenset(
    {
        "asyncio",
        "io",
        "logging",
        "os",
        "pathlib",
        "random",
        "select",
        "shutil",
        "socket",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    }
)


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (_package(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield _package(node.module or "")


def _package(name: str) -> str:
    """Return the package of an imported name: `config` for `postward.config.settings`."""
    return name.removeprefix("postward.").partition(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_lower_packages_import_only_allowed_packages(package: str) -> None:
    """`parsers` imports only the standard library; `config` also imports pydantic and `parsers`."""
    forbidden = {
        f"{module.relative_to(ROOT)} imports {name}"
        for module in _modules(package)
        for name in _imports(module)
        if name not in ALLOWED[package] | {package}
    }

    assert set() == forbidden


def test_parsers_do_no_io() -> None:
    """`parsers` uses no file, clock, log, environment or network."""
    impure = {
        f"{module.name} imports {name}"
        for module in _modules("parsers")
        for name in _imports(module)
        if name in IMPURE
    }

    assert set() == impure


# The parts of `agent`; each imports only parts before it.
ORDER = (
    *("fsutil", "stored", "text", "systemd", "parts", "beat", "rows", "http_client", "pages", "release"),
    *("postfix", "metrics", "senders", "logs", "pipeline", "reload", "instances", "checkpoint"),
    *("relay", "oauth2", "enforce", "mailbox", "probe", "bounces", "export", "incidents", "hosts"),
    *("status", "http"),
    *("sink", "report"),
    *("doctor", "console", "setup", "output", "daemon", "cli", "commands"),
)


def _unit(module: Path) -> str:
    return module.relative_to(ROOT / "agent").parts[0].removesuffix(".py")


def _units_imported(module: Path) -> set[str]:
    prefix = "postward.agent."
    return {
        node.module.removeprefix(prefix).partition(".")[0]
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(prefix)
    }


def test_parts_of_agent_import_only_parts_before_them() -> None:
    """Every part of `agent` is in the list, and imports only parts before it."""
    modules = [
        module for module in _modules("agent") if module.parent != ROOT / "agent" or module.stem != "__init__"
    ]
    upward = {
        f"{module.relative_to(ROOT)} imports {name}"
        for module in modules
        for name in _units_imported(module) - {_unit(module)}
        if ORDER.index(name) > ORDER.index(_unit(module))
    }

    assert {_unit(module) for module in modules} == set(ORDER)
    assert upward == set()


def test_product_does_not_import_tests_nor_smtplib() -> None:
    """The product does not need its tests or test tools, and sends mail without smtplib."""
    found = {
        f"{module.relative_to(ROOT)} imports {name}"
        for package in ("parsers", "config", "agent")
        for module in _modules(package)
        for name in _imports(module)
        if name in {"tests", "smtplib", "aiosmtpd", "trustme", "pytest"}
    }

    assert found == {"agent/sink/server.py imports aiosmtpd"}, (
        "only the sink receives mail and needs aiosmtpd"
    )


# Modules that start child processes, and the reason of each.
RUNNERS = {
    "agent/postfix/run.py": "all programs of Postfix",
    "agent/logs/journal.py": "journalctl: a log source, and history for commands that look back",
    "agent/doctor/system.py": "queries systemd and the package manager",
    "agent/commands/init.py": "starts the services",
}


def test_only_these_modules_run_programs() -> None:
    """Only the modules of the list start child processes."""
    runners = {
        str(module.relative_to(ROOT))
        for package in ("parsers", "config", "agent")
        for module in _modules(package)
        if "subprocess" in _imports(module)
    }

    assert runners == RUNNERS.keys()


def test_every_module_has_a_docstring() -> None:
    """A module that is not empty begins with a docstring."""
    missing = {
        str(module.relative_to(ROOT))
        for package in ("parsers", "config", "agent", "tests")
        for module in _modules(package)
        if module.read_text().strip() and ast.get_docstring(ast.parse(module.read_text())) is None
    }

    assert set() == missing
