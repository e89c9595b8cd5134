"""Files that were tampered with, for every reader of files: what they may do with one is refuse it.

`python -m tests.fuzz` runs many; `readers.py` says how to register a reader.
"""
