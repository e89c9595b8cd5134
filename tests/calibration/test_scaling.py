"""A stack scaled to a few rows: what made them is found, and little is believed of little."""

import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.calibration.fitting import varied
from planner.calibration.measurements import Measurement
from planner.calibration.scaling import (
    Factor,
    calibrated_toml,
    fit_or_scale,
    scale_software,
    starts_of,
)
from planner.calibration.validation import cases_of

MACHINE = pl.load_topology("hgx-h100", chips=1, software="vllm")
GRAPH = pl.load_model("llama-3.1-8b")
LOADS = ((1, "tpot_s"), (32, "tpot_s"), (4, "ttft_s"))


def slower(machine, factor):
    """The machine with a stack all of whose times are so many times longer."""
    launches, chips = (starts_of(machine.software, part) for part in ("launches", "chips"))
    constants = {name: value * factor for name, value in launches.items()}
    constants |= {name: value / factor for name, value in chips.items()}
    constants["request_overhead_s"] = machine.software.request_overhead_s * factor
    return varied(machine, constants)


def rows_of(factor, noises=(0.0, 0.0, 0.0)):
    """As many rows as there are noises, measured on a stack that is so much slower."""
    machine = slower(MACHINE, factor)
    plan = pl.uniform_plan(GRAPH, machine)
    rows = []
    for number, ((batch, field), noise) in enumerate(zip(LOADS, noises, strict=False)):
        load = {"batch_size": batch, "prompt_tokens": 512, "output_tokens": 64}
        score = pl.score_plan(plan, GRAPH, machine, pl.Workload(**load))
        rows.append(
            Measurement(
                row_id=str(number),
                field=field,
                value=getattr(score, field) * math.exp(noise),
                model="llama-3.1-8b",
                topology="hgx-h100",
                chips=1,
                software="vllm",
                **load,
            )
        )
    return rows


CASES, _ = cases_of(rows_of(1.3))
SHIPPED = MACHINE.software


@pytest.fixture(scope="module")
def scaled():
    """The stack as three rows scale it."""
    _, found = fit_or_scale(CASES)
    assert found is not None
    return found


@dataclass
class Toy:
    """A case whose time is a share of launches and one of reading memory, priced at once."""

    log: float
    """Of measured over shipped."""
    launches_share: float = 0.3
    half_width: float = 0.15
    topology: pl.Topology = MACHINE
    field: str = "tpot_s"
    family: str = "toy"

    @property
    def measured(self):
        return math.exp(self.log)

    def predicted(self, topology=None):
        now = (topology or MACHINE).software
        launches = now.step_overhead_s / SHIPPED.step_overhead_s
        chips = SHIPPED.memory_efficiency / now.memory_efficiency
        return self.launches_share * launches + (1 - self.launches_share) * chips


def seen(*logs):
    """Cases of which these are the logarithms of measured over shipped."""
    shares = (0.3, 0.1, 0.8)
    return [Toy(log, share) for log, share in zip(logs, shares, strict=False)]


def factors_of(*logs):
    return scale_software(seen(*logs)).factors


def test_a_stack_that_is_slower_throughout_is_found_from_three_rows(scaled):
    assert all(case.measured == pytest.approx(1.3 * case.predicted()) for case in CASES)
    launches, chips, _ = scaled.factors
    assert chips.factor == pytest.approx(1.3, rel=0.03)
    assert launches.factor == pytest.approx(1.3, rel=0.1)  # of which these rows tell less
    assert all(one.low < 1.3 < one.high for one in scaled.factors)
    assert scaled.fit.median_before == pytest.approx(0.3)
    assert scaled.fit.median_after < 0.05


@pytest.mark.slow
def test_more_rows_that_agree_are_believed_more():
    found = [factors_of(*[math.log(1.3)] * count)[1] for count in (1, 2, 3)]
    assert 1.1 < found[0].factor < found[1].factor < found[2].factor < 1.3
    widths = [one.high / one.low for one in found]
    assert widths == sorted(widths, reverse=True)


def test_one_row_is_believed_by_the_share_that_installations_have_in_common():
    # All of it chips: by hand, 0.6 of the variance is common; half a factor's width apart adds a
    # quarter: 0.6 · 1.25 / (0.6 · 1.25 + 0.4) of the logarithm.
    (_, chips) = scale_software([Toy(0.1, launches_share=0.0)]).factors
    assert math.log(chips.factor) == pytest.approx(0.1 * 0.75 / 1.15, rel=1e-3)


