from collections import Counter
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.amd_matrix import is_amd_matrix, read_amd_matrix

HERE = Path("showtopo.txt")


def table(title, entry, gpus):
    names = [f"GPU{at}" for at in range(gpus)]
    lines = [f"{'=' * 20} {title} {'=' * 20}", "       " + "".join(f"{name:<13}" for name in names)]
    for one in range(gpus):
        row = ["0" if one == other else entry(one, other) for other in range(gpus)]
        lines.append(f"{names[one]:<7}" + "".join(f"{cell:<13}" for cell in row))
    return "\n".join(lines) + "\n\n"


def printed(entry, gpus, hops="1"):
    """As rocm-smi prints it, with the NUMA nodes below and names of the cards."""
    text = table("Weight between two GPUs", lambda *_: "15", gpus)
    text += table("Hops between two GPUs", lambda *_: hops, gpus)
    text += table("Link Type between two GPUs", entry, gpus)
    for at in range(gpus):
        text += f"GPU[{at}]\t\t: (Topology) Numa Node: {at // 4}\n"
        text += f"GPU[{at}]\t\t: Card Series: \t\tAMD Instinct MI300X\n"
    return text


def test_links_and_nodes_are_read():
    text = printed(lambda *_: "XGMI", 8)
    assert is_amd_matrix(text)
    seen = read_amd_matrix(text, HERE)
    assert len(seen.devices) == 8
    assert Counter(link.kind for link in seen.links) == {"xgmi": 28}
    assert seen.devices[0].product == "AMD Instinct MI300X"
    assert [one.numa for one in seen.devices] == [0] * 4 + [1] * 4


def test_three_hops_over_pcie_lead_through_both_processors():
    seen = read_amd_matrix(printed(lambda *_: "PCIE", 4, hops="3"), HERE)
    assert {link.kind for link in seen.links} == {"sys"}
    seen = read_amd_matrix(printed(lambda *_: "PCIE", 4, hops="2"), HERE)
    assert {link.kind for link in seen.links} == {"phb"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (printed(lambda *_: "FOO", 2), "must be XGMI or PCIE"),
        ("=== Link Type between two GPUs ===\n  GPU0 GPU1\nGPU0 0 XGMI\n", "1 rows for 2 GPUs"),
        ("=== Link Type between two GPUs ===\n", "0 rows for 0 GPUs"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(text, said):
    with pytest.raises(InputError, match=said):
        read_amd_matrix(text, HERE)
