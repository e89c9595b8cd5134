"""How engines are told what to run: from a plan to a launch, and from a command to a plan."""
