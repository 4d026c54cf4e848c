"""The signed repositories of the packages in dist/: apt and dnf accept them, and refuse what was altered."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.require import required
from tools.packages.__main__ import ROOT
from tools.packages.repository import SCRIPT, end_agent, environment, make_key

DIST = ROOT / "dist"


@dataclass
class Repositories:
    """Both repositories, in a folder that is their URL too.

    Attributes:
        folder: the folder.
        environment: with the keys of gpg.
    """

    folder: Path
    environment: dict[str, str]

    def build(self, *key: str, status: int = 0) -> str:
        """Make them of dist/, or add it to them. Return what was printed."""
        command = [SCRIPT, DIST, self.folder, f"file://{self.folder}", *key]
        return self.run(*map(str, command), status=status)

    def apt(self, command: str, *arguments: str, status: int = 0) -> str:
        """Run apt-get or apt-cache with this repository alone."""
        state = self.folder / "state"
        for name in ("lists/partial", "cache/archives/partial"):
            (state / name).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        options = {
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": str(self.folder / "sources"),
            "Dir::State": str(state),
            "Dir::State::status": str(state / "status"),
            "Dir::Cache": str(state / "cache"),
            "APT::Sandbox::User": "root",
        }
        (self.folder / "sources").mkdir(exist_ok=True)
        shutil.copy(self.folder / "apt/postward.sources", self.folder / "sources")
        switches = [f"-o{name}={value}" for name, value in options.items()]
        return self.run(command, *switches, *arguments, status=status)

    def dnf(self, *arguments: str, status: int = 0) -> str:
        """Run dnf with this repository alone."""
        root = self.folder / "root"
        (self.folder / "repos").mkdir(exist_ok=True)
        shutil.copy(self.folder / "yum/postward.repo", self.folder / "repos")
        switches = [f"--installroot={root}", f"--setopt=reposdir={self.folder / 'repos'}", "--releasever=9"]
        return self.run("dnf", "--assumeyes", "--quiet", *switches, *arguments, status=status)

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command. Return what it printed."""
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            cwd=self.folder,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repositories]:
    """The repositories of dist/, signed with a key of their own."""
    required("dnf", "dnf")
    made = Repositories(
        tmp_path_factory.mktemp("repository"), environment(tmp_path_factory.mktemp("keys") / "gnupg")
    )
    assert "gpg has no such secret key" in made.build(status=1)
    make_key(made.environment)
    made.build()
    yield made
    end_agent(made.environment)


def _index(made: Repositories) -> Path:
    (index,) = (made.folder / "apt/dists/stable/main").glob("binary-*/Packages")
    return index


def test_apt_installs_from_it(made: Repositories) -> None:
    """The file of sources is all that a host needs; the package is the one of dist/."""
    made.apt("apt-get", "update")
    printed = made.apt("apt-get", "download", "postward")

    (deb,) = DIST.glob("postward_*.deb")
    assert (made.folder / deb.name).read_bytes() == deb.read_bytes(), printed
    assert "release o=Postward,a=stable,n=stable,l=Postward,c=main" in made.apt("apt-cache", "policy")


def test_apt_refuses_an_altered_index(made: Repositories) -> None:
    """An index that was not signed is an error, and so is one signed by another key."""
    index = _index(made)
    good = index.read_bytes()
    index.write_bytes(good.replace(b"Package: postward", b"Package: postwarb"))
    index.with_suffix(".gz").unlink()
    shutil.rmtree(made.folder / "state")
    printed = made.apt("apt-get", "update", status=100)
    assert "Hash Sum mismatch" in printed or "File has unexpected size" in printed, printed
    index.write_bytes(good)

    release = made.folder / "apt/dists/stable/InRelease"
    signed = release.read_text()
    release.write_text(signed.replace("Origin: Postward", "Origin: Nobody"))
    shutil.rmtree(made.folder / "state")
    assert "BADSIG" in made.apt("apt-get", "update", status=100)
    release.write_text(signed)


def test_dnf_installs_from_it(made: Repositories) -> None:
    """Index and package are signed; an altered index is refused."""
    (rpm,) = DIST.glob("postward-*.rpm")
    assert f"{rpm.name}\n" in made.dnf(
        "repoquery", "--qf", "%{name}-%{version}-%{release}.%{arch}.rpm", "postward"
    )
    assert "digests signatures OK" in _checked(made, made.folder / "yum" / rpm.name)
    assert "signatures" not in _checked(made, rpm), "the package in dist/ has no signature"
    index = made.folder / "yum/repodata/repomd.xml"
    good = index.read_bytes()
    index.write_bytes(good.replace(b"<revision>", b"<revision>1"))
    made.dnf("clean", "all")
    assert made.dnf("repoquery", "postward") == "", "dnf ignores a repository whose signature is bad"
    assert "install" not in made.dnf("install", "postward", status=1)
    index.write_bytes(good)


def _checked(made: Repositories, rpm: Path) -> str:
    database = f"--dbpath={made.folder / 'rpmdb'}"
    made.run("rpmkeys", database, "--import", str(made.folder / "yum/postward.asc"))
    return made.run("rpmkeys", database, "--checksig", str(rpm))


def test_a_second_run_adds_and_keeps(made: Repositories) -> None:
    """A later release stands beside the former ones."""
    names = {path.name for path in made.folder.glob("*/*.rpm")} | {
        path.name for path in made.folder.glob("apt/pool/*")
    }
    (deb,) = DIST.glob("postward_*.deb")
    older = made.folder / "apt/pool" / deb.name.replace("-1_", "-0_")
    made.run("dpkg-deb", "--raw-extract", str(deb), str(made.folder / "tree"))
    control = made.folder / "tree/DEBIAN/control"
    control.write_text(control.read_text().replace("-1\n", "-0\n", 1))
    made.run("dpkg-deb", "-Znone", "--root-owner-group", "--build", str(made.folder / "tree"), str(older))

    made.build()

    assert {path.name for path in made.folder.glob("apt/pool/*")} == {deb.name, older.name}
    assert names <= {path.name for path in made.folder.glob("*/*.rpm")} | {deb.name}
    made.apt("apt-get", "update")
    assert made.apt("apt-cache", "madison", "postward").count("postward | ") == 2
