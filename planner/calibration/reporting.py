"""The report of a calibration, as Markdown: errors by family, what was left out, the worst rows,
every constant."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from planner import catalogue
from planner.calibration.intervals import POOLED, Interval, coverages
from planner.calibration.leaving_out import Outside
from planner.calibration.measurements import Measurement
from planner.calibration.powers import NAMES, Drawn
from planner.calibration.promises import PROBABILITIES, Promise, kept_promises, promises_of
from planner.calibration.shipping import Shipped
from planner.calibration.validation import Case, Refused, accuracies_of

OPENING = """# Calibration

Written by `planner calibrate --shipped` (`make calibration`). Errors are factors: 10 % means a factor of 1.1, up or down;
a bias is the median of ln(predicted / measured)."""
LEFT_OUT = """The rows of each model, machine, source, maker of chips and generation of software are left out in turn and
predicted by constants that were fitted without them, as long as a quarter of a stack's rows remains; the interval is that of the
remaining rows. Where a stack has only one of each, its rows are left out one by one."""
EVIDENCE = """What an interval rests on: rows of the same kind remained (measured), only rows of a similar chip, format or load
remained (near measured), or neither (extrapolated)."""
PROMISES = """For the request times and token rates that were left out: the share that is no worse than what a plan promises with
a probability (`sure=`). ± is how far this share would spread around 80 % by chance, if so many measured rows were independent;
lean is the median by which the measured figure is worse than the predicted one; the last column is the factor by which half
widths would have to grow on this side to keep 80 %."""
WORST = 5
REMARKS = Path(__file__).parent / "remarks.md"
"""What a person has found out about the worst rows."""


def calibration_report(
    cases: Sequence[Case],
    refused: Sequence[Refused],
    left_out: Sequence[Outside],
    made: Interval,
    shipped: Sequence[Shipped],
    draws: Sequence[Drawn],
    host_share: float,
) -> str:
    """All of it."""
    sections = [
        OPENING,
        "## By family",
        _families(cases, refused),
        "## Left out",
        LEFT_OUT,
        *_left_out(left_out, made),
        "## Constants that were fitted",
        _constants(shipped, draws, host_share),
        "## The worst rows of each family",
        _worst(cases),
        REMARKS.read_text(encoding="utf-8").rstrip(),
    ]
    return "\n\n".join(sections) + "\n"


def _left_out(rows: Sequence[Outside], made: Interval) -> list[str]:
    """By stack, family and evidence, fitted and left out side by side."""
    return [
        _table(_COVERED, _coverages(rows, made, lambda row: f"{row.stack}, one {row.by}")),
        "### By family",
        _table(_COVERED, _coverages(rows, made, lambda row: row.family)),
        "### By evidence",
        EVIDENCE,
        _table(_COVERED, _coverages(rows, made, lambda row: row.evidence)),
        PROMISES_TITLE,
        PROMISES,
        promises_table(promises_of(rows, made)),
        "### What intervals are wider for",
        _table(("reason", "80 % half width, added in quadrature, all stacks"), _wider(made)),
    ]


PROMISES_TITLE = "### What is promised with a probability"


def promises_table(promises: Sequence[Promise]) -> str:
    """How many are kept, as Markdown."""
    header = ("of", "left out", "measured rows", *(f"kept of {p:.0%}" for p in PROBABILITIES))
    rows = [
        (
            one.name,
            str(one.rows),
            str(one.measured),
            *(f"{share:.1%}" for share in one.shares),
            f"{100 * one.band:.1f}",
            f"{one.lean:+.1%}",
            f"{one.needed:.2f}",
        )
        for one in kept_promises(promises)
    ]
    return _table((*header, "± by chance, of 80 %", "lean", "width needed"), rows)


_COVERED = (
    "of",
    "rows",
    "median when fitted",
    "when left out",
    "their ratio",
    "bias when left out",
    "within 50 %",
    "within 80 %",
    "within 95 %",
)


def _coverages(
    rows: Sequence[Outside], made: Interval, name_of: Callable[[Outside], str]
) -> list[tuple[str, ...]]:
    return [
        (
            one.name,
            str(one.rows),
            f"{one.fitted:.1%}",
            f"{one.left_out:.1%}",
            f"{one.left_out / one.fitted:.2f}" if one.fitted else "",
            f"{one.bias:+.1%}",
            f"{one.half:.0%}",
            f"{one.most:.0%}",
            f"{one.nearly_all:.0%}",
        )
        for one in coverages(rows, made, name_of)
    ]


def _wider(made: Interval) -> list[tuple[str, str]]:
    pooled = {reason: width for (stack, reason), width in made.beyond.items() if stack == POOLED}
    return [(reason, f"{math.expm1(width):.0%}") for reason, width in sorted(pooled.items())]


def _families(cases: Sequence[Case], refused: Sequence[Refused]) -> str:
    widths: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        widths[case.measurement.family].append(case.half_width)
    header = (
        "family",
        "rows",
        "predicted",
        "median",
        "p90",
        "bias",
        "within the 80 % interval",
        "its median half width",
    )
    rows = []
    for one in accuracies_of(cases, refused):
        ordered = sorted(widths[one.name])
        # No interval is known where no half width is: then nothing can be within it.
        is_known = any(ordered)
        half_width = math.expm1(ordered[len(ordered) // 2]) if is_known else 0.0
        row = (
            one.name,
            str(one.rows),
            str(one.predicted),
            f"{one.median:.1%}",
            f"{one.p90:.0%}",
            f"{one.bias:+.1%}",
            f"{one.covered:.0%}" if is_known else "",
            f"{half_width:.0%}" if is_known else "",
        )
        rows.append(row)
    return _table(header, rows)


def _constants(shipped: Sequence[Shipped], draws: Sequence[Drawn], host_share: float) -> str:
    rows = [
        (one.stack, name, f"{value:.3g}", str(one.rows), f"{one.median:.1%}")
        for one in shipped
        for name, value in one.constants.items()
    ]
    rows += [
        (
            f"chips: {one.architecture or 'all generations'}",
            name,
            f"{getattr(one.power, name):.3g}",
            str(one.rows),
            f"{one.median:.1%}",
        )
        for one in draws
        for name in NAMES
    ]
    rows.append(("machines with hosts", "host_share", f"{host_share:.2g}", "", ""))
    header = ("of", "constant (seconds and shares)", "value", "rows", "their median error")
    return f"{_table(header, rows)}\n\n{len(rows)} in all."


def _worst(cases: Sequence[Case]) -> str:
    by_family: dict[str, list[tuple[float, Measurement]]] = defaultdict(list)
    for case in cases:
        error = math.log(case.predicted() / case.measured)
        by_family[case.measurement.family].append((error, case.measurement))
    rows = []
    for family, found in sorted(by_family.items()):
        found.sort(key=lambda one: -abs(one[0]))
        for error, row in found[:WORST]:
            measured = f"{row.value:.4g}"
            off = f"{math.exp(error):.2f}"
            rows.append((family, row.row_id, row.field, _described(row), measured, off))
    return _table(("family", "row", "field", "what", "measured", "predicted / measured"), rows)


def _described(row: Measurement) -> str:
    what = row.collective or f"{row.model} {row.weight_dtype}"
    if row.message_bytes:
        size = f"{row.message_bytes:.3g} B"
    else:
        size = f"batch {row.batch_size or 'max'}"
        if row.height is None:
            size += f", {row.prompt_tokens} + {row.output_tokens}"
    stack = row.software or catalogue.load_topology(row.topology).software.name
    return f"{what}, {row.ranks or row.chips or 'fewest'} × {row.topology}, {stack}, {size}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)
