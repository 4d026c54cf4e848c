"""The libraries of a virtual environment, from the metadata of their wheels: an SBOM, a copyright file, licences.

Pure, apart from `read_libraries` and `read_hashes`. The SBOM is CycloneDX 1.6 in JSON.
"""

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any, Final

# Licences as older metadata names them → SPDX.
_SPDX: Final = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
}
# Of distributions whose metadata name none, as their licence files say it.
_UNNAMED: Final = {"imapclient": "BSD-3-Clause"}
_LICENCE_FILE: Final = re.compile(r"(licen[cs]e|copying|notice)", re.IGNORECASE)


class ContentsError(Exception):
    """A library has no licence that is known here."""


@dataclass(frozen=True, slots=True)
class Project:
    """Postward itself, as pyproject.toml names it."""

    name: str
    version: str
    summary: str
    author: str
    email: str
    urls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Library:
    """A distribution in the environment. `requires` has normalized names; `notices` the texts of its licence files."""

    name: str
    version: str
    licence: str
    requires: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


def normalized(name: str) -> str:
    """Return the name of a distribution as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_libraries(site: Path) -> list[Library]:
    """Return the distributions in a directory, sorted by name. Raises ContentsError."""
    found = []
    for folder in site.glob("*.dist-info"):
        metadata = message_from_string((folder / "METADATA").read_text(encoding="utf-8"))
        files = sorted(
            path for path in folder.rglob("*") if _LICENCE_FILE.match(path.name) and path.is_file()
        )
        notices = tuple(path.read_text(encoding="utf-8", errors="replace") for path in files)
        found.append(parse_library(metadata, notices))
    return sorted(found, key=lambda library: library.name)


def parse_library(metadata: "Message[str, str]", notices: Sequence[str]) -> Library:
    """Return a distribution from its METADATA and the texts of its licence files. Raises ContentsError."""
    name = normalized(metadata["Name"])
    classified = [
        value.rpartition(" :: ")[2]
        for value in metadata.get_all("Classifier", [])
        if value.startswith("License ::")
    ]
    named = metadata.get("License-Expression") or metadata.get("License") or ""
    for candidate in (named, *reversed(classified), _UNNAMED.get(name, "")):
        licence = _SPDX.get(candidate, candidate)
        if re.fullmatch(r"[A-Za-z0-9.+-]+( (AND|OR) [A-Za-z0-9.+-]+)*", licence):
            break
    else:
        raise ContentsError(f"{name}: no licence is known; add its name to tools/packages/contents.py")
    requires = {
        normalized(re.split(r"[\s;<>=!~(\[]", value)[0]) for value in metadata.get_all("Requires-Dist", [])
    }
    return Library(name, metadata["Version"], licence, tuple(sorted(requires)), tuple(notices))


def read_hashes(lock: Path) -> dict[str, list[str]]:
    """Return name → SHA-256 sums of the files that a lock file allows."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if pinned := re.match(r"([A-Za-z0-9._-]+)==", line):
            name = normalized(pinned[1])
        elif digest := re.search(r"--hash=sha256:([0-9a-f]{64})", line):
            found.setdefault(name, []).append(digest[1])
    return found


def sbom(project: Project, libraries: Iterable[Library], hashes: Mapping[str, list[str]], moment: int) -> str:
    """Return the software bill of materials.

    Args:
        project: the component that the others belong to.
        libraries: the others.
        hashes: name → sums of the files that the lock file allows; only a single one is a component's.
        moment: time of the build, in seconds since 1970.
    """
    libraries = [library for library in libraries if library.name != project.name]
    own = Library(project.name, project.version, "MIT", tuple(library.name for library in libraries), ())
    serial = uuid.uuid5(
        uuid.NAMESPACE_URL, " ".join([own.purl, str(moment), *(one.purl for one in libraries)])
    )
    known = {library.name: library for library in libraries}
    references = [
        {"type": _reference(label), "url": url} for label, url in project.urls.items() if _reference(label)
    ]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": _component(own, "application", [])
            | {"description": project.summary, "externalReferences": references},
        },
        "components": [_component(one, "library", hashes.get(one.name, [])) for one in libraries],
        "dependencies": [
            {"ref": one.purl, "dependsOn": [known[name].purl for name in one.requires if name in known]}
            for one in (own, *libraries)
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _reference(label: str) -> str | None:
    return {
        "Homepage": "website",
        "Source": "vcs",
        "Issues": "issue-tracker",
        "Changelog": "release-notes",
    }.get(label)


def _component(library: Library, kind: str, hashes: Sequence[str]) -> dict[str, Any]:
    expression = " " in library.licence
    component: dict[str, Any] = {
        "type": kind,
        "bom-ref": library.purl,
        "name": library.name,
        "version": library.version,
        "purl": library.purl,
        "licenses": [{"expression": library.licence} if expression else {"license": {"id": library.licence}}],
    }
    if len(hashes) == 1:  # one file for all systems
        component["hashes"] = [{"alg": "SHA-256", "content": hashes[0]}]
    return component


def copyright_file(project: Project, licence: str, libraries: Iterable[Library]) -> str:
    """Return Debian's copyright file (DEP 5), with the licence texts of all libraries.

    Args:
        project: Postward.
        licence: its licence text.
        libraries: the libraries in the package.
    """
    holder = re.search(r"^Copyright (?:\(c\) )?(.+)$", licence, re.MULTILINE)
    parts = [
        "\n".join(
            (
                "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/",
                f"Upstream-Name: {project.name}",
                f"Upstream-Contact: {project.author} <{project.email}>",
                f"Source: {project.urls['Source']}",
            )
        ),
        f"Files: *\nCopyright: {holder[1] if holder else project.author}\nLicense: MIT\n{_indented(licence)}",
    ]
    for library in libraries:
        if library.name == project.name:
            continue
        text = "\n\n".join(library.notices)
        holders = list(
            dict.fromkeys(re.findall(r"(?mi)^\W*Copyright (?:\(c\)|©|(?=[0-9])) ?(.{4,120})$", text))
        )
        pattern = library.name.replace("-", "?")
        parts.append(
            f"Files: usr/lib/postward/lib/site-packages/{pattern}*\n"
            f"Copyright: {_continued(holders) or f'the authors of {library.name}'}\n"
            f"License: {library.licence.replace(' AND ', ' and ').replace(' OR ', ' or ')}\n"
            f"{_indented(_shortened(text))}"
        )
    return "\n\n".join(parts) + "\n"


def _shortened(text: str) -> str:
    """Return licence texts without that of Apache 2.0, which Debian has in /usr/share/common-licenses."""
    if "Apache License" in text and len(text) > 9000:
        notice = text[: text.index("Apache License")].strip()
        rest = text.partition("END OF TERMS AND CONDITIONS")[2].partition("limitations under the License.")[2]
        common = "On Debian systems, the text of the Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0."
        return "\n\n".join(part for part in (notice, common, rest.strip()) if part)
    return text


def _indented(text: str) -> str:
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.strip().splitlines())


def _continued(lines: Sequence[str]) -> str:
    return "\n ".join(lines)


def licence_expression(libraries: Iterable[Library]) -> str:
    """Return the licences of all libraries as one SPDX expression."""
    names = dict.fromkeys(f"({one.licence})" if " OR " in one.licence else one.licence for one in libraries)
    parts = dict.fromkeys(part for name in sorted(names) for part in name.split(" AND "))
    return " AND ".join(sorted(parts, key=lambda part: (part != "MIT", part.strip("("))))
