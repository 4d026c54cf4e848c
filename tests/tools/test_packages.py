"""The files about the packages: the SBOM, the copyright file, and the licences of the libraries."""

import json
import os
import subprocess
from email import message_from_string
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.support.require import demand, required
from tools.packages.__main__ import project
from tools.packages.contents import (
    ContentsError,
    Library,
    copyright_file,
    licence_expression,
    parse_library,
    read_hashes,
    sbom,
)

ROOT = Path(__file__).parents[2]
LIBRARIES = [
    Library("h11", "0.16.0", "MIT", (), ("Copyright (c) 2016 Nathaniel\n\nPermission is granted",)),
    Library("packaging", "26.3", "Apache-2.0 OR BSD-2-Clause", (), ("Copyright Donald",)),
    Library("postward", "0.1.0", "MIT", ("h11",), ()),
    Library("starlette", "1.10.0", "BSD-3-Clause", ("h11", "none-of-ours"), ("Copyright © 2018, Encode",)),
]


def test_the_bill_of_materials() -> None:
    """It names each library with version, licence and package URL, and the same input gives the same text."""
    hashes = {"h11": ["ab" * 32], "starlette": ["cd" * 32, "ef" * 32]}
    text = sbom(project(), LIBRARIES, hashes, 1_700_000_000)
    found = json.loads(text)

    assert text == sbom(project(), LIBRARIES, hashes, 1_700_000_000)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert found["metadata"]["component"]["purl"] == f"pkg:pypi/postward@{project().version}"
    components = {one["name"]: one for one in found["components"]}
    assert list(components) == ["h11", "packaging", "starlette"]
    assert components["h11"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert components["h11"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert components["packaging"]["licenses"] == [{"expression": "Apache-2.0 OR BSD-2-Clause"}]
    assert "hashes" not in components["starlette"]
    references = {one["bom-ref"] for one in found["components"]}
    graph = {one["ref"]: one["dependsOn"] for one in found["dependencies"]}
    assert graph["pkg:pypi/starlette@1.10.0"] == ["pkg:pypi/h11@0.16.0"]
    assert graph[found["metadata"]["component"]["bom-ref"]] == sorted(references)


def test_the_copyright_file() -> None:
    """It is in Debian's format, and has each library's holder, licence and text."""
    text = copyright_file(project(), (ROOT / "LICENSE").read_text(), LIBRARIES)

    assert text.startswith("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n")
    assert "Files: *\nCopyright: 2026 The Postward authors\nLicense: MIT\n MIT License\n .\n" in text
    assert (
        "Files: usr/lib/postward/lib/site-packages/h11*\nCopyright: 2016 Nathaniel\nLicense: MIT\n Copyright (c) 2016"
        in text
    )
    assert "License: Apache-2.0 or BSD-2-Clause\n" in text
    assert licence_expression(LIBRARIES) == "MIT AND (Apache-2.0 OR BSD-2-Clause) AND BSD-3-Clause"


def test_each_library_of_the_packages_has_a_licence_and_hashes() -> None:
    """Those of requirements/run.lock; a library without a known licence ends the build with its name."""
    locked = read_hashes(ROOT / "requirements/run.lock")
    found = {}
    for distribution in distributions():
        metadata = message_from_string(distribution.read_text("METADATA") or "Name: none")
        if metadata["Name"].lower().replace("_", "-").replace(".", "-") in locked:
            library = parse_library(metadata, ())
            found[library.name] = library.licence
    assert set(found) == set(locked)
    assert found["tornado"] == "Apache-2.0"
    assert found["jinja2"] == "BSD-3-Clause"
    with pytest.raises(ContentsError, match="odd: no licence is known; add its name to tools/packages"):
        parse_library(message_from_string("Name: odd\nVersion: 1\nLicense: see the file\n"), ())


def test_logrotate_takes_the_file(tmp_path: Path) -> None:
    """It moves the file of events away, as root in the place of the service's user; without systemd it goes on."""
    logrotate = required("logrotate", "logrotate")
    demand(None if os.geteuid() == 0 else "only root can rotate files as another user")
    text = (ROOT / "systemd/postward.logrotate").read_text()
    folder = tmp_path / "log"
    folder.mkdir(mode=0o750)
    (folder / "events.json").write_text("{}\n")
    settings = tmp_path / "logrotate.conf"
    text = text.replace("/var/log/postward", str(folder)).replace("su postward postward", "su root root")
    settings.write_text(text.replace("systemctl", "no-systemctl"))
    settings.chmod(0o644)
    done = subprocess.run(
        [logrotate, "--force", "--state", str(tmp_path / "state"), str(settings)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in folder.iterdir()] == ["events.json.1"]
