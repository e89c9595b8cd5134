"""How sure what is stated of a machine is."""

from typing import Literal

Confidence = Literal["A", "B", "C", "M", "derived", "fit", "guess", "claim", "stated"]
"""A: primary source read. B: secondary. C: contested. M: from memory. Fit, guess and claim say what
they are. Stated: by a file that does not say."""
