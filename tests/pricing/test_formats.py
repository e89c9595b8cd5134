import pytest

from planner import Workload, load_model, load_topology, partition
from planner.errors import InputError
from planner.machines.software import NativeFormat
from planner.machines.topology import Peak
from planner.pricing.formats import formats_of, mostly_multiplied_in, multiplied_in, peak_flop_per_s
from planner.pricing.price_list import PriceList, Split, Step
from tests.by_hand import ALONE, attention, chain, layer, matmul, round_chip, round_machine

FOUR_BITS = Peak(dtype="fp4", flop_per_s=400.0)
OPEN = matmul(weight_dtype="fp4", natively=True)


def machine_of(*natives, architecture="round", peaks=(FOUR_BITS,)):
    chip = round_chip(architecture=architecture)
    return round_machine(
        chip=chip.replace(peaks=(*chip.peaks, *peaks)), software={"natives": natives}
    )


def test_four_bit_floats_are_multiplied_as_they_are_stored_where_the_chip_can():
    assert multiplied_in(OPEN, machine_of()) == "fp4"
    assert multiplied_in(matmul(weight_dtype="mxfp4", natively=True), machine_of()) == "fp4"
    assert multiplied_in(OPEN, machine_of(peaks=())) == "bf16"  # as Marlin does, not 8 bit


def test_what_somebody_asked_for_is_what_it_is_multiplied_in():
    assert multiplied_in(matmul(weight_dtype="fp4"), machine_of()) == "bf16"
    assert multiplied_in(matmul(weight_dtype="fp4", compute_dtype="fp8"), machine_of()) == "fp8"
    assert multiplied_in(attention(), machine_of()) == "bf16"


def test_a_stack_says_what_its_kernels_do_on_which_chips_for_which_operators():
    eight = NativeFormat(dtype="fp4", multiplied_in="fp8", architectures=("round",))
    assert multiplied_in(OPEN, machine_of(eight)) == "fp8"
    assert multiplied_in(OPEN, machine_of(eight, architecture="square")) == "fp4"
    assert multiplied_in(OPEN, machine_of(eight.replace(kinds=("experts",)))) == "fp4"
    assert multiplied_in(OPEN, machine_of(eight.replace(dtype="mxfp4"))) == "fp4"
    assert multiplied_in(OPEN, machine_of(eight.replace(architectures=()))) == "fp8"


def test_a_step_is_priced_at_the_peak_of_the_format():
    step = Step(tokens=40.0, sequences=40.0, context_tokens=1.0, decode=True)
    seconds = [
        PriceList(chain(layer("a", operator)), machine_of())
        .prices(Split(), step, ALONE)
        .seconds[:2]
        .sum()
        for operator in (OPEN, OPEN.replace(natively=False))
    ]
    # 40 × 100 FLOP at 400 a second take 10 s, but 25 B of weights and 40 × 30 B of activations at
    # 10 B/s take 122.5 s; as many at 100 a second take 40 s.
    assert seconds == pytest.approx([122.5, 122.5])
    machine = machine_of().replace(
        chip=machine_of().chip.replace(
            memory=(machine_of().chip.memory[0].replace(bandwidth_bytes_per_s=1e6),)
        )
    )
    seconds = [
        PriceList(chain(layer("a", operator)), machine).prices(Split(), step, ALONE).seconds[0, 0]
        for operator in (OPEN, OPEN.replace(natively=False))
    ]
    assert seconds == pytest.approx([10.0, 40.0])


def test_mfu_is_measured_against_the_format_that_the_machine_chose():
    graph = chain(layer("a", OPEN))
    assert mostly_multiplied_in(graph, machine_of()) == "fp4"
    assert peak_flop_per_s(graph, machine_of()) == 400.0
    assert peak_flop_per_s(graph, machine_of(peaks=())) == 100.0


def test_words_say_what_is_multiplied_in_and_who_chose_it():
    assert formats_of(chain(layer("a", OPEN)), machine_of()) == "fp4 as chip and stack can"
    assert formats_of(chain(layer("a", matmul())), machine_of()) == "bf16"
    cards = load_topology("hgx-a100")
    assert formats_of(load_model("llama-3.1-8b", weight_dtype="int8"), cards) == "int8"
    eight = load_model("llama-3.1-8b", weight_dtype="fp8")
    assert formats_of(eight, cards) == "bf16, since the chip has no fp8"


@pytest.mark.parametrize(
    ("model", "machine", "expected"),
    [
        ("llama-3.1-8b", "hgx-b200", "fp4"),
        ("llama-3.1-8b", "hgx-h100", "bf16"),
        ("llama-3.1-8b", "dmatrix-corsair", "fp4"),
        ("gpt-oss-120b", "hgx-b200", "fp8"),  # MXFP8 activations
        ("gpt-oss-120b", "hgx-h200", "bf16"),
        ("gpt-oss-120b", "mi355x-8", "fp4"),
        ("gpt-oss-120b", "rtx-5090", "bf16"),
    ],
)
def test_formats_of_the_catalogues_machines(model, machine, expected):
    dtype = "mxfp4" if model == "gpt-oss-120b" else "fp4"
    graph = load_model(model, weight_dtype=dtype)
    assert mostly_multiplied_in(graph, load_topology(machine)) == expected


@pytest.mark.slow
def test_four_bits_are_no_slower_than_eight_on_a_chip_that_multiplies_them():
    machine = load_topology("dmatrix-corsair", chips=64)
    workload = Workload(batch_size=64)
    four, eight = (
        partition(
            load_model("llama-3.1-8b", weight_dtype=dtype),
            machine,
            workload,
            maximize="tokens_per_s",
        ).score
        for dtype in ("fp4", "int8")
    )
    assert four.tokens_per_s > eight.tokens_per_s


def test_a_format_asked_for_is_honoured():
    graph = load_model("gpt-oss-120b", weight_dtype="mxfp4", activation_dtype="bf16")
    assert mostly_multiplied_in(graph, load_topology("hgx-b200")) == "bf16"
    with pytest.raises(InputError, match="dtype"):
        NativeFormat.from_fields({"dtype": "fp3", "multiplied_in": "fp8"})
