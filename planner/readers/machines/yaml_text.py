"""YAML from strangers, read with PyYAML where that is there: plain values only, none of them shared
by aliases, which may stand for more than a memory holds."""

from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened

MOST_BYTES = 2 * 2**20
"""PyYAML takes some seconds for each."""


MOST_DEPTH = 40


def _check_events(yaml: Any, text: str, path: Path) -> None:
    """Refuse what would grow in reading, before anything is made of it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise InputError(
                f"{path} uses an alias (*{shortened(event.anchor, 30)}); write out what it stands"
                " for"
            )
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise InputError(f"{path} is not valid YAML: nested more than {MOST_DEPTH} deep")


def parsed_yaml(text: str, path: Path) -> Any:
    """What a document holds."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise InputError(
            f"{path} is YAML, which takes PyYAML to read: pip install 'spread-planner[machines]'"
        ) from None
    if len(text) > MOST_BYTES:
        raise InputError(f"{path} is longer than any description of a cluster in YAML")
    try:
        _check_events(yaml, text, path)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1})"
        raise InputError(f"{path} is not valid YAML{where}") from None
    except InputError:
        raise
    except (ValueError, RecursionError, OverflowError, TypeError):
        raise InputError(
            f"{path} is not valid YAML (a value that is none, or nested too deeply)"
        ) from None
