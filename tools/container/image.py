"""The container image, built by buildah as `make image` does.

Nothing is pulled: the base is a Debian of debootstrap. The images are in a storage of their own in the cache of the
hosts' images, so that those of the machine's user stay as they are. Steps run in a chroot, which needs no namespaces.
"""

import os
import subprocess
from pathlib import Path

from tools.hosts.image import bootstrap, cache, cached

ROOT = Path(__file__).parents[2]
NAME = os.environ.get("POSTWARD_IMAGE", "localhost/postward")  # another one can be tested
_BASE = "localhost/postward-base"
_RELEASE = "bookworm"
_VERSION = 1  # increase it when the base changes
_DEADLINE = 900.0  # timeout for a build, in seconds


def storage() -> list[str]:
    """Return the options of buildah and podman for the storage of the images."""
    folder = cache() / "containers"
    return ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]


def build() -> None:
    """Build the image of the package in dist/."""
    if not _has_image(_BASE):
        tree = cached(f"{_RELEASE}-base-{_VERSION}", lambda folder: bootstrap(_RELEASE, folder))
        container = buildah("from", "scratch").strip()
        buildah("add", "--quiet", container, str(tree), "/")
        buildah("commit", "--quiet", "--rm", container, _BASE)
    # The format of Docker: OCI's has no health check.
    options = [
        "--isolation",
        "chroot",
        "--format",
        "docker",
        "--layers=false",
        "--build-arg",
        f"BASE={_BASE}",
    ]
    buildah("bud", *options, "--tag", NAME, "--file", "container/Containerfile", ".")
    for unused in buildah("images", "--quiet", "--filter", "dangling=true").split():
        buildah("rmi", unused)


def save(folder: Path) -> Path:
    """Write the image as an archive that `podman load` and `docker load` read. Return its path."""
    archive = folder / "postward-image.tar"
    archive.unlink(missing_ok=True)
    buildah("push", "--quiet", NAME, f"docker-archive:{archive}:{NAME}")
    return archive


def size() -> int:
    """Return the size of the image's files, in bytes."""
    (layer,) = buildah("images", "--format", "{{.Size}}", "--filter", f"reference={NAME}").split("\n")[:1]
    number, unit = layer.split()
    return round(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])


def buildah(*arguments: str) -> str:
    """Run buildah and return its standard output."""
    done = subprocess.run(
        ["buildah", *storage(), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, f"buildah {arguments[0]}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def _has_image(name: str) -> bool:
    return bool(buildah("images", "--quiet", "--filter", f"reference={name}").strip())
