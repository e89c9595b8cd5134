"""Readers: files become nouns here, and nowhere else. Text, units and a file's own mistakes stop
at this door."""
