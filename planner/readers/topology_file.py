"""A machine from a TOML file: topologies, and the chips and software stacks that they name.

A figure is text with a unit ("450 GB/s"), or a table that also says where it comes from: `{ value =
"450 GB/s", source = "…", confidence = "B", note = "…" }`. A topology may hold its chip and its
software as tables of its own, or name those of the catalogue.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planner.errors import InputError, listed, nearest_names, shortened, told
from planner.machines.accounts import price_figure
from planner.machines.engine import Engine
from planner.machines.prices import MOST_USD, Economics, Offer, Price, offered
from planner.machines.software import (
    CollectiveKernel,
    Covered,
    NativeFormat,
    Residual,
    Software,
    Widening,
)
from planner.machines.topology import Figure, Topology
from planner.records import Record
from planner.units import parse_quantity

Fields = dict[str, Any]
Finder = Callable[[str], Mapping[str, Any]]

# Key in the file: field of the record and dimension; "" is a bare number.
CHIP_MEMORY = {
    "capacity": ("capacity_bytes", "bytes"),
    "bandwidth": ("bandwidth_bytes_per_s", "bytes per second"),
}
CHIP = {
    "compute_efficiency": ("compute_efficiency", ""),
    "memory_efficiency": ("memory_efficiency", ""),
    "arithmetic_share": ("arithmetic_share", ""),
    "meeting_latency": ("meeting_latency_s", "seconds"),
    "signal_latency": ("signal_latency_s", "seconds"),
}
FABRIC = {
    "bandwidth": ("bandwidth_bytes_per_s", "bytes per second"),
    "latency": ("latency_s", "seconds"),
    "wraps_from": ("wraps_from", ""),
    "detour_bandwidth": ("detour_bandwidth_bytes_per_s", "bytes per second"),
}
LINK = {
    "bandwidth": ("bandwidth_bytes_per_s", "bytes per second"),
    "latency": ("latency_s", "seconds"),
}
HOST = {
    "link_bandwidth": ("bandwidth_bytes_per_s", "bytes per second"),
    "link_latency": ("latency_s", "seconds"),
}
SOFTWARE = {
    "kernel_overhead": ("kernel_overhead_s", "seconds"),
    "matmul_overhead": ("matmul_overhead_s", "seconds"),
    "quantised_overhead": ("quantised_overhead_s", "seconds"),
    "attention_overhead": ("attention_overhead_s", "seconds"),
    "experts_overhead": ("experts_overhead_s", "seconds"),
    "layer_overhead": ("layer_overhead_s", "seconds"),
    "layer_crossing": ("layer_crossing_s", "seconds"),
    "layer_occupancy": ("layer_occupancy", ""),
    "sequence_overhead": ("sequence_overhead_s", "seconds"),
    "request_overhead": ("request_overhead_s", "seconds"),
    "burst_share": ("burst_share", ""),
    "handover_rounds": ("handover_rounds", ""),
    "interruption_share": ("interruption_share", ""),
    "unfused_share": ("unfused_share", ""),
    "quantised_efficiency": ("quantised_efficiency", ""),
    "narrow_efficiency": ("narrow_efficiency", ""),
    "attention_efficiency": ("attention_efficiency", ""),
    "experts_efficiency": ("experts_efficiency", ""),
    "widened_efficiency": ("widened_efficiency", ""),
    "experts_tile_tokens": ("experts_tile_tokens", ""),
    "skipping_efficiency": ("skipping_efficiency", ""),
    "step_overhead": ("step_overhead_s", "seconds"),
    "draft_overhead": ("draft_overhead_s", "seconds"),
    "hop_overhead": ("hop_overhead_s", "seconds"),
    "hidden_exchange_share": ("hidden_exchange_share", ""),
    "collective_overhead": ("collective_overhead_s", "seconds"),
    "reserved": ("reserved_bytes", "bytes"),
    "group_reserved": ("group_reserved_bytes", "bytes"),
    "live_streams": ("live_streams", ""),
    "sampling_streams": ("sampling_streams", ""),
    "logit": ("logit_bytes", "bytes"),
    "compute_efficiency": ("compute_efficiency", ""),
    "memory_efficiency": ("memory_efficiency", ""),
    "cache_efficiency": ("cache_efficiency", ""),
    "usable_memory": ("usable_memory_fraction", ""),
    "prefill_chunk_tokens": ("prefill_chunk_tokens", ""),
    "kv_block_tokens": ("kv_block_tokens", ""),
    "reserved_output_share": ("reserved_output_share", ""),
    "most_sequences": ("most_sequences", ""),
    "most_tensor_parallel": ("most_tensor_parallel", ""),
}
COLLECTIVE = {
    "base_latency": ("base_latency_s", "seconds"),
    "step_latency": ("step_latency_s", "seconds"),
    "across_base_latency": ("across_base_latency_s", "seconds"),
    "across_step_latency": ("across_step_latency_s", "seconds"),
    "bandwidth_fraction": ("bandwidth_fraction", ""),
    "across_bandwidth_fraction": ("across_bandwidth_fraction", ""),
}
TUNING = {
    "widening": ("widening_flop_per_weight", ""),
    "compute_efficiency": ("compute_efficiency", ""),
    "memory_efficiency": ("memory_efficiency", ""),
    "cache_efficiency": ("cache_efficiency", ""),
}
DRAWN = ("idle_share", "compute_activity", "memory_activity")
MOST_LENDERS = 8
"""Stacks of which each takes figures from the next; the catalogue has two."""
MOST_COLLECTIVES = 500
"""Of one stack; the catalogue's largest has a tenth."""
ORIGIN = ("source", "confidence", "note", "within")
"""What a figure may say beside its value."""
FLAGS = (
    "balances_prompts",
    "pads_heads",
    "launches_ahead",
    "embedding_on_host",
    "exchanges_apart",
    "leaves_chips_without_heads",
    "packs_prompts",
    "quantised_dispatch",
    "shares_out_caches",
)
"""Fields of a software stack that are true or false."""
PLAIN = {
    "topology": {
        "name",
        "title",
        "aliases",
        "chips",
        "most_chips",
        "divisible",
        "chip",
        "software",
        "host",
        "fabric",
        "power",
        "price",
        "rack",
    },
    "rack": {"chips", "power", "rack_units", "floor_m2"},
    "host": {"name", "peak", "memory", "architecture", *CHIP, *HOST},
    "chip": {"name", "peak", "power", "memory", "skips", "architecture", *DRAWN, *CHIP},
    "memory": {"name", *CHIP_MEMORY},
    "fabric": {"name", "shape", "units", "dimensions", "reduces_in_network", "link", *FABRIC},
    "link": {"between", *LINK},
    "software": {
        "name",
        "title",
        "collective",
        "tuning",
        "native",
        "other_models",
        "named_for",
        "residual",
        "widening",
        "covers",
        "engine",
        "attends_in_cache_dtype",
        "dispatched_wide",
        "stores_kept_in",
        "widens_in_memory",
        *FLAGS,
        *SOFTWARE,
    },
    "engine": set(Engine.model_fields),
    "collective": {
        "algorithm",
        "kinds",
        "most_ranks",
        "across_nodes",
        "least_units",
        "meets",
        *COLLECTIVE,
    },
    "tuning": {"architecture", *TUNING},
    "native": set(NativeFormat.model_fields),
    "power": {"system", "chip", "host_share"},
    "price": {
        "chip",
        "node",
        "rental",
        "purchase",
        "lease",
        "lease_fee",
        "lease_years",
        "input_tokens",
        "output_tokens",
        "licence",
        "licence_chips",
    },
}
"""Keys of each table of a file."""


