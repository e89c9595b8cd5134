"""Where one machine's advantage over another ends.

Knows sweeps and the verbs.
"""
