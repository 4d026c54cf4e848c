"""Takes the pictures of the documents: `python -m tools.screenshots.documents` writes them into docs/images.

They show the product as it runs: a private Postfix sends through a relay of the test bed, until main.cf is edited by
hand as many how-tos teach it. The agent only observes, so the status page shows the fault. The report is that of a
generated log. It needs Postfix and Chromium.
"""

import base64
import contextlib
import tempfile
from pathlib import Path
from typing import Final

from tests.support import PostfixInstance, Relay, require_postfix, wait_for
from tests.support.browser import Browser, browser
from tests.support.ca import CA
from tests.support.product import AgentProcess, run_postward, write_settings
from tools.bench.lines import log_lines

FOLDER: Final = Path(__file__).parents[2] / "docs/images"
_WIDTH: Final = 1000  # pixels
_HEIGHTS: Final = {"status": 700, "report": 950}  # pixels of the page that are shown at most
_MAILS: Final = 40
_LINES: Final = 60_000


def main(target: Path = FOLDER) -> None:
    """Write the pictures into a folder."""
    require_postfix()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="postward-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # Postfix's user must reach its queue
        with browser(folder) as view:
            _report(folder)
            _take(view, f"file://{folder / 'report.html'}", target / "report.png")
            with (
                Relay(CA(), "relay.example.test", users={"API_USER": "former"}) as relay,
                PostfixInstance(folder / "postfix") as postfix,
            ):
                settings = write_settings(folder, relay, postfix, password="former")
                text = settings.read_text()
                run_postward("apply", "--config", str(settings))
                settings.write_text(text.replace("[enforce]", '[enforce]\nmode = "observe"'))
                with AgentProcess(settings, "--enforce") as agent:
                    _break(relay, postfix, agent)
                    host, port = agent.address
                    _take(view, f"http://{host}:{port}/status", target / "status.png")


def _report(folder: Path) -> None:
    (folder / "mail.log").write_text("".join(log_lines(_LINES)))
    with contextlib.chdir(folder):
        run_postward("report", "--html", "report.html", "mail.log")


def _break(relay: Relay, postfix: PostfixInstance, agent: AgentProcess) -> None:
    """Send mail, edit main.cf, and send more, until the agent has announced the incident."""
    wait_for(lambda: relay.messages, 60, "the first probe")
    for number in range(_MAILS):
        postfix.sendmail(f"customer{number}@shop.test", sender="app@example.test", subject="Order")
    wait_for(lambda: len(relay.messages) > _MAILS, 60, "the mails")
    postfix.set(smtp_tls_wrappermode="yes")
    postfix.reload()
    for number in range(7):
        postfix.sendmail(f"customer{number}@shop.test", sender="app@example.test", subject="Order")
    wait_for(lambda: agent.value("postward_incident_open", effect="delayed") > 0, 120, "the incident")


def _take(view: Browser, url: str, picture: Path) -> None:
    """Write a picture of the upper part of a page."""
    view.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    view.call(
        "Emulation.setDeviceMetricsOverride", width=_WIDTH, height=900, deviceScaleFactor=1, mobile=False
    )
    view.open(url)
    height = min(int(view.run("document.documentElement.scrollHeight")), _HEIGHTS[picture.stem])
    clip = {"x": 0, "y": 0, "width": _WIDTH, "height": height, "scale": 1}
    shot = view.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    picture.write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main()