def topology_from(
    fields: Mapping[str, Any],
    *,
    find_chip: Finder,
    find_software: Finder,
    find_host: Finder,
    software: str | None,
) -> Topology:
    """The topology that a parsed file describes; `software` replaces the stack that it names."""
    known_keys(fields, "topology")
    book = Book()
    chip = _named_or_own(fields.get("chip"), find_chip, "chip")
    stack = composed(
        find_software(software)
        if software
        else _named_or_own(fields.get("software"), find_software, "software"),
        find_software,
    )
    numbered = enumerate(tables(fields, "fabric"))
    fabrics = [book.fabric(fabric, number) for number, fabric in numbered]

    watts = book.power(chip, _table(fields, "power"))
    made: Fields = {
        "name": fields.get("name"),
        "title": fields.get("title", ""),
        "chip": book.chip(chip),
        "fabrics": fabrics,
        "software": book.software(stack),
        "other_software": _other_software(stack, "named_for" if software else "other_models"),
        "host": _host(fields, find_host, book),
        "power": watts,
        "price": book.price(_table(fields, "price"), watts),
        "rack": _rack(_table(fields, "rack")),
        "divisible": fields.get("divisible", False),
        "most_chips": fields.get("most_chips"),
        "chips": fields.get("chips", math.prod(_units(fabric) for fabric in fabrics)),
    }
    if made["name"] is None:
        raise InputError("topology.name is missing; give it a name in kebab-case")
    return Topology.from_fields({**made, "figures": book.figures})


