"""What a published claim would need, and whether physics allows it.

Knows the verbs.
"""
