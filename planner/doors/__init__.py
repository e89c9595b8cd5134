"""Doors for programs: one description of what may be asked (`questions`) and of what is answered
(`answers`), for every door; `asking` answers, `desk` keeps to time and order, `jobs` to many desks.
`mcp_server` is the door for assistants, `web` the one for browsers and whatever speaks HTTP.

Names are those of the catalogue: no door reads a file, and none uses a network.
"""
