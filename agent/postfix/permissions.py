"""The owners and modes that Postfix's programs need: main.cf for every user, the queue, and set-gid postdrop.

Only stat(2) is called. In a service with a user namespace of its own, such as the agent's, most owners are unknown; the
rules then check the modes.
"""

from pathlib import Path

from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.host_files import HostFiles, gid, uid
from postward.config.lint.facts import HostFacts
from postward.config.lint.system import PERMISSIONS, QUEUE_DIRECTORIES

_PARAMETERS = ("queue_directory", "data_directory", "command_directory", "mail_owner", "setgid_group")


class Permissions:
    """The files of an instance whose owners and modes matter. Raises PostfixError if its main.cf cannot be read."""

    def __init__(self, postfix: PostfixConfig) -> None:
        self._directory = str(postfix.config_directory)
        self._values = postfix.meanings(_PARAMETERS)
        self._mail_uid = uid(self._values["mail_owner"])
        self._setgid_gid = gid(self._values["setgid_group"])

    def faults(self) -> list[str]:
        """Return what is wrong now, each with its file."""
        values = self._values
        reader = HostFiles(Path("/"))
        paths = (
            *(Path(self._directory, name) for name in ("", "main.cf")),
            *(Path(values["queue_directory"], name) for name in QUEUE_DIRECTORIES),
            Path(values["data_directory"]),
            Path(values["command_directory"], "postdrop"),
        )
        facts = HostFacts(
            config_directory=self._directory,
            expanded=values,
            files={str(path): reader.file(path) for path in paths},
            mail_uid=self._mail_uid,
            setgid_gid=self._setgid_gid,
        )
        return [f"{fault.where} {fault.what}" for rule in PERMISSIONS for fault in rule.findings(facts)]
