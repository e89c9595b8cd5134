"""Files become nouns here, and nowhere else: text, units and a file's own mistakes stop at this
door.

Knows the nouns that files hold; nothing of the catalogue, which says where files are.
"""
