"""Runs `postward` from these sources: `python -m tests.commands.postward COMMAND …`."""

from postward.agent.cli import main

if __name__ == "__main__":
    main(prog_name="postward")
