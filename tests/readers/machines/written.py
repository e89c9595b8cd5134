"""Descriptions of machines, written as the tools write them from what the tests say of the machines."""

import tomllib
from pathlib import Path

DATA = Path(__file__).parent.parent.parent / "data" / "machines"
LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NV#  = Connection traversing a bonded set of # NVLinks
"""


def real_matrices():
    """What real machines said."""
    return tomllib.loads((DATA / "matrices.toml").read_text(encoding="utf-8"))["matrix"]


def matrix_text(matrix, style="tabs"):
    """The matrix as `nvidia-smi topo -m` prints it: columns apart by tabs or by spaces, in colours,
    or with what stands before and behind a line lost on the way."""
    names = [f"GPU{number}" for number in range(matrix["gpus"])] + matrix.get("cards", [])
    square = [["X"] * len(names) for _ in names]
    for one, line in enumerate(matrix["entries"]):
        for other, entry in enumerate(line.split(), one + 1):
            square[one][other] = square[other][one] = entry
    numa = matrix.get("numa")
    header = ["", *names, "CPU Affinity", *(["NUMA Affinity", "GPU NUMA ID"] if numa else [])]
    rows = []
    for one, name in enumerate(names):
        is_gpu = one < matrix["gpus"]
        if not is_gpu and matrix.get("only_gpus"):
            continue
        rest = [matrix["near"][one], *([numa[one], "", "N/A"] if numa else [])] if is_gpu else [""]
        rows.append([name, *(f" {e} " if e == "X" else e for e in square[one]), *rest])
    lines = [_laid_out(row, style) for row in [header, *rows]]
    if style == "bare":
        lines = [line.strip() for line in lines]
    text = "\n".join(lines) + "\n" + LEGEND
    if "legend" in matrix:
        said = "\n".join(f"  {card}: {name}" for card, name in matrix["legend"].items())
        text += f"\nNIC Legend:\n\n{said}\n"
    return text + _peers(matrix)


def _laid_out(row, style):
    if style == "spaces":
        return "".join(f"{cell:<8}" for cell in row).rstrip()
    if style == "colours":
        row = [f"\x1b[4m{cell}\x1b[0m" if cell.startswith("GPU") else cell for cell in row]
    return "\t".join(row)


def _peers(matrix):
    """The other matrix, where somebody printed it below."""
    if "peers" not in matrix:
        return ""
    return f"\n \tGPU0\tGPU1\t\n GPU0\tX\t{matrix['peers']}\t\n GPU1\t{matrix['peers']}\tX\t\n"


def named(*products):
    """What `nvidia-smi -L` prints."""
    return "".join(f"GPU {at}: {name} (UUID: GPU-{at:08x})\n" for at, name in enumerate(products))


def square_matrix(entries, numa=None):
    """A matrix of GPUs alone, from what each reaches those after it by."""
    gpus = len(entries) + 1
    near = [f"{8 * at}-{8 * at + 7}" for at in range(gpus)]
    made = {"gpus": gpus, "entries": entries, "near": near}
    return made if numa is None else made | {"numa": numa}


def nccl_xml(cpus, *, header=""):
    """NUMA nodes, each a list of switches, each a list of devices: (busid, kind, links), links as
    pairs of a target and a count."""
    lines = [header, '<system version="1">']
    for numa, switches in enumerate(cpus):
        lines.append(f'  <cpu numaid="{numa}" affinity="ff" arch="x86_64" vendor="AuthenticAMD">')
        for at, devices in enumerate(switches):
            lines.append(_pci(f"ffff:{numa:02x}:{at:02x}.0", "0x060400", close=False))
            lines += [_nccl_device(*device) for device in devices]
            lines.append("    </pci>")
        lines.append("  </cpu>")
    return "\n".join([*lines, "</system>"]) + "\n"


def _pci(busid, sort, *, close, device="0x2330"):
    return (
        f'    <pci busid="{busid}" class="{sort}" vendor="0x10de" device="{device}"'
        f' link_speed="16.0 GT/s PCIe" link_width="16"{"/" if close else ""}>'
    )


def _nccl_device(busid, kind, links=None, device="0x2330"):
    if kind == "nic":
        net = '<nic><net name="mlx5_0" dev="0" speed="400000" port="1"/></nic>'
        return f"{_pci(busid, '0x020700', close=False)}{net}</pci>"
    if links is None:
        return _pci(busid, "0x030200", close=True, device=device)
    number, bonds = links
    inside = "".join(
        f'<nvlink target="{far}" count="{count}" tclass="{sort}"/>' for far, count, sort in bonds
    )
    opened = _pci(busid, "0x030200", close=False, device=device)
    return f'{opened}<gpu dev="{number}" sm="90" rank="{number}">{inside}</gpu></pci>'


def hwloc_xml(packages, matrix="", *, version="2.0", attributes=""):
    """Packages, each with memory, and host bridges, each a list of switches, each a list of devices:
    (number, name of the driver's, product)."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<!DOCTYPE topology SYSTEM "hwloc2.dtd">',
        f'<topology version="{version}">',
        '<object type="Machine" os_index="0" gp_index="1" id="obj1">',
        '<info name="HostName" value="one"/>',
    ]
    number = 100
    for package, (cores, memory, roots) in enumerate(packages):
        lines.append(f'<object type="Package" os_index="{package}" gp_index="{number}">')
        lines.append('<info name="CPUModel" value="Intel(R) Xeon(R) Platinum 8174 CPU @ 3.10GHz"/>')
        node = f'type="NUMANode" os_index="{package}" id="n{package}" gp_index="{number + 1}"'
        lines.append(f'<object {node} local_memory="{memory}"/>')
        lines += [f'<object type="Core" os_index="{core}"/>' for core in range(cores)]
        number += 2
        for switches in roots:
            lines.append(f'<object type="Bridge" id="obj{number}" bridge_type="0-1">')
            number += 1
            for devices in switches:
                lines.append(f'<object type="Bridge" id="obj{number}" bridge_type="1-1">')
                number += 1
                for device in devices:
                    lines.append(_hwloc_device(number, *device))
                    number += 1
                lines.append("</object>")
            lines.append("</object>")
        lines.append("</object>")
    return "\n".join([*lines, "</object>", matrix, attributes, "</topology>"]) + "\n"


def _hwloc_device(number, index, driver, product):
    sort = "0302 [10de:1db8]" if product else "0207 [15b3:1017]"
    model = f'<info name="GPUModel" value="{product}"/>' if product else ""
    return (
        f'<object type="Bridge" id="slot{number}" bridge_type="1-1">'
        f'<object type="PCIDev" id="obj{number}" gp_index="{number}" pci_busid="0000:{index:02x}:00.0"'
        f' pci_type="{sort}" pci_link_speed="15.753846">'
        f'<object type="OSDev" gp_index="{800 + index}" name="{driver}">{model}</object>'
        "</object></object>"
    )
