"""What a figure of the machine does to the answer.

Knows sweeps and the verbs.
"""
