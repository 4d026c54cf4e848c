"""Who sends: messages, recipients and failures by local user, login, client and sender address, in bounded memory.

`top.py` counts the largest of many keys, `window.py` the last hour and day, `share.py` names the one behind most of the
mail, and `part.py` is the part of the agent.
"""