@pytest.mark.slow
@settings(max_examples=12)
@given(st.floats(-0.3, 0.7), st.floats(0.0, 1.0))
def test_of_one_row_less_is_believed_than_it_says(log, share):
    for one in scale_software([Toy(log, share)]).factors:
        moved = math.log(one.factor)
        assert min(0.0, log) - 1e-6 <= moved <= max(0.0, log) + 1e-6


@pytest.mark.slow
@settings(max_examples=12)
@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=3))
def test_rows_are_never_further_off_than_before(logs):
    cases = seen(*logs)
    machine = MACHINE.replace(software=scale_software(cases).fit.software)
    after = [math.log(case.predicted(machine)) - case.log for case in cases]
    assert sum(one**2 for one in after) <= sum(one**2 for one in logs) + 1e-6


@pytest.mark.slow
def test_rows_that_contradict_each_other_move_little_and_are_doubted():
    torn = factors_of(0.4, -0.4, 0.0)
    agreed = factors_of(0.4, 0.4, 0.4)
    assert all(one.low < 1 < one.high for one in torn)
    assert torn[1].high / torn[1].low > agreed[1].high / agreed[1].low


def test_rows_of_wide_intervals_move_less_than_those_of_narrow_ones():
    """A row that is known to be off by much says less of its installation than one that is not."""
    wide, narrow = Toy(0.3, half_width=0.6), Toy(-0.3, half_width=0.1)
    assert scale_software([wide, narrow]).factors[1].factor < 1


@pytest.mark.slow
def test_first_tokens_that_are_late_are_mostly_waits():
    """A queue is no sign that an installation is slow."""
    late = cases_of(rows_of(1.0, (0.0, 0.0, 0.7)))[0]
    launches, chips, waits = scale_software(late[2:]).factors
    assert waits.factor > chips.factor > launches.factor
    assert chips.factor < 1.15 < math.exp(0.7)
    assert [one.part for one in scale_software(late[:2]).factors] == ["launches", "chips"]


@pytest.mark.slow
def test_waits_take_of_others_prompts_at_most_all():
    machine = MACHINE.replace(software=SHIPPED.replace(burst_share=0.5, interruption_share=0.5))
    (case,) = cases_of(rows_of(1.0, (0.0, 0.0, 1.5))[2:])[0]
    stack = scale_software([replace(case, topology=machine)]).fit.software
    assert stack.burst_share > 0.5
    assert stack.burst_share + stack.interruption_share == pytest.approx(1.0)


@pytest.mark.slow
def test_no_share_of_a_peak_gets_beyond_the_peak():
    stack = scale_software(seen(-0.9, -0.9, -0.9)).fit.software
    assert stack.memory_efficiency == 1.0


def test_the_file_says_what_it_was_scaled_by_and_is_taken_as_a_stack(scaled, tmp_path):
    fit = scaled.fit
    text = calibrated_toml(fit, scaled)
    chips = scaled.factors[1]
    assert scaled.note.startswith("scaled on 3 rows: launches × 1.2")
    assert f'note = "{scaled.note}"' in text
    assert 'confidence = "fit"' in text
    assert str(chips).startswith("chips × 1.2")
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    assert pl.load_topology("hgx-h100", software=str(path)).software == fit.software
    # What the stack was measured on, and how far it was off, stay: a few rows vouch for little.
    assert fit.software.covers == MACHINE.software.covers
    assert fit.software.residuals == MACHINE.software.residuals


def test_a_factor_is_said_with_its_interval():
    one = Factor(part="launches", factor=1.234, low=1.1, high=1.4)
    assert str(one) == "launches × 1.23 (80 %: 1.1 to 1.4)"


@pytest.mark.slow
def test_collectives_scale_nccl():
    row = Measurement(
        row_id="1",
        field="collective_s",
        value=60e-6,
        topology="hgx-h100",
        chips=8,
        software="nccl",
        collective="all_reduce",
        ranks=8,
        message_bytes=8192,
    )
    cases, _ = cases_of([row])
    _, scaled = fit_or_scale(cases)
    assert scaled.factors[0].factor > 1.1
    machine = cases[0].topology.replace(software=scaled.fit.software)
    assert cases[0].predicted() < cases[0].predicted(machine) < 60e-6


def test_rows_that_no_factor_moves_are_refused():
    with pytest.raises(pl.InputError, match="cannot calibrate vllm"):
        scale_software([Still(0.3)])


class Still(Toy):
    """A case that no constant moves."""

    def predicted(self, topology=None):
        return 1.0
