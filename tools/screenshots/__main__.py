"""Takes a picture of the status page and of a report: on a desktop and on a phone, light and dark.

`python -m tools.screenshots FOLDER LOG…` writes eight PNG files, and prints the height of each in pixels. The status is
that of the tests, the report that of the logs. It needs Chromium.
"""

import base64
import sys
import tempfile
from pathlib import Path

from postward.agent.status.html import page
from tests.status.sample import sample
from tests.support.browser import Browser, browser
from tests.support.product import run_postward

_WIDTHS = {"desktop": 1200, "phone": 390}


def main(folder: Path, logs: list[str]) -> None:
    """Write the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, browser(Path(scratch)) as view:
        pages = {name: Path(scratch, f"{name}.html") for name in ("status", "report")}
        pages["status"].write_text(page(sample()))
        run_postward("report", "--html", str(pages["report"]), *logs)
        for name, path in pages.items():
            for device, width in _WIDTHS.items():
                for scheme in ("light", "dark"):
                    picture = folder / f"{name}-{device}-{scheme}.png"
                    height = take(view, path, picture, width, scheme)
                    print(f"{picture}: {height} px high")  # noqa: T201 -- a program's output


def take(view: Browser, source: Path, picture: Path, width: int, scheme: str) -> int:
    """Write a picture of a whole page. Return its height in pixels."""
    view.show(source, width=width, scheme=scheme)
    height = int(view.run("document.documentElement.scrollHeight"))
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = view.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    picture.write_bytes(base64.b64decode(shot["data"]))
    return height


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python -m tools.screenshots FOLDER LOG…")
    main(Path(sys.argv[1]), sys.argv[2:])
