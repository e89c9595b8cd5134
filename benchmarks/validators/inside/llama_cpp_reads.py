"""Look options up by name in llama.cpp's own binary, as xllamacpp brings it. Runs in an environment with
xllamacpp, without ours; values are not read.

    python llama_cpp_reads.py < plans.jsonl
"""

import importlib.util
import json
import sys
from pathlib import Path

SPELT_OUT = {"-ngl": "--n-gpu-layers", "-sm": "--split-mode", "-ts": "--tensor-split"}
"""Short names that compilers keep inside of code."""


def binary() -> bytes:
    """The library with all options of the server."""
    found = importlib.util.find_spec("xllamacpp")
    assert found is not None
    assert found.origin is not None
    return next(Path(found.origin).parent.glob("*.so")).read_bytes()


def main() -> int:
    """Say which options the binary does not have."""
    held = binary()
    cases = [json.loads(line) for line in sys.stdin]
    words = {
        word
        for case in cases
        for process in case["processes"]
        if process["program"] == ["llama-server"]
        for word in process["options"]
        if word.startswith("-") and not word[1:2].isdigit()
    }
    words = {SPELT_OUT.get(word, word) for word in words}
    lacking = [word for word in sorted(words) if b"\0" + word.encode() + b"\0" not in held]
    print(
        f"llama.cpp: {len(words) - len(lacking)} of {len(words)} options of {len(cases)} plans are known",
        *lacking,
    )
    return int(bool(lacking) or not words)


if __name__ == "__main__":
    raise SystemExit(main())
