"""What was asked, found and proved: records only.

Knows scores and nouns; nothing of how they are found or shown.
"""
