"""Tokens: fetched from a real authorization server on loopback, renewed, stored, refused."""

from dataclasses import dataclass
from pathlib import Path

from postward.config.relay import Relay
from tests.config.samples import load
from tests.support import CA
from tests.support.authorization import SCOPE, Authorization, Client

USER = "app@example.com"


@dataclass
class Bed:
    """An authorization server, and a folder for tokens and secrets."""

    server: Authorization
    folder: Path
    ca: CA

    @property
    def tokens(self) -> Path:
        """The folder of the tokens."""
        return self.folder / "tokens"

    def write(self, name: str, content: str) -> Path:
        """Write a secret."""
        path = self.folder / name
        path.write_text(content)
        return path

    def table(self, grant: str, lines: str = "") -> str:
        """Return the table `[relay.oauth2]`."""
        client = "" if grant == "service_account" else 'client_id = "app"\n'
        return (
            f'[relay.oauth2]\ngrant = "{grant}"\n{client}{lines}\nscope = "{SCOPE}"\ndirectory = "{self.tokens}"\n'
            f'token_endpoint = "{self.server.url}/token"\ndevice_endpoint = "{self.server.url}/devicecode"\n'
        )

    def relay(self, grant: str, lines: str = "", client: Client | None = None) -> Relay:
        """Return a relay that takes tokens by a grant; its application is registered."""
        self.server.clients["app"] = client or Client("app")
        head = '[host]\nmyhostname = "mail.example.com"\n[[relay]]\nname = "m365"\nhost = "localhost"\n'
        return load(f'{head}username = "{USER}"\n{self.table(grant, lines)}').relay[0]
