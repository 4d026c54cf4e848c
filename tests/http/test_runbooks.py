"""The runbooks on the endpoint."""

import re

import pytest

from postward.agent.http.runbooks import rendered, runbooks
from tests.http.serving import serving


def test_alerts_lead_to_pages() -> None:
    """With the name of an alert or a cause, with or without .md; any other name is 404."""
    statuses = {
        "GET /runbooks/": 200,
        "GET /runbooks/README.md": 200,
        "GET /runbooks/PostfixDown": 200,
        "GET /runbooks/PostfixDown.md": 200,
        "GET /runbooks/causes/timeout.md": 200,
        "GET /runbooks/causes/": 404,
        "GET /runbooks/PostfixUp.md": 404,
        "GET /runbooks/../systemd/postward.service": 404,
        "GET /runbooks/%2e%2e/systemd/postward.service": 404,
        "POST /runbooks/PostfixDown": 405,
    }
    with serving() as endpoint:
        assert {request: endpoint.ask(request)[0] for request in statuses} == statuses
        _, headers, body = endpoint.ask("GET /runbooks/PostfixDown.md")

    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src" not in headers["content-security-policy"]
    assert b"<h1>PostfixDown</h1>" in body
    assert b"<code>systemctl start postfix</code>" in body


@pytest.mark.parametrize("name", sorted(runbooks()))
def test_links_lead_to_pages_or_to_the_project(name: str) -> None:
    """Links between the pages stay on the endpoint; others are absolute."""
    page = rendered(name)
    assert "<h2>" in page
    assert "<script" not in page
    folder = name.rpartition("/")[0]
    for target in re.findall(r'href="([^"#]+)', page):
        if target.startswith(("https://", "/")):
            continue
        parts: list[str] = folder.split("/") if folder else []
        for part in target.split("/"):
            parts = parts[:-1] if part == ".." else [*parts, part]
        assert "/".join(parts).removesuffix(".md") in runbooks(), target
