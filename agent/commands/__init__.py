"""The commands of `postward`, one module each: options, a call into the agent, words for the terminal."""
