"""Whether engines' own parsers read what we write: random plans go out as commands, and come back as
degrees and cuts. `make validators` builds an environment of its own for the engines."""
