"""Where a model of the Hugging Face hub lies on this machine, if it was ever fetched; nothing is
fetched here.

A cache holds `models--ORG--NAME/refs/main`, a text that names the folder below `snapshots/` [1].

[1] https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

import os
import re
from pathlib import Path

from planner.errors import InputError, told
from planner.readers.files import read_text

WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")
COMMIT = re.compile(r"[0-9a-f]{7,64}")


def cached_snapshot(repo_id: str) -> Path | None:
    """The folder of a model's files, of its main branch as last fetched; None: it was never
    fetched. An InputError says what a name such as `org/name` may be."""
    words = repo_id.split("/")
    plain = all(WORD.fullmatch(word) for word in words)
    if len(words) != 2 or not plain or "--" in repo_id or ".." in repo_id:
        raise InputError(
            f"{told(repo_id, 60)} is not the name of a model on the hub; give owner/name, such as"
            " 'meta-llama/Llama-3.1-8B'"
        )
    folder = cache_folder() / f"models--{words[0]}--{words[1]}"
    reference = folder / "refs" / "main"
    if not os.path.isfile(reference):
        return None
    commit = read_text(reference, "a reference of the hub's cache", most_bytes=1024).strip()
    if not COMMIT.fullmatch(commit):
        raise InputError(f"{reference} must name a commit, not {told(commit, 60)}")
    snapshot = folder / "snapshots" / commit
    return snapshot if os.path.isdir(snapshot) else None


def cache_folder() -> Path:
    """Of the hub's files on this machine, as the hub's own library finds it."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return Path(os.path.expandvars(given)).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"