def _other_software(stack: Mapping[str, Any], key: str) -> list[Fields]:
    """The names of the stacks of models that one is not made for, by class of models: of those
    that people take where nobody chose one, or of those that are meant where it is named."""
    named = _table(stack, key)
    for models, name in named.items():
        if not isinstance(name, str):
            raise InputError(
                f"software.{key}.{shortened(models)} must be the name of a software stack"
            )
    return [{"models": models, "software": name} for models, name in named.items()]


def stack_from(fields: Mapping[str, Any], find_software: Finder) -> tuple[Software, list[Figure]]:
    """The software stack that a parsed file describes, and where its figures come from."""
    book = Book()
    return Software.from_fields(book.software(composed(fields, find_software))), book.figures


def _host(fields: Mapping[str, Any], find: Finder, book: "Book") -> Fields | None:
    """The computer that the chips stand in, where one is named or described."""
    if "host" not in fields:
        return None
    return book.host(_named_or_own(fields["host"], find, "host"))


def _units(fabric: Fields) -> int:
    """Of a level, where they are a number; what else stands there is refused with the record."""
    units = fabric.get("units")
    return units if isinstance(units, int) and units > 0 else 1


def software_from(fields: Mapping[str, Any], find_software: Finder) -> Software:
    """The software stack that a parsed file describes."""
    return stack_from(fields, find_software)[0]


def composed(fields: Mapping[str, Any], find_software: Finder) -> Mapping[str, Any]:
    """A stack with what it takes from others: each figure that it does not state from the one
    under `kernels_of`, and the collectives of those under `collectives_of`, before its own."""
    return _Lenders(find_software).composed(fields, ())


class _Lenders:
    """The stacks that one takes figures from: each is read once, however often it is named."""

    def __init__(self, find: Finder) -> None:
        self._find = find
        self._made: dict[str, Mapping[str, Any]] = {}

    def composed(self, fields: Mapping[str, Any], way: tuple[str, ...]) -> Mapping[str, Any]:
        """`way`: by which stacks the search came to this one."""
        stated = dict(fields)
        lender = stated.pop("kernels_of", None)
        named = stated.pop("collectives_of", [])
        if "kernels_of" in fields:
            if not isinstance(lender, str):
                raise InputError("software.kernels_of must be the name of a software stack")
            lent = self._lent(lender, way)
            stated = {key: lent[key] for key in lent if key in SOFTWARE} | stated
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise InputError("software.collectives_of must be a list of names of software stacks")
        if not named:
            return stated

        taken: list[Mapping[str, Any]] = []
        for name in named:
            taken += tables(self._lent(name, way), "collective")
            if len(taken) > MOST_COLLECTIVES:
                raise InputError(
                    f"software.collectives_of brings more than {MOST_COLLECTIVES} collectives;"
                    " name each stack once"
                )
        return stated | {"collective": [*taken, *tables(fields, "collective")]}

    def _lent(self, name: str, way: tuple[str, ...]) -> Mapping[str, Any]:
        """What another stack has, and takes from others itself."""
        if name in way:
            raise InputError(
                f"software {told(name)} takes figures from itself, through the stacks that it names"
            )
        if len(way) == MOST_LENDERS:
            raise InputError(
                f"software {told(way[0])} takes figures from stacks that take them from others,"
                f" more than {MOST_LENDERS} deep"
            )
        if name not in self._made:
            self._made[name] = self.composed(self._find(name), (*way, name))
        return self._made[name]


