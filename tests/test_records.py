"""Records: frozen, closed, finite, and refused in one sentence that names the field."""

import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError, create_model, model_validator

from planner.errors import InputError, told
from planner.faults import field_name
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan
from planner.records import LINE, Record
from planner.workload import Workload
from tests.instances import tiny_graph
from tests.lanes import spread


class Cable(Record):
    """A cable."""

    length_m: Annotated[float, Field(gt=0)]
    """From plug to plug."""
    strands: tuple[int, ...] = ()

    @model_validator(mode="after")
    def check_strands(self):
        if len(self.strands) > 3:
            raise InputError(f"Cable.strands: at most 3 of them, not {len(self.strands)}")
        if 13 in self.strands:
            raise ValueError("13 brings bad luck")
        return self


class Loom(Record):
    """Cables, tied together."""

    cables: tuple[Cable, ...]
    label: str = "loom"


CABLE = Cable(length_m=1.5, strands=(1, 2))

REFUSED = [
    (Cable, {}, "Cable.length_m is missing"),
    (Cable, {"length_m": -1}, "Cable.length_m must be above 0, not -1"),
    (
        Cable,
        {"length_m": "long"},
        "Cable.length_m must be a number, not 'long'",
    ),
    (Cable, {"length_m": math.nan}, "Cable.length_m must be a finite number, not nan"),
    (Cable, {"length_m": math.inf}, "Cable.length_m must be a finite number, not inf"),
    (Cable, {"length_m": -math.inf}, "Cable.length_m must be a finite number, not -inf"),
    (Cable, {"length_m": None}, "Cable.length_m must be a number, not None"),
    (
        Cable,
        {"length_m": 1, "colour": "red"},
        "Cable.colour is not a field of it; did you mean length_m or strands?",
    ),
    (Cable, {"length_m": 1, "strands": (1, 2, 3, 4)}, "Cable.strands: at most 3 of them, not 4"),
    (Cable, {"length_m": 1, "strands": (13,)}, "Cable: 13 brings bad luck"),
    (
        Cable,
        {"length_m": 0, "strands": ("a", "b")},
        "Cable.length_m must be above 0, not 0 (and 1 more such fault)",
    ),
    (
        Cable,
        {"length_m": 0, "strands": ("a",)},
        "Cable.length_m must be above 0, not 0 (and 1 more such fault)",
    ),
    (
        Loom,
        {"cables": [{"length_m": 1}, {"length_m": 0}]},
        "Loom.cables[1].length_m must be above 0, not 0",
    ),
    (
        Loom,
        {"cables": [{"length_m": 1, "ends": 2}]},
        "Loom.cables[0].ends is not a field of it; did you mean strands or length_m?",
    ),
    (
        Loom,
        {"cables": [{"length_m": math.nan}]},
        "Loom.cables[0].length_m must be a finite number, not nan",
    ),
    (
        Loom,
        {"cables": [{"length_m": 1, "strands": (1, 2, 3, 4)}]},
        "Cable.strands: at most 3 of them, not 4",
    ),
]


@pytest.mark.parametrize(("noun", "fields", "sentence"), REFUSED)
def test_a_bad_field_is_refused_in_one_sentence_that_names_it(noun, fields, sentence):
    with pytest.raises(InputError) as built:
        noun(**fields)
    with pytest.raises(InputError) as read:
        noun.from_fields(fields)
    assert str(built.value) == str(read.value) == sentence


def test_a_kind_that_there_is_not_is_told_in_a_few_letters():
    fields = json.loads(tiny_graph(1).to_json())
    fields["layers"][0]["operators"][0]["kind"] = [{}] * 20_000
    with pytest.raises(InputError, match=r"operators\[0\]") as refusal:
        ModelGraph.from_json(json.dumps(fields))
    assert len(str(refusal.value)) < 700


@pytest.mark.parametrize(
    "fields",
    [
        {"length_m": "two\nlines" * 100},
        {"length_m": 1, "two\nlines" * 100: 1},
        {"length_m": list(range(10**4))},
    ],
)
def test_a_refusal_is_one_short_line_whatever_was_given(fields):
    with pytest.raises(InputError) as refusal:
        Cable(**fields)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "nonsense", b"\xff\xfe", '{"length_m": NaN}', '{"length_m": 1e999}']
)
def test_text_that_is_no_record_is_refused_by_name(text):
    with pytest.raises(InputError, match=r"^Cable[^\n]+$"):
        Cable.from_json(text)


