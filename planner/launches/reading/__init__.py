"""What one engine's options say of a launch: a module an engine."""
