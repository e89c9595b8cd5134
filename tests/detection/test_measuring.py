"""Measuring by a clock that goes as the test says."""

import itertools
from types import SimpleNamespace

import pytest

from planner.detection.measuring import Bench, Measurement, measured_here, with_measurements
from planner.errors import InputError
from planner.units import parse_quantity


def bench(**more):
    ticks = itertools.count(0.0, 0.5)
    fields = {
        "repeats": 3,
        "array_bytes": 8000,
        "width": 8,
        "clock": lambda: next(ticks),
        "threads": 2,
    }
    return Bench(**(fields | more))


def test_bytes_and_operations_are_counted(monkeypatch):
    monkeypatch.setattr("planner.detection.measuring.package_at_hand", lambda name: None)
    found = {one.what: one for one in measured_here(bench())}
    # Half a second for each: 2 arrays of 8,000 bytes are moved in a copy, 5 in a triad.
    assert found["copy, one thread"].rates == (32000.0,) * 3
    assert found["triad, 2 threads"].rates == (80000.0,) * 3
    assert found["matrix product, 8 wide"].rates == (2 * 8**3 / 0.5,) * 3
    assert len(found) == 5


class Tensor:
    """As much of PyTorch's as is used."""

    def __init__(self, *shape, dtype=None, device=None):
        self.shape = shape

    def to(self, dtype):
        return self

    def __matmul__(self, other):
        return Tensor(*self.shape)

    def copy_(self, other):
        return self


def torch_with(gpus):
    waits = []
    cuda = SimpleNamespace(is_available=lambda: gpus > 0, synchronize=lambda: waits.append(1))
    made = SimpleNamespace(cuda=cuda, bfloat16="bf16", float32="fp32", waits=waits)
    made.rand = Tensor
    made.ones = Tensor
    made.empty_like = lambda one: one
    return made


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (2, "cuda")])
def test_with_pytorch_sixteen_bits_are_measured_on_a_gpu_where_there_is_one(
    monkeypatch, gpus, device
):
    torch = torch_with(gpus)
    monkeypatch.setattr("planner.detection.measuring.package_at_hand", lambda name: torch)
    found = measured_here(bench())
    (half,) = [one for one in found if one.of == "bf16"]
    assert (half.device, half.rates) == (device, (2 * 8**3 / 0.5,) * 3)
    copies = [one for one in found if one.device == "cuda" and one.of == "bandwidth"]
    assert [one.rates[0] for one in copies] == [2 * 4 * 8000 / 0.5] * (gpus > 0)
    # Kernels that were only asked for are waited for, the first run of each too.
    assert len(torch.waits) == (8 if gpus else 0)


@pytest.mark.parametrize("repeats", [0, -1, 10**6])
def test_repeats_must_be_some(repeats):
    with pytest.raises(InputError, match="--repeats must lie between"):
        measured_here(bench(repeats=repeats))


def test_median_and_spread():
    one = Measurement("copy", "bandwidth", (9e9, 10e9, 11e9))
    assert one.median == 10e9
    # The tenth part: 9.2 and 10.8.
    assert one.spread == pytest.approx(10 / 9.2)
    assert one.said == "10 GB/s (9 GB/s to 11 GB/s in 3 runs)"


CHIP = {
    "name": "c",
    "peak": [
        {"dtype": "fp32", "value": "1 TFLOP/s", "confidence": "guess"},
        {"dtype": "int8", "value": "4 TFLOP/s", "confidence": "guess"},
        {"dtype": "bf16", "value": "3 TFLOP/s", "confidence": "B"},
    ],
    "memory": [{"name": "m", "capacity": "8 GiB", "bandwidth": "60 GB/s"}],
}
MEASURED = (
    Measurement("copy, one thread", "bandwidth", (10e9,) * 3),
    Measurement("triad, 2 threads", "bandwidth", (40e9, 40e9, 48e9)),
    Measurement("matrix product", "fp32", (0.5e12,) * 3),
)


def teras(fields):
    return {
        one["dtype"]: parse_quantity(one["value"], "operations per second", "p") / 1e12
        for one in fields["peak"]
    }


def test_a_file_says_what_was_measured():
    chip = with_measurements({"name": "x", "chip": CHIP}, MEASURED)["chip"]
    assert chip["memory"][0]["bandwidth"]["value"] == "40 GB/s"
    assert chip["memory"][0]["bandwidth"]["source"].startswith("measured here")
    assert chip["memory"][0]["bandwidth"]["within"] > 1.02
    # A guess that came from the same cores moves with them; what somebody stated stays.
    assert teras(chip) == {"fp32": 0.5, "int8": 2.0, "bf16": 3.0}


def test_beside_a_gpu_the_processor_is_the_host():
    host = {**CHIP, "link_bandwidth": "25 GB/s", "link_latency": "10 us"}
    fields = {"name": "x", "chips": 4, "chip": CHIP, "host": host}
    made = with_measurements(fields, MEASURED)
    assert made["chip"] == CHIP
    assert made["host"]["memory"][0]["bandwidth"]["value"] == "10 GB/s"
    assert teras(made["host"])["fp32"] == 0.125


def test_what_was_measured_of_a_gpu_is_the_chips():
    gpu = (Measurement("copy", "bandwidth", (900e9,) * 3, "cuda"),
           Measurement("product", "bf16", (60e12,) * 3, "cuda"))  # fmt: skip
    made = with_measurements({"name": "x", "chip": CHIP}, (*MEASURED, *gpu))
    assert made["chip"]["memory"][0]["bandwidth"]["value"] == "900 GB/s"
    assert teras(made["chip"])["bf16"] == 60
    assert teras(made["chip"])["fp32"] == 1.0
