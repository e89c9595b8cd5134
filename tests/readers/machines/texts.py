"""One description of a machine in each format that is read, by its name."""

import json

from tests.readers.machines import (
    test_amd_matrix,
    test_hwloc_xml,
    test_kubernetes,
    test_nccl_xml,
    test_processors,
    test_slurm,
    test_topograph,
)
from tests.readers.machines.written import matrix_text, named, real_matrices, square_matrix

INSTANCES = {"instances": [test_topograph.instance(f"n{at}", "leaf", "spine") for at in range(4)]}
GRAPH = {
    "nodes": [{"id": at, "kind": "chip", "chip": "NVIDIA L4"} for at in range(2)],
    "links": [{"source": 0, "target": 1, "bandwidth": "25 GB/s", "latency": "2 us"}],
}


def machine_texts():
    """The texts; more than one of the formats that are read the most."""
    cards = ["NVIDIA GeForce RTX 3090"] * 3
    return {
        "nvidia-smi topo -m": named(*cards) + matrix_text(square_matrix(["NV4 SYS", "SYS"])),
        "real matrix": named(*["NVIDIA H100 80GB HBM3"] * 4) + matrix_text(real_matrices()[1]),
        "nvidia-smi": named("NVIDIA L4", "NVIDIA L4"),
        "rocm-smi --showtopo": test_amd_matrix.printed(lambda *_: "XGMI", 2),
        "kubectl get nodes -o json": json.dumps(
            test_kubernetes.nodes(test_kubernetes.node("a", 2), test_kubernetes.node("b", 4))
        ),
        "hwloc XML": test_hwloc_xml.power8().replace("Tesla P100-SXM2-16GB", "NVIDIA L4"),
        "DGX-2": test_hwloc_xml.half_a_dgx2().replace(test_hwloc_xml.V100, "NVIDIA B200"),
        "NCCL topology XML": test_nccl_xml.cloud(),
        "eight H100": test_nccl_xml.eight_h100(),
        "Slurm topology.conf": test_slurm.TREE,
        "Slurm topology.yaml": test_slurm.YAML,
        "topograph JSON": json.dumps(INSTANCES),
        "networkx node-link JSON": json.dumps(GRAPH),
        "lscpu, /proc or sysctl": test_processors.LSCPU,
        "Mac": test_processors.MAC,
    }
