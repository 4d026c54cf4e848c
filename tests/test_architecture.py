"""The import rule of the design: dependencies point one way, and the lower packages stay pure."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STANDARD = frozenset(sys.stdlib_module_names)

# What each package may import besides itself.
ALLOWED = {
    "parsers": STANDARD,
    "config": STANDARD | {"parsers", "pydantic", "pydantic_core", "pydantic_settings"},
}
# Modules of the standard library that touch the system or read a clock: no part of a pure package.
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
    """The package that an imported name belongs to: `postward.config.settings` → `config`."""
    return name.removeprefix("postward.").partition(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_lower_packages_import_only_what_stands_below(package: str) -> None:
    """`parsers` knows the standard library only, `config` pydantic and `parsers` besides."""
    strangers = {
        f"{module.relative_to(ROOT)} imports {name}"
        for module in _modules(package)
        for name in _imports(module)
        if name not in ALLOWED[package] | {package}
    }

    assert set() == strangers


def test_parsers_touch_no_system() -> None:
    """No file, clock, log, environment or network in `parsers`."""
    impure = {
        f"{module.name} imports {name}"
        for module in _modules("parsers")
        for name in _imports(module)
        if name in IMPURE
    }

    assert set() == impure


# The parts of `agent`, each of which imports only those before it.
ORDER = (
    *("fsutil", "text", "systemd", "parts", "http_client", "pages"),
    *("postfix", "metrics", "logs", "pipeline", "reload", "checkpoint"),
    *("relay", "enforce", "probe", "sink", "export", "incidents", "status", "http", "report", "doctor"),
    *("console", "daemon", "cli", "commands"),
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


def test_no_import_in_agent_runs_upward() -> None:
    """Every part of `agent` is in the order, and imports only parts before it."""
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
    """The product stands without its tests, and sends mail without smtplib."""
    found = {
        f"{module.relative_to(ROOT)} imports {name}"
        for package in ("parsers", "config", "agent")
        for module in _modules(package)
        for name in _imports(module)
        if name in {"tests", "smtplib", "aiosmtpd", "trustme", "pytest"}
    }

    assert found == {"agent/sink/server.py imports aiosmtpd"}, (
        "only the sink receives mail, and only it needs that extra"
    )


# What starts child processes, and why it may.
RUNNERS = {
    "agent/postfix/run.py": "Postfix's programs, all of them",
    "agent/logs/journal.py": "journalctl: a log source, and history for commands that look back",
    "agent/doctor/system.py": "asks systemd and the package manager how the host is",
    "agent/commands/init.py": "starts the services",
}


def test_only_these_modules_run_programs() -> None:
    """Postfix's programs are run by one module; each other that starts a child process has a reason of its own."""
    runners = {
        str(module.relative_to(ROOT))
        for package in ("parsers", "config", "agent")
        for module in _modules(package)
        if "subprocess" in _imports(module)
    }

    assert runners == RUNNERS.keys()


def test_every_module_says_what_it_is() -> None:
    """A module opens with a docstring."""
    silent = {
        str(module.relative_to(ROOT))
        for package in ("parsers", "config", "agent", "tests")
        for module in _modules(package)
        if module.read_text().strip() and ast.get_docstring(ast.parse(module.read_text())) is None
    }

    assert set() == silent
