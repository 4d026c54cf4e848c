"""The status page in a real headless Chromium."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from postward.agent.status.html import POLICY, page
from tests.http.serving import serving
from tests.status.sample import sample
from tests.support import Fault, require_postfix, wait_for
from tests.support.browser import browser
from tests.support.product import run_postward
from tools.incidents.pairs import Bed, bed

_PATHS = ("/status", "/api/status", "/api/incidents")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A bed with mail that was sent by both relays."""
    require_postfix()
    with bed(tmp_path_factory.mktemp("page")) as made:
        for number in (0, 1):
            made.mail(number)
        yield made


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_every_form_of_the_page_is_accessible(width: int, scheme: str, tmp_path: Path) -> None:
    """Wide and narrow, light and dark, with open, ambiguous and resolved incidents and their lines shown."""
    (tmp_path / "status.html").write_text(page(sample()))
    with browser(tmp_path) as view:
        view.show(tmp_path / "status.html", width=width, scheme=scheme)
        view.unfold()

        assert view.accessibility_faults() == []


def test_text_of_the_log_is_escaped() -> None:
    """The one script of the page is ours, and the policy allows no other."""
    text = page(sample())

    assert text.count("<script") == 1
    assert "&lt;script&gt;x" in text
    assert (
        base64.b64encode(
            hashlib.sha256(text.split("<script>")[1].split("</script>")[0].encode()).digest()
        ).decode()
        in POLICY
    )


def test_the_page_shows_a_fault_as_it_happens(made: Bed, tmp_path: Path) -> None:
    """Without a reload. It requests the agent only, and stays accessible."""
    url = f"http://{made.agent._address}/status"
    with browser(tmp_path) as view:
        view.open(url)
        assert "Mail goes out" in view.run("document.body.innerText")
        assert view.accessibility_faults() == []
        with made.relays[0].failing(Fault(step="auth", reply="535 5.7.8 <b>no</b>")):
            made.mail(0)
            wait_for(
                lambda: "The relay refuses this login" in view.run("document.body.innerText"),
                what="the fault",
            )
            text, html = view.run("document.body.innerText"), view.run("document.documentElement.outerHTML")
            assert view.accessibility_faults() == []
            requests = list(view.requests)
        made.postfix.flush()
        wait_for(lambda: "Mail goes out" in view.run("document.body.innerText"), what="the end of the fault")

    assert "Mail waits" in text
    assert "relay.username, relay.password_file" in text
    assert "bob@" not in html
    assert "<b>no</b>" not in html
    hosts = {request.split("/")[2] for request in requests if not request.startswith("data:")}
    assert hosts == {made.agent._address}


def test_the_page_on_a_phone(made: Bed, tmp_path: Path) -> None:
    """No element is wider than a narrow window, also with a fault and its lines shown."""
    url = f"http://{made.agent._address}/status"
    fault = Fault(step="mail", reply="530 5.7.0 Authentication required")
    with browser(tmp_path, size="500,800") as view, made.relays[1].failing(fault):
        view.call(
            "Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True
        )
        made.mail(1)
        wait_for(lambda: ("second", "login-missing") in made.open(), what="the incident")
        view.open(url)
        view.run("document.querySelectorAll('details').forEach(element => element.open = true)")
        wrong = view.accessibility_faults()
    made.mail(1)
    wait_for(lambda: not made.open(), what="the end of the incident")

    assert wrong == []


def test_the_page_requires_the_login_of_the_endpoint(tmp_path: Path) -> None:
    """A login that the metrics require is required for the status too."""
    # bcrypt of "secret", cost 4.
    web = tmp_path / "web.yml"
    web.write_text(
        "basic_auth_users:\n  admin: $2b$04$eUCJ48/yu2tA/PMR6glvsO52RYjAS.6HtJNJIYHFCJekLGVQn2htm\n"
    )
    with serving(web) as endpoint:
        answers = {path: endpoint.ask(f"GET {path}")[0] for path in _PATHS}
        login = base64.b64encode(b"admin:secret").decode()
        let_in = endpoint.ask("GET /api/incidents", Authorization=f"Basic {login}")[0]

    assert answers == dict.fromkeys(_PATHS, 401)
    assert let_in == 200


def test_bad_settings_show_the_state_of_the_agent(made: Bed, tmp_path: Path) -> None:
    """The agent has its former settings and answers; the errors are shown too, and the status is 78."""
    bad = tmp_path / "postward.toml"
    bad.write_text("wrong = 1\n" + made.agent.settings_file.read_text())
    for command, text in (("status", "mail goes out"), ("why", "")):
        done = run_postward(command, "--config", str(bad))

        assert done.returncode == 78, done
        assert f"{bad}: wrong: is not a setting" in done.stderr
        assert "runs with its former settings" in done.stderr
        assert text in done.stdout


def _open_symptoms(checkpoint: Path) -> set[str]:
    """The symptoms of the incidents that a checkpoint has as open."""
    incidents = json.loads(checkpoint.read_text())["parts"]["incidents"]
    return {incident["symptom"] for incident in incidents["open"]}


def test_the_checkpoint_is_read_if_the_agent_does_not_answer(made: Bed, tmp_path: Path) -> None:
    """Its incidents are shown, with the fact that nothing is watched now."""
    settings, saved = tmp_path / "postward.toml", tmp_path / "checkpoint.json"
    text = made.agent.settings_file.read_text()
    state = Path(re.findall(r'\[state\]\ndirectory = "(.*)"', text)[0])
    elsewhere = text.replace(f'"{state}"', f'"{tmp_path}"')
    settings.write_text(re.sub(r'listen = ".*"', 'listen = "127.0.0.1:1"', elsewhere))
    with made.relays[0].failing(Fault(step="auth", reply="535 5.7.8 no")):
        made.mail(0)
        wait_for(
            lambda: "login-refused" in _open_symptoms(state / saved.name),
            timeout=30,
            what="the incident in the checkpoint",
        )
        saved.write_bytes((state / saved.name).read_bytes())
    for command in ("why", "status"):
        done = run_postward(command, "--config", str(settings))

        assert done.returncode == 3
        assert "the relay refuses this login" in done.stdout
        assert "the agent does not answer (" in done.stdout + done.stderr
    made.postfix.flush()
    wait_for(lambda: not made.open(), what="the end of the incident")


def test_the_check_finds_faults(tmp_path: Path) -> None:
    """Each rule of the check finds its fault."""
    bad = "<h3>x</h3><p style='color:%23999'>pale</p><svg></svg><table><tr><td>1</td></tr></table><a href='/'></a>"
    with browser(tmp_path) as view:
        view.open(f"data:text/html,{bad}")
        wrong = " ".join(view.accessibility_faults())

    for words in (
        "no language",
        "no title",
        "cannot be zoomed",
        "not one main",
        "not one h1",
        "a level of headings is left out",
        "a picture without words",
        "a control without words",
        "a table without heads",
        "too little contrast",
    ):
        assert words in wrong