@pytest.mark.parametrize("text", ["", "{", "nonsense"])
def test_text_that_is_not_json_is_called_so(text):
    with pytest.raises(InputError, match=r"^Cable is not valid JSON \("):
        Cable.from_json(text)


def test_a_record_stays_as_it_is():
    with pytest.raises(ValidationError, match="frozen"):
        CABLE.length_m = 2.0
    with pytest.raises(ValidationError, match="frozen"):
        del CABLE.length_m
    assert CABLE.length_m == 1.5


def test_equal_records_are_one_key():
    assert len({CABLE, Cable(length_m=1.5, strands=(1, 2)), Cable(length_m=2)}) == 2


def test_lists_become_tuples():
    assert Cable(length_m=1, strands=[1, 2]).strands == (1, 2)


def test_replacing_a_field_leaves_the_others_and_validates_the_whole():
    assert CABLE.replace(length_m=3) == Cable(length_m=3, strands=(1, 2))
    with pytest.raises(InputError, match=r"^Cable\.length_m must be above 0"):
        CABLE.replace(length_m=0)
    with pytest.raises(InputError, match=r"^Cable\.strands: at most 3"):
        CABLE.replace(strands=(1, 2, 3, 4))
    with pytest.raises(
        InputError,
        match=r"^Cable\.colour is not a field of it; did you mean length_m or strands\?$",
    ):
        CABLE.replace(colour="red")


@pytest.mark.parametrize("length", [0.1, 1 / 3, 1e-300, 1.7e308, 123456789.123456789, 5e-324])
def test_json_gives_back_the_same_float_to_the_last_bit(length):
    loom = Loom(cables=(Cable(length_m=length),), label='é "quoted"\n')
    assert Loom.from_json(loom.to_json()) == loom
    assert Loom.from_json(loom.to_json(indent=None)).cables[0].length_m.hex() == length.hex()


def test_text_that_json_cannot_hold_is_refused_when_it_is_written():
    loom = Loom(cables=(), label="\ud800")
    with pytest.raises(InputError, match=r"^Loom holds text that UTF-8 cannot hold"):
        loom.to_json()


def test_the_schema_is_closed_and_carries_the_docstrings():
    schema = Loom.json_schema()
    cable = schema["$defs"]["Cable"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is cable["additionalProperties"] is False
    assert cable["properties"]["length_m"]["description"] == "From plug to plug."
    assert (schema["required"], cable["required"]) == (["cables"], ["length_m"])


def test_the_schema_of_a_field_that_a_base_has_carries_the_docstring_of_the_base():
    class Rope(Cable):
        """A cable of hemp."""

        knots: int = 0

    fields = Rope.json_schema()["properties"]
    assert fields["length_m"]["description"] == "From plug to plug."
    assert "description" not in fields["knots"]


def test_a_record_without_a_portrait_shows_its_fields():
    assert CABLE._repr_mimebundle_() == {"text/plain": "length_m=1.5 strands=(1, 2)"}
    assert str(Workload(batch_size=3)).startswith("batch_size=3 ")


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (CABLE, "Cable(length_m=1.5, strands=(1, 2))"),
        (Cable(length_m=2), "Cable(length_m=2)"),
        (Cable(length_m=1, strands=(1,)), "Cable(length_m=1, strands=(1,))"),
        (Loom(cables=(CABLE, CABLE)), "Loom(cables=2 × Cable)"),
        (Loom(cables=(), label="x" * 100), f"Loom(cables=(), label='{'x' * 39}…')"),
        (Workload(), "Workload()"),
    ],
)
def test_repr_is_a_line_of_what_is_not_as_usual(record, line):
    assert repr(record) == line


def test_repr_of_a_record_that_holds_much_is_a_line_all_the_same():
    many = create_model(
        "Many", __base__=Record, **{f"figure_{n}": (float, ...) for n in range(100)}
    )
    line = repr(many(**{f"figure_{n}": 0.5 for n in range(100)}))
    assert line.startswith("Many(figure_0=0.5, figure_1=0.5, ")
    assert line.endswith("…)")
    assert len(line) == LINE


