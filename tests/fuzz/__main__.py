"""`python -m tests.fuzz [READER …]`: many cases of each reader, from a seed that is told.

PLANNER_FUZZ_CASES says how many of each (20,000, and of readers that take long fewer), PLANNER_FUZZ_SEED from which seed, and
PLANNER_FUZZ_FIRST with which case to begin, so that one may be run again.
Without names of readers every public function is called too, with something absurd for each of its
arguments.
"""

import os
import random
import sys

from tests.fuzz import absurd
from tests.fuzz.readers import READERS
from tests.fuzz.running import Fault, survive


def main(names: list[str]) -> int:
    """Run them; 1 where a reader did not survive a case."""
    cases = int(os.environ.get("PLANNER_FUZZ_CASES", "20000"))
    first = int(os.environ.get("PLANNER_FUZZ_FIRST", "0"))
    seed = int(os.environ.get("PLANNER_FUZZ_SEED") or random.SystemRandom().randrange(10**9))
    print(f"seed {seed}", flush=True)
    status = 0
    for name in names or READERS:
        tally = survive(name, cases=-(-cases // READERS[name].takes), seed=seed, first=first)
        print(
            f"{name}: {tally.read} read, {tally.refused} refused, {len(tally.faults)} faults; at"
            f" most {tally.most_cpu_s:.2f} s of CPU and {tally.most_bytes / 1e6:.0f} MB",
            flush=True,
        )
        alike: dict[str, list[Fault]] = {}
        for fault in tally.faults:
            alike.setdefault(fault.what.rpartition(" (")[2], []).append(fault)
        for faults in alike.values():
            case = faults[0]
            more = f", and {len(faults) - 1} like it" * (len(faults) > 1)
            print(f"  case {case.case}{more}: {case.what}\n    {case.file}", flush=True)
        status = status or int(bool(tally.faults))
    if not names:
        status = absurd.main(seed, 0) or status
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
