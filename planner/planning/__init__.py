"""The verbs: search, prove, explain, check and refuse.

Knows the space of plans and all below it.
"""