def test_a_record_that_was_built_without_checks_has_a_repr_too():
    assert repr(Plan.model_construct(micro_batches=3)) == "Plan(micro_batches=3)"
    assert repr(Loom.model_construct()) == "Loom()"


def test_completion_offers_our_names_and_not_those_of_pydantic():
    offered = set(dir(CABLE))
    assert {"length_m", "strands", "replace", "to_json", "from_json"} <= offered
    public = {name for name in offered if not name.startswith("_")}
    assert public & set(dir(BaseModel)) == set()
    assert "check_strands" in public
    # What tools look for is there, and pydantic's own names still work.
    assert {"__class__", "__dict__", "__doc__"} <= offered
    assert CABLE.model_dump() == {"length_m": 1.5, "strands": (1, 2)}


def test_a_record_that_holds_records_shows_them_in_brief():
    loom = Loom(cables=(CABLE,) * 3)
    assert str(loom) == "cables=3 × Cable label='loom'"


def test_a_record_that_knows_how_to_show_itself_does():
    assert str(ChipRange(first=4, count=4)) == "4-7"


ROOT = Path(__file__).resolve().parent.parent
DOORS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "planner").rglob("*.py"))
    if path.stem == "__init__" or "(Record):" in path.read_text(encoding="utf-8")
]
"""Every room, and every module that a record comes from."""
FEW_DOORS = ["planner.report", *spread(DOORS, 8)]
"""As many as the usual suite comes through; `make oracle` comes through all of them."""

SHOW_AFTER_EACH = """
import gc, importlib, json, os, sys

# What is not ours, once for all: of our modules each child imports one, and then shows.
import networkx, numpy, pydantic

gc.freeze()
shown = {}
for module in sys.argv[1:]:
    reading, writing = os.pipe()
    if os.fork() == 0:
        importlib.import_module(module)
        from planner.catalogue import load_topology

        machine = load_topology("hgx-h100", chips=8)
        os.write(writing, str(machine).partition(chr(10))[0].encode())
        if "text/html" in machine._repr_mimebundle_():
            os.write(writing, b", and in HTML")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        shown[module] = said.read().decode()
    os.wait()
assert not any(name.startswith("planner") for name in sys.modules)
print(json.dumps(shown))
"""


def shown_after(modules):
    """What a machine shows of itself in a process that imported just one of our modules before."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW_AFTER_EACH, *modules],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")
def test_a_record_shows_itself_whatever_door_one_came_through():
    shown = shown_after(["planner", "planner.records", "planner.catalogue", "planner.plan"])
    assert len(shown) == 4
    for words in shown.values():
        assert words.startswith("hgx-h100: ")
        assert words.endswith(", and in HTML")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")
def test_a_record_shows_itself_whatever_module_was_imported_first():
    shown = shown_after(FEW_DOORS)
    assert len(shown) >= 8
    assert set(shown.values()) == {shown["planner.report"]}
    assert shown["planner.report"].endswith(", and in HTML")


def test_a_place_is_named_as_python_would_write_it():
    assert field_name("Topology", ("fabrics", 0, "latency_s")) == "Topology.fabrics[0].latency_s"
    assert field_name("Topology", ()) == "Topology"


def test_what_was_given_is_said_short():
    assert told("text") == "'text'"
    assert told(2.5) == "2.5"
    assert len(told("x" * 1000)) == 42
    assert told(list(range(1000))) == "[0, 1, 2, 3, 4, 5, ...]"
    assert len(told(b"x" * 1000)) == 40


def test_what_is_found_out_about_a_record_is_kept_with_it_and_with_no_other():
    asked = []

    def doubled(cable):
        asked.append(cable)
        return [2 * cable.length_m]

    cable, twin = CABLE.replace(), CABLE.replace()
    assert cable.kept(doubled) is cable.kept(doubled)
    assert twin.kept(doubled) == cable.kept(doubled) == [3.0]
    assert len(asked) == 2
    assert cable.replace(length_m=2.0).kept(doubled) == [4.0]
    assert cable == CABLE
    assert cable.to_json() == CABLE.to_json()
    assert pickle.loads(pickle.dumps(cable)) == cable
