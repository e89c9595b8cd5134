"""`python -m planner`."""

import sys

# `-m` looks for modules in the folder that somebody works in first; a json.py that lies there is
# nobody's command. The package itself may lie there as well, so that it comes last.
if not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

from planner.cli import main

main()
