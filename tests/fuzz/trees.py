"""Tampering with JSON: trees of objects, lists and values, changed where they hang together."""

import copy
import json
import re

MOST_CHANGES = 4


class Object(list):
    """A JSON object as pairs, so that a name may be there twice."""


class Raw(str):
    """Text to be written as it is, valid or not."""


class Slot:
    """A place in a tree that holds a value."""

    def __init__(self, holder, number):
        self.holder = holder
        self.number = number

    @property
    def value(self):
        held = self.holder[self.number]
        return held[1] if isinstance(self.holder, Object) else held

    @value.setter
    def value(self, made):
        pair = isinstance(self.holder, Object)
        self.holder[self.number] = (self.holder[self.number][0], made) if pair else made


VALUES = (
    True, False, None, 0, 1, -1, 2, 3, 7, 64, 4096, 10**6, 10**9, 10**9 + 1, 2**31, 2**63, 2**64,
    10**30, -(10**30), 0.5, -0.5, 1.0, 1e308, 1e-308, "", "x", "true", "128", "1e3", "relu", "../x",
    "\x00", "é", "\ud800", "full_attention",
)  # fmt: skip
TEXTS = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "-0", "9" * 400, "9" * 5000, "0.1e",
    "tru", '"', "", "{", "[", "[" * 5000 + "]" * 5000, '{"a":' * 3000 + "1" + "}" * 3000,
    "[" * 300 + "]" * 300, '{"a":' * 200 + "1" + "}" * 200, '"' + "x" * 200_000 + '"', '"\\ud800"',
    "[" + "0," * 50_000 + "0]", "[" + "{}," * 20_000 + "{}]", "/*x*/1", "1 1", "'x'", "\ufeff1",
)  # fmt: skip


def parsed(data):
    """The tree of a JSON text, objects as pairs."""
    return json.loads(data, object_pairs_hook=Object)


def written(tree):
    """A tree as JSON text, whatever stands in it."""
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, Object):
        return "{" + ",".join(f"{written(name)}:{written(value)}" for name, value in tree) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(written, tree)) + "]"
    return json.dumps(tree)


def slots_of(tree):
    """All places of a tree."""
    found, todo = [], [tree]
    while todo:
        holder = todo.pop()
        if not isinstance(holder, list):
            continue
        for number in range(len(holder)):
            slot = Slot(holder, number)
            found.append(slot)
            todo.append(slot.value)
    return found


def _drop(slot, draw, slots):
    del slot.holder[slot.number]


def _double(slot, draw, slots):
    slot.holder.insert(draw.randint(0, len(slot.holder)), copy.deepcopy(slot.holder[slot.number]))


def _replace(slot, draw, slots):
    slot.value = draw.choice(VALUES)


def _raw(slot, draw, slots):
    slot.value = Raw(draw.choice(TEXTS))


def _retype(slot, draw, slots):
    """The same in another type: a text for a number, a list for a value, …"""
    value = slot.value
    slot.value = draw.choice(
        [
            [copy.deepcopy(value)],
            Object([("a", copy.deepcopy(value))]),
            json.dumps(value),
            len(value) if isinstance(value, list | str) else [],
            bool(value),
            float(value) if isinstance(value, int) and abs(value) < 2**60 else str(value),
        ]
    )


def _scale(slot, draw, slots):
    value = slot.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        _replace(slot, draw, slots)
        return
    slot.value = draw.choice(
        [value + 1, value - 1, -value, value * 2, value // 2 if value else 3, value * 10**4]
    )


def _longer(slot, draw, slots):
    value = slot.value
    if isinstance(value, Object) or not isinstance(value, list) or not value:
        _retype(slot, draw, slots)
        return
    slot.value = copy.deepcopy(value) * draw.choice([0, 2, 3, 50])


def _shorter(slot, draw, slots):
    value = slot.value
    if isinstance(value, list) and value:
        del value[draw.randrange(len(value)) :]
    else:
        _drop(slot, draw, slots)


def _swap(slot, draw, slots):
    other = draw.choice(slots)
    try:
        slot.value, other.value = copy.deepcopy(other.value), copy.deepcopy(slot.value)
    except IndexError:  # an earlier change took it
        return


def _rename(slot, draw, slots):
    """Another name, mostly one that stands elsewhere in the tree."""
    if not isinstance(slot.holder, Object):
        _swap(slot, draw, slots)
        return
    names = [
        one.holder[one.number][0]
        for one in slots
        if isinstance(one.holder, Object) and one.number < len(one.holder)
    ]
    names += ["", "x" * 10_000, "__metadata__", "\ud800", "num_hidden_layers"]
    slot.holder[slot.number] = (draw.choice(names), slot.value)


CHANGES = (_drop, _double, _replace, _replace, _raw, _retype, _scale, _scale, _longer, _shorter,
           _swap, _rename)  # fmt: skip


def tampered_tree(tree, draw, others=()):
    """A few changes in a tree, or what stands in another taken over into it."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.randint(1, MOST_CHANGES)):
        slots = slots_of(tree)
        if not slots:
            break
        slot = draw.choice(slots)
        if others and draw.random() < 0.15 and isinstance(tree, Object):
            theirs = slots_of(draw.choice(others))
            taken = [one for one in theirs if isinstance(one.holder, Object)]
            if taken:
                one = draw.choice(taken)
                tree.insert(0, copy.deepcopy(one.holder[one.number]))
            continue
        draw.choice(CHANGES)(slot, draw, slots)
    return tree


FIGURE = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
FACTORS = (
    0,
    -1,
    0.5,
    2,
    3,
    10,
    1e3,
    1e6,
    1e-3,
    1e-6,
    1e-9,
    1e9,
    1e12,
    1e15,
    1e30,
    1e-30,
    1e300,
    1e-320,
)


def tampered_figures(tree, draw):
    """The same with other figures in one to three places, so that all else is as it should be."""
    tree = copy.deepcopy(tree)
    slots = [slot for slot in slots_of(tree) if _holds_figure(slot.value)]
    for _ in range(draw.randint(1, 3) if slots else 0):
        slot = draw.choice(slots)
        slot.value = _other_figure(slot.value, draw)
    return tree


def _holds_figure(value):
    if isinstance(value, str):
        return FIGURE.match(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _other_figure(value, draw):
    """Of a number, or of the one that a text begins with; most often of the same kind."""
    if isinstance(value, str):
        found = FIGURE.match(value)
        return f"{_other_figure(float(found[0]), draw):g}{value[found.end() :]}" if found else value
    if isinstance(value, int):
        return draw.choice([0, 1, 2, 3, 5, 7, 64, 1000, 10**5, 10**6, 10**7, value + 1, value * 10])
    if abs(value) < 1e-300:
        return draw.choice([0.0, 1.0, 1e-12])
    return value * draw.choice(FACTORS)


def tampered_json(data, draw, others=()):
    """A JSON file that was tampered with: its tree mostly, its figures alone or its text now and
    then."""
    trees = [parsed(other) for other in others]
    if draw.random() < 0.2:
        return written(tampered_figures(parsed(data), draw)).encode("utf-8", "surrogatepass")
    text = written(tampered_tree(parsed(data), draw, trees))
    held = text.encode("utf-8", "surrogatepass")
    if draw.random() < 0.1:
        at = draw.randrange(len(held) + 1)
        held = draw.choice([held[:at], held + b"x", held[:at] + b"\xff\x00" + held[at:], b""])
    return held
