"""Small ONNX files, written field by field: what the readers' tests read, without the `onnx`
package."""

import struct


def varint(number):
    number &= 2**64 - 1
    found = bytearray()
    while True:
        byte = number & 0x7F
        number >>= 7
        found.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(found)


def of_number(field, number):
    return varint(field << 3) + varint(number)


def of_bytes(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(name, dims, code=1, raw=None, ints=None):
    found = b"".join(of_number(1, size) for size in dims) + of_number(2, code) + of_bytes(8, name)
    if ints is not None:
        raw = struct.pack(f"<{len(ints)}q", *ints)
    return found if raw is None else found + of_bytes(9, raw)


def value(name, dims, code=1):
    sizes = b""
    for size in dims:
        stated = of_bytes(2, size) if isinstance(size, str) else of_number(1, size)
        sizes += of_bytes(1, stated)
    kind = of_bytes(1, of_number(1, code) + of_bytes(2, sizes))
    return of_bytes(1, name) + of_bytes(2, kind)


def attribute(name, content):
    found = of_bytes(1, name)
    if isinstance(content, bytes):
        return found + of_bytes(5, content)
    if isinstance(content, str):
        return found + of_bytes(4, content)
    if isinstance(content, list):
        return found + b"".join(of_number(8, each) for each in content)
    if isinstance(content, float):
        return found + varint(2 << 3 | 5) + struct.pack("<f", content)
    return found + of_number(3, content)


def node(operation, inputs, outputs, name="", domain="", **attributes):
    found = b"".join(of_bytes(1, each) for each in inputs)
    found += b"".join(of_bytes(2, each) for each in outputs)
    found += of_bytes(3, name) + of_bytes(4, operation) + of_bytes(7, domain)
    for key, content in attributes.items():
        found += of_bytes(5, attribute(key, content))
    return found


def graph(nodes, tensors=(), inputs=(), outputs=(), stated=()):
    found = b"".join(of_bytes(1, each) for each in nodes)
    found += b"".join(of_bytes(5, each) for each in tensors)
    found += b"".join(of_bytes(11, each) for each in inputs)
    found += b"".join(of_bytes(12, each) for each in outputs)
    return found + b"".join(of_bytes(13, each) for each in stated)


def function(name, domain, inputs, outputs, nodes):
    found = of_bytes(1, name) + of_bytes(10, domain)
    found += b"".join(of_bytes(4, each) for each in inputs)
    found += b"".join(of_bytes(5, each) for each in outputs)
    return found + b"".join(of_bytes(7, each) for each in nodes)


def program(whole_graph, functions=(), opset=17):
    found = of_number(1, 8) + of_bytes(2, "by hand") + of_bytes(7, whole_graph)
    found += of_bytes(8, of_number(2, opset))
    return found + b"".join(of_bytes(25, each) for each in functions)


def written(folder, *parts, **options):
    """A file with a program of one graph."""
    path = folder / "model.onnx"
    path.write_bytes(program(graph(*parts, **options)))
    return path