def software_toml(software: Software, *, note: str = "") -> str:
    """A software stack as a file that `software_from` reads back."""
    tail = f', source = "FIT", confidence = "fit", note = {_quoted(note)} }}'
    lines = [f"name = {_quoted(software.name)}"]
    lines += [f"{name} = true" for name in FLAGS if getattr(software, name)]
    for name in ("attends_in_cache_dtype", "dispatched_wide", "widens_in_memory"):
        if able := getattr(software, name):
            lines.append(f"{name} = [{', '.join(map(_quoted, able))}]")
    if software.stores_kept_in is not None:
        lines.append(f"stores_kept_in = {_quoted(software.stores_kept_in)}")
    lines += _toml_figures(software, SOFTWARE, tail)

    for tuning in software.tunings:
        lines += [
            "",
            "[[tuning]]",
            f"architecture = {_quoted(tuning.architecture)}",
            *_toml_figures(tuning, TUNING, tail),
        ]
    for native in software.natives:
        stated = native.model_dump(exclude_defaults=True)
        lines += ["", "[[native]]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in stated.items()]
    for kernel in software.collectives:
        kinds = ", ".join(map(_quoted, kernel.kinds))
        lines += [
            "",
            "[[collective]]",
            f"algorithm = {_quoted(kernel.algorithm)}",
            f"kinds = [{kinds}]",
            *_toml_counts(kernel),
            f"across_nodes = {str(kernel.across_nodes).lower()}",
            *(["meets = true"] if kernel.meets else []),
            *_toml_figures(kernel, COLLECTIVE, tail),
        ]
    lines += _toml_rules(software.engine)
    lines += intervals_toml(software.residuals, software.widenings, software.covers)
    return "\n".join(lines) + "\n"


def intervals_toml(
    residuals: Sequence[Residual], widenings: Sequence[Widening], covers: Sequence[Covered]
) -> list[str]:
    """Lines that say how sure a stack's figures are, and of what."""
    lines = []
    for like in dict.fromkeys(one.like for one in residuals):
        lines += ["", f"[residual.{_quoted(like)}]" if like else "[residual]"]
        lines += [f"{one.field} = {one.half_width!r}" for one in residuals if one.like == like]
    if widenings:
        lines += ["", "[widening]"]
        lines += [f"{_quoted(one.reason)} = {one.half_width!r}" for one in widenings]
    for covered in covers:
        stated = covered.model_dump(exclude_defaults=True)
        lines += ["", "[[covers]]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in stated.items()]
    return lines


def _toml_counts(kernel: CollectiveKernel) -> list[str]:
    """How many chips a kernel is for; of the innermost level, only where it asks for more than
    one."""
    lines = [f"most_ranks = {kernel.most_ranks}"]
    if kernel.least_units != 1:
        lines.append(f"least_units = {kernel.least_units}")
    return lines


def _toml_rules(engine: Engine) -> list[str]:
    """What an engine can be started with, where that is not any plan."""
    rules = engine.model_dump(exclude_defaults=True)
    if not rules:
        return []
    return ["", "[engine]", *(f"{name} = {json.dumps(rule)}" for name, rule in rules.items())]


def _toml_figures(record: Record, keys: Mapping[str, tuple[str, str]], tail: str) -> list[str]:
    units = {"seconds": " s", "bytes": " B"}
    found = []
    for key, (name, dimension) in keys.items():
        value = getattr(record, name)
        if value is not None:
            text = _quoted(f"{value!r}{units[dimension]}") if dimension else repr(value)
            found.append(f"{key} = {{ value = {text}{tail}")
    return found


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def known_keys(fields: Mapping[str, Any], table: str) -> None:
    """Refuse a key that the table does not have."""
    for key in fields:
        if key not in PLAIN[table]:
            nearest = listed(nearest_names(key, PLAIN[table]), "or")
            raise InputError(
                f"{table}.{shortened(key)} is not a field of a {table}; did you mean {nearest}?"
            )


def tables(fields: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The array of tables under a key."""
    found = fields.get(key, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise InputError(f"{key} must be an array of tables, written as [[{key}]]")
    return found


def _table(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = fields.get(key, {})
    if not isinstance(found, dict):
        raise InputError(f"{key} must be a table, written as [{key}]")
    return found


def _engine(fields: Mapping[str, Any]) -> Fields:
    """What a software can be started with, with the source of the rules beside them; a table with
    a note alone says that none are known."""
    stated = _table(fields, "engine")
    known_keys(stated, "engine")
    return dict(stated)


def _natives(stated: Any) -> list[Fields]:
    """What a software multiplies 4-bit floats in, with the source beside it."""
    found = tables({"native": stated}, "native")
    for one in found:
        known_keys(one, "native")
    return [dict(one) for one in found]


def _named_or_own(given: Any, find: Finder, what: str) -> Mapping[str, Any]:
    if isinstance(given, dict):
        return given
    if isinstance(given, str):
        return find(given)
    raise InputError(
        f"topology.{what} must be a name of the catalogue or a table, written as [{what}]"
    )


def _entry_of(given: Any, field: str) -> Mapping[str, Any]:
    """A figure as a table, with its value under `value`."""
    entry = given if isinstance(given, dict) else {"value": given}
    wrong = "" if "value" in entry else "it has no value"
    unknown = set(entry) - {"value", "dtype", *ORIGIN}
    if unknown:
        wrong = f"{shortened(min(unknown))} is not one of its fields"
    if wrong:
        raise InputError(
            f"{field} must be a figure or a table with value, {listed(ORIGIN)}; {wrong}"
        )
    return entry


def _number_of(value: Any, dimension: str, field: str) -> Any:
    """In SI, from text with a unit; a bare number where a figure has no dimension."""
    if dimension:
        return parse_quantity(value, dimension, field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{field} must be a number, not {told(value, 60)}")
    return value


class Book:
    """Turns tables of a file into fields of records, and writes down where every figure comes
    from."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def figure(self, given: Any, path: str, dimension: str, field: str) -> Any:
        """The SI value of a figure."""
        entry = _entry_of(given, field)
        value = _number_of(entry["value"], dimension, field)
        origin = {key: entry[key] for key in ORIGIN if key in entry}
        stated = {"source": "", "confidence": "stated"} | origin
        try:
            noted = {"path": path, "value": float(value), **stated}
            self.figures.append(Figure.from_fields(noted))
        except (InputError, OverflowError) as error:
            raise InputError(f"{field}: {error}") from None
        return value

    def values(
        self,
        fields: Mapping[str, Any],
        keys: Mapping[str, tuple[str, str]],
        path: str,
        table: str,
        where: str,
    ) -> Fields:
        """The figures of a table as fields of its record, what is no figure as it stands."""
        known_keys(fields, table)
        made: Fields = {}
        for key, given in fields.items():
            if key in keys:
                name, dimension = keys[key]
                made[name] = self.figure(given, f"{path}.{name}", dimension, f"{where}.{key}")
            else:
                made[key] = given
        return made

    def fabric(self, fields: Mapping[str, Any], number: int) -> Fields:
        path = f"fabrics[{number}]"
        made = self.values(fields, FABRIC, path, "fabric", f"fabric[{number}]")
        made.pop("link", None)
        made["links"] = [
            self.values(link, LINK, f"{path}.links[{at}]", "link", f"fabric[{number}].link[{at}]")
            for at, link in enumerate(tables(fields, "link"))
        ]
        return made

    def power(self, chip: Mapping[str, Any], fields: Mapping[str, Any]) -> Fields:
        """What a chip draws, from its own table and from that of the machine."""
        known_keys(fields, "power")
        watts: Fields = {}
        if "power" in chip:
            watts["chip_w"] = self.figure(chip["power"], "power.chip_w", "watts", "chip.power")
        for name in DRAWN:
            if name in chip:
                watts[name] = self.figure(chip[name], f"power.{name}", "", f"chip.{name}")
        for scope in sorted(fields.keys() - {"host_share"}):
            path = f"power.{scope}_w"
            watts[f"{scope}_w"] = self.figure(fields[scope], path, "watts", f"power.{scope}")
        if "host_share" in fields:
            path = "power.host_share"
            watts["host_share"] = self.figure(fields["host_share"], path, "", path)
        return watts

    def host(self, fields: Mapping[str, Any]) -> Fields:
        """A host's file holds a chip's figures, and those of the link to it."""
        known_keys(fields, "host")
        for key in HOST:
            if key not in fields:
                raise InputError(
                    f"host.{key} is missing; give the bandwidth and the latency of copies to a chip"
                )
        link = {
            name: self.figure(fields[key], f"host.{name}", dimension, f"host.{key}")
            for key, (name, dimension) in HOST.items()
        }
        processor = {key: given for key, given in fields.items() if key not in HOST}
        return {
            "name": fields.get("name", ""),
            "processor": self.processor(processor, "host.processor", "host"),
            **link,
        }

    def chip(self, fields: Mapping[str, Any]) -> Fields:
        known_keys(fields, "chip")
        return self.processor(fields, "chip", "chip")

    def processor(self, fields: Mapping[str, Any], path: str, table: str) -> Fields:
        """A chip, or what of a host computes, whose figures stand under a path."""
        peaks = []
        for number, peak in enumerate(tables(fields, "peak")):
            where = f"{table}.peak[{number}]"
            value = self.figure(
                peak, f"{path}.peaks[{number}].flop_per_s", "operations per second", where
            )
            peaks.append({"dtype": peak.get("dtype"), "flop_per_s": value})
        memory = [
            self.values(
                tier, CHIP_MEMORY, f"{path}.memory[{number}]", "memory", f"{table}.memory[{number}]"
            )
            for number, tier in enumerate(tables(fields, "memory"))
        ]
        shares = {key: fields[key] for key in CHIP if key in fields}
        reached = {
            CHIP[key][0]: self.figure(
                given, f"{path}.{CHIP[key][0]}", CHIP[key][1], f"{table}.{key}"
            )
            for key, given in shares.items()
        }
        return {
            "name": fields.get("name"),
            "peaks": peaks,
            "memory": memory,
            "skips": fields.get("skips", ()),
            "architecture": fields.get("architecture", ""),
            **reached,
        }

    def software(self, fields: Mapping[str, Any]) -> Fields:
        made = self.values(fields, SOFTWARE, "software", "software", "software")
        made.pop("title", None)
        made.pop("collective", None)
        made.pop("tuning", None)
        made.pop("other_models", None)
        made.pop("named_for", None)
        made["natives"] = _natives(made.pop("native", []))
        made["residuals"] = self.residuals(_table(made, "residual"))
        made.pop("residual", None)
        widenings = _table(made, "widening")
        made["widenings"] = [
            {"reason": name, "half_width": width} for name, width in widenings.items()
        ]
        made.pop("widening", None)
        made["engine"] = _engine(fields)
        made["tunings"] = [
            self.values(
                tuning, TUNING, f"software.tunings[{number}]", "tuning", f"tuning[{number}]"
            )
            for number, tuning in enumerate(tables(fields, "tuning"))
        ]
        made["collectives"] = [
            self.values(
                kernel,
                COLLECTIVE,
                f"software.collectives[{number}]",
                "collective",
                f"collective[{number}]",
            )
            for number, kernel in enumerate(tables(fields, "collective"))
        ]
        return made

    def residuals(self, fields: Mapping[str, Any]) -> list[Fields]:
        """How far predictions lay from measurements, by field of `Score`; a table among them
        holds those of rows of one sort, which are no figures to be doubted one by one."""
        own = {name: width for name, width in fields.items() if not isinstance(width, dict)}
        made: list[Fields] = []
        for number, (name, width) in enumerate(own.items()):
            found = {"value": width, "source": "FIT", "confidence": "fit"}
            path, where = f"software.residuals[{number}].half_width", f"residual.{name}"
            made.append({"field": name, "half_width": self.figure(found, path, "", where)})
        for like, widths in fields.items():
            if like not in own:
                made += [
                    {"field": name, "half_width": width, "like": like}
                    for name, width in widths.items()
                ]
        return made

    def price(self, fields: Mapping[str, Any], watts: Mapping[str, float]) -> Price:
        """What a chip costs, on every basis that is stated; who bought it pays for the power of
        what was bought."""
        known_keys(fields, "price")
        if "node" in fields and "purchase" in fields:
            raise InputError(
                "give price.node or price.purchase, not both: each is the price of a chip with its"
                " share of the node"
            )
        chip_w = watts.get("chip_w")
        system_w = watts.get("system_w")
        powers = {"chip": chip_w or system_w or 0.0, "node": system_w or chip_w or 0.0}
        offers = [
            _offer(fields[key], key, powers)
            for key in ("chip", "node", "purchase", "rental")
            if fields.get(key) is not None
        ]
        offers += _leases(fields, powers["node"])
        offers += _token_prices(fields)
        price = offered(tuple(offers), Economics(), licence_usd=_licence(fields))
        figure = price_figure(price)
        if figure is not None:
            self.figures.append(figure)
        return price


def _rack(fields: Mapping[str, Any]) -> Fields | None:
    """What a rack or a box holds, draws and takes up, with where that comes from."""
    known_keys(fields, "rack")
    if not fields:
        return None
    for key in ("chips", "power"):
        if key not in fields:
            raise InputError(
                f"rack.{key} is missing; give the chips in a rack or a box, and its power"
            )
    book = Book()
    made: Fields = {
        "chips": fields["chips"],
        "power_w": book.figure(fields["power"], "rack.power_w", "watts", "rack.power"),
    }
    for key in ("rack_units", "floor_m2"):
        if key in fields:
            made[key] = book.figure(fields[key], f"rack.{key}", "", f"rack.{key}")
    return {**made, "figures": book.figures}


def _leases(fields: Mapping[str, Any], power_w: float) -> list[Offer]:
    """A lease for each chip, by the month or the year: a fee besides goes over its term."""
    if "lease" not in fields:
        _refuse_alone(fields, ("lease_fee", "lease_years"), "lease")
        return []
    paid = {"lease_usd_per_chip_year": ("lease", "dollars per year")}
    if "lease_fee" in fields:
        paid["lease_fee_usd"] = ("lease_fee", "dollars")
    years = fields.get("lease_years")
    term = {} if years is None else {"lease_years": _number_of(years, "", "price.lease_years")}
    return [_stated_offer(fields, "lease", paid, power_w=power_w, **term)]


def _token_prices(fields: Mapping[str, Any]) -> list[Offer]:
    """What a provider asks for a million tokens, in and out."""
    if "output_tokens" not in fields:
        _refuse_alone(fields, ("input_tokens",), "output_tokens")
        return []
    paid = {"usd_per_million_output_tokens": ("output_tokens", "dollars per million tokens")}
    if "input_tokens" in fields:
        paid["usd_per_million_input_tokens"] = ("input_tokens", "dollars per million tokens")
    return [_stated_offer(fields, "token", paid)]


def _licence(fields: Mapping[str, Any]) -> float:
    """Software by the chip and year; one licence may be for several chips. [USD]"""
    if "licence" not in fields:
        _refuse_alone(fields, ("licence_chips",), "licence")
        return 0.0
    entry = _entry_of(fields["licence"], "price.licence")
    yearly = parse_quantity(entry["value"], "dollars per year", "price.licence")
    chips = _number_of(fields.get("licence_chips", 1), "", "price.licence_chips")
    if not (0 <= yearly <= MOST_USD and chips >= 1):
        raise InputError(
            f"price.licence must lie between 0 and {MOST_USD:.0e} USD/year, for one chip or more"
        )
    return yearly / float(chips)


def _refuse_alone(fields: Mapping[str, Any], keys: Sequence[str], missing: str) -> None:
    for key in keys:
        if key in fields:
            raise InputError(f"price.{key} needs price.{missing}; give that too")


def _stated_offer(
    fields: Mapping[str, Any], basis: str, paid: Mapping[str, tuple[str, str]], **more: float
) -> Offer:
    """An offer of several figures, whose origin is that of the first."""
    first, *_ = paid.values()
    entry = _entry_of(fields[first[0]], f"price.{first[0]}")
    origin = {name: entry[name] for name in ORIGIN if name in entry}
    usd = {
        name: parse_quantity(
            _entry_of(fields[key], f"price.{key}")["value"], dimension, f"price.{key}"
        )
        for name, (key, dimension) in paid.items()
    }
    try:
        return Offer.from_fields({"basis": basis, **origin, **usd, **more})
    except InputError as error:
        raise InputError(f"price.{first[0]}: {error}") from None


def _offer(given: Any, key: str, powers: Mapping[str, float]) -> Offer:
    """One price of a table. `purchase` is what files of before prices had a scope say of a chip
    and its share of the node."""
    field = f"price.{key}"
    entry = _entry_of(given, field)
    origin = {name: entry[name] for name in ORIGIN if name in entry}
    stated = {"basis": "node" if key == "purchase" else key, **origin}
    if key == "rental":
        hourly = parse_quantity(entry["value"], "dollars per hour", field)
        paid = {"rent_usd_per_chip_hour": hourly}
    else:
        bought = parse_quantity(entry["value"], "dollars", field)
        if not 0 <= bought <= MOST_USD:
            raise InputError(f"{field} must lie between 0 and {MOST_USD:.0e} USD, not {bought:.4g}")
        paid = {"purchase_usd": bought, "power_w": powers[str(stated["basis"])]}
    try:
        return Offer.from_fields({**stated, **paid})
    except InputError as error:
        raise InputError(f"{field}: {error}") from None
