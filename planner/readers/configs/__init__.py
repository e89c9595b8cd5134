"""A model from the fields of a config.json: families, blocks, and what may not be passed over."""
