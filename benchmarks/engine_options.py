"""`python -m benchmarks.engine_options vllm|sglang|llama.cpp [SOURCE]`: the tables of engines'
options, made anew from the engines' own parsers.

vLLM and SGLang must be importable: their parsers are built and asked what they take. Of llama.cpp,
SOURCE is its `common/arg.cpp`, which is read as text. The head of a table, which says what options
mean, is kept by hand; the rows below `MARK` are written. Names of options are facts: nothing else
of an engine is copied.
"""

import argparse
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parents[1] / "planner" / "launches" / "options"
MARK = "# Every option, as benchmarks/engine_options.py writes them."

Row = dict[str, Any]


def vllm_parser() -> argparse.ArgumentParser:
    """That of `vllm serve`."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser  # type: ignore
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # type: ignore

    return make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))


def sglang_parser() -> argparse.ArgumentParser:
    """That of `sglang serve` and `sglang.launch_server`."""
    from sglang.srt.server_args import ServerArgs  # type: ignore

    parser = argparse.ArgumentParser(prog="sglang serve")
    ServerArgs.add_cli_args(parser)
    return parser


PARSERS = {"vllm": vllm_parser, "sglang": sglang_parser}


def rows_of_parser(parser: argparse.ArgumentParser) -> Iterator[Row]:
    """What each option is called and takes."""
    for action in parser._actions:
        if not action.option_strings:
            continue
        row: Row = {"names": list(action.option_strings)}
        if isinstance(action, argparse.BooleanOptionalAction):
            off = [name for name in action.option_strings if name.startswith("--no-")]
            row = {"names": [n for n in action.option_strings if n not in off], "off": off}
            row["takes"] = "switch"
        elif action.nargs == 0:
            row["takes"] = "none"
        elif action.nargs in ("+", "*", "?"):
            row["takes"] = {"+": "some", "*": "any", "?": "optional"}[str(action.nargs)]
        if action.nargs != 0:
            row["value"] = value_kind(action.type)
        if action.choices is not None:
            row["choices"] = sorted(str(choice) for choice in action.choices)
        yield row


def value_kind(convert: Any) -> str:
    """What a value is read as, found out by asking."""
    if convert is None or accepts(convert, "a b:c"):
        return "text"
    if accepts(convert, "{}") or accepts(convert, "[]"):
        return "json"
    for kind, example in (
        ("prefixed", "2Ki"),
        ("readable", "2k"),
        ("number", "0.5"),
        ("integer", "4"),
    ):
        if accepts(convert, example):
            return kind
    return "text"


def accepts(convert: Any, text: str) -> bool:
    """Whether a text is a value."""
    try:
        convert(text)
    except Exception:
        return False
    return True


ENTRY = re.compile(
    r"common_arg\(\s*\{(?P<names>[^}]*)\},\s*(?:\{(?P<off>[^}]*)\},)?"
    r".*?\[\w*\]\((?P<signature>common_params &[^)]*)\)",
    re.S,
)


def rows_of_source(text: str) -> Iterator[Row]:
    """The same of llama.cpp, whose handlers say by their signature what they are given."""
    seen: set[str] = set()
    for entry in ENTRY.finditer(text):
        rest = text[entry.end() :].partition("add_opt(")[0]
        variable = re.search(r'\.set_env\("(\w+)"\)', rest)
        names = re.findall(r'"(-[^"]*)"', entry["names"])
        names = [name for name in names if name not in seen]
        if not names:
            continue
        seen.update(names)
        row: Row = {"names": names}
        given = entry["signature"].partition(",")[2]
        if "bool" in given:
            row |= {"off": re.findall(r'"(-[^"]*)"', entry["off"] or ""), "takes": "switch"}
        elif not given:
            row["takes"] = "none"
        elif "int" in given:
            row["value"] = "integer"
        elif given.count("string") > 1:
            row["takes"] = "two"
        if variable:
            row["variable"] = variable[1]
        yield row


def line_of(row: Row, meant: set[str]) -> str:
    """A row as TOML; choices only where the option means something to us."""
    shown = [f"names = {json.dumps(row['names'])}"]
    if row.get("off"):
        shown.append(f"off = {json.dumps(row['off'])}")
    for field, usual in (("takes", "one"), ("value", "text")):
        if row.get(field, usual) != usual:
            shown.append(f'{field} = "{row[field]}"')
    if "variable" in row:
        shown.append(f'variable = "{row["variable"]}"')
    if "choices" in row and meant & set(row["names"]):
        shown.append(f"choices = {json.dumps(row['choices'])}")
    return f"  {{ {', '.join(shown)} }},"


def main() -> None:
    """Write one table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("engine", choices=[*PARSERS, "llama.cpp"])
    asked.add_argument("source", type=Path, nargs="?")
    given = asked.parse_args()
    if given.engine in PARSERS:
        rows = list(rows_of_parser(PARSERS[given.engine]()))
    else:
        rows = list(rows_of_source(given.source.read_text()))
    path = TABLES / f"{given.engine}.toml"
    head = path.read_text().partition(MARK)[0]
    meant = set(tomllib.loads(head).get("means", {}))
    body = "\n".join(line_of(row, meant) for row in rows)
    path.write_text(f"{head}{MARK}\n[rows]\noptions = [\n{body}\n]\n")
    print(f"{path.name}: {len(rows)} options")


if __name__ == "__main__":
    main()
