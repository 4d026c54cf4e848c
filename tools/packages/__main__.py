"""`python -m tools.packages TREE DIRECTORY RELEASE MACHINE`: write the files about a package, from its tree and pyproject.toml.

`control`, `changelog.Debian` and `copyright` are Debian's, `package.spec` is the head of the RPM, and `sbom.cdx.json`
belongs to both. The environment's SOURCE_DATE_EPOCH is their time.
"""

import os
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from tools.packages.contents import (
    Project,
    copyright_file,
    licence_expression,
    normalized,
    read_hashes,
    read_libraries,
    sbom,
)

ROOT = Path(__file__).parents[2]
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # Debian's names


def project() -> Project:
    """Return what pyproject.toml says of Postward."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (author,) = table["authors"]
    return Project(
        table["name"], table["version"], table["description"], author["name"], author["email"], table["urls"]
    )


def installed_size(tree: Path) -> int:
    """Return the size of a tree in KiB as dpkg-gencontrol counts it, which does not depend on the file system."""
    sizes = (
        path.lstat().st_size if path.is_file() and not path.is_symlink() else 1 for path in tree.rglob("*")
    )
    return sum(-(-size // 1024) for size in sizes)


def main(tree: Path, target: Path, release: str, machine: str) -> None:
    """Write the files."""
    own, moment = project(), int(os.environ["SOURCE_DATE_EPOCH"])
    libraries = read_libraries(tree / "usr/lib/postward/lib/site-packages")
    versions = (
        (ROOT / "systemd/package/pythons")
        .read_text(encoding="utf-8")
        .partition('"')[2]
        .partition('"')[0]
        .split()
    )
    last = int(versions[-1].partition(".")[2])
    day = datetime.fromtimestamp(moment, UTC)
    contact = f"{own.author} <{own.email}>"
    values = {
        "version": f"{own.version}-{release}",
        "architecture": _ARCHITECTURES.get(machine, machine),
        "size": str(installed_size(tree)),
        "first": versions[0],
        "after": f"3.{last + 1}~",
        "contact": contact,
        "homepage": own.urls["Homepage"],
        "source": own.urls["Source"],
    }
    template = Template((ROOT / "systemd/package/control").read_text(encoding="utf-8"))
    spec = [
        f"Version: {own.version}",
        f"Release: {release}",
        f"License: {licence_expression(libraries)}",
        f"URL: {own.urls['Homepage']}",
        f"Packager: {contact}",
        *(
            f"Provides: bundled(python3dist({one.name})) = {one.version}"
            for one in libraries
            if one.name != normalized(own.name)
        ),
        "%changelog",
        f"* {day:%a %b %d %Y} {contact} - {own.version}-{release}",
        f"- Release {own.version}; CHANGELOG.md has the changes.",
        "",
    ]
    changelog = (
        f"{own.name} ({own.version}-{release}) stable; urgency=medium\n\n"
        f"  * Release {own.version}; changelog.gz has the changes.\n\n"
        f" -- {contact}  {day:%a, %d %b %Y %H:%M:%S +0000}\n"
    )
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    hashes = read_hashes(ROOT / "requirements/run.lock")
    for name, text in {
        "control": template.substitute(values),
        "changelog.Debian": changelog,
        "copyright": copyright_file(own, licence, libraries),
        "package.spec": "\n".join(spec),
        "sbom.cdx.json": sbom(own, libraries, hashes, moment),
    }.items():
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
