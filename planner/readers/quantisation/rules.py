"""Which modules a list of names, globs and regular expressions means.

Names are looked up whole, since lists have tens of thousands of them; patterns are tried on the
spellings of a module. A name means the module of that name, and what lies in it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from planner.errors import InputError, told
from planner.models.storage import Stored
from planner.readers.quantisation.modules import (
    LAYERS,
    ROUTERS,
    SPELLED,
    WHOLE,
    Part,
    Path,
    beginnings_of,
    is_count,
    is_elsewhere,
    is_small,
    paths_of,
    runs_of,
)
from planner.readers.quantisation.patterns import Pattern, expression, glob

MOST_PATTERNS = 5_000
MOST_STEPS = 10_000
"""Of all patterns that may mean any layer, for one spelling."""
MOST_OF_LAYERS = 40_000
"""Of all patterns that mean a single layer each."""

PREFIXES = ("model.", "", "model.language_model.", "language_model.model.", "language_model.")
"""Before `layers.N`, where a pattern leaves that open."""

CONTAINER = re.compile(rf"(?:^|(?<=\.))({'|'.join(LAYERS)})(?=\\?\.)")
NUMBERED = re.compile(rf"(?:{'|'.join(LAYERS)})\\?\.(\d{{1,6}})(?=\\?\.|$|\$)")
LITERAL = re.compile(r"\^?(?:\.?\*)?(?:\\?\.|[A-Za-z0-9_])*")
"""Before the number of a layer, where that is the only one that can be meant."""
PLAIN_TAIL = re.compile(r"[A-Za-z0-9_.]*$")
WORD = re.compile(r"[A-Za-z0-9_]+")
STEMS = frozenset(word.removesuffix("_proj") for word in SPELLED)
STEM_LENGTHS = sorted({len(stem) for stem in STEMS})
GLOB_LETTERS = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Rule:
    """What a name or pattern means is stored so."""

    text: str
    stored: Stored
    is_expression: bool = False
    said: str = "quantization_config"
    """Where it stands, for sentences."""


@dataclass(frozen=True)
class Found:
    """How a rule says that a module is stored."""

    stored: Stored
    by_name: bool
    """Not by a pattern."""
    names_router: bool


class Rules:
    """Rules of one list; names go before patterns, longer names before shorter ones, and of
    patterns the first."""

    def __init__(self, rules: Iterable[Rule], said: str, kind: str = "", experts: int = 0) -> None:
        self.kind = kind
        self.experts = experts
        self._names: dict[int | None, dict[Path, _Named]] = defaultdict(dict)
        self._patterns: dict[int | None, list[_Patterned]] = defaultdict(list)
        self._texts: dict[str, Name | _Patterned] = {}
        self._count = 0
        self._steps = {True: 0, False: 0}
        for rule in rules:
            self._add(rule)
            # Checked as they come, since reading one takes its time too.
            wide, narrow = self._steps[True], self._steps[False]
            if self._count > MOST_PATTERNS or wide > MOST_STEPS or narrow > MOST_OF_LAYERS:
                raise InputError(
                    f"{said} has more than {MOST_PATTERNS} patterns, or patterns that need more"
                    f" than {MOST_STEPS} steps for one name ({MOST_OF_LAYERS} for names of single"
                    " layers); give weight_dtype (--weights)"
                )

    def __bool__(self) -> bool:
        return bool(self._texts)

    def _add(self, rule: Rule) -> None:
        if rule.text in self._texts and not isinstance(self._texts[rule.text], Name):
            return
        if not rule.is_expression and not GLOB_LETTERS.search(rule.text):
            name = name_of(rule.text)
            self._texts[rule.text] = name
            if not name.elsewhere:
                named = self._names[name.layer].setdefault(name.tail, _Named())
                named.add(name.expert, rule.stored)
            return
        read = expression if rule.is_expression else glob
        patterned = _Patterned(rule, read(rule.text, rule.said))
        self._texts[rule.text] = patterned
        self._patterns[patterned.layer].append(patterned)
        self._count += 1
        self._steps[patterned.layer is None] += patterned.pattern.steps

    def of(self, part: Part) -> Found | None:
        """What the rules say of a module; None: nothing."""
        return self._by_name(part) or self._by_pattern(part)

    def _by_name(self, part: Part) -> Found | None:
        sides = (
            (part.layer, beginnings_of(part.leaf, self.kind)),
            (None, runs_of(part.leaf, self.kind)),
        )
        for layer, spelled in sides:
            known = self._names.get(layer)
            if not known:
                continue
            fitting = (
                spelled & known.keys() if len(spelled) < len(known) else known.keys() & spelled
            )
            for tail in sorted(fitting, key=len, reverse=True):
                stored = known[tail].stored(self.experts)
                if stored is not None:
                    return Found(stored, True, _ends_in_router(tail))
        return None

    @property
    def is_uneven(self) -> bool:
        """Whether experts of one layer are stored in several ways."""
        named = (one for names in self._names.values() for one in names.values())
        return any(one.uneven(self.experts) for one in named)

    @property
    def lists_layers(self) -> bool:
        """Whether modules are named one by one, each with its layer."""
        return any(layer is not None and names for layer, names in self._names.items())

    def means(self, part: Part) -> bool:
        """Whether they say anything of a module."""
        return self.of(part) is not None

    def _by_pattern(self, part: Part) -> Found | None:
        own = self._patterns.get(part.layer, []) if part.layer is not None else []
        for patterned in (*own, *self._patterns.get(None, [])):
            if patterned.means(part, self.kind):
                text = patterned.rule.text
                return Found(patterned.rule.stored, False, "gate" in text or "router" in text)
        return None

    def unplaced(self, parts: Iterable[Part], layers: int) -> Iterator[str]:
        """The texts that mean nothing in a model with these parts in each of its layers, and
        nothing else that is known."""
        parts = tuple(parts)
        spelled = frozenset().union(*(runs_of(part.leaf, self.kind) for part in parts))
        begun = frozenset().union(*(beginnings_of(part.leaf, self.kind) for part in parts))
        seen: set[str] = set()
        for text, one in self._texts.items():
            # One of a row of layers stands for all of them.
            shape = re.sub(r"\d+", "0", text)
            if shape in seen:
                continue
            seen.add(shape)
            if is_elsewhere(text) or is_small(text):
                continue
            if isinstance(one, Name):
                beyond = one.layer is not None and 0 < layers <= one.layer
                known = spelled if one.layer is None else begun
                if not beyond and one.tail not in known:
                    yield text
            elif not self._placed(one, parts, layers):
                yield text

    def _placed(self, one: "_Patterned", parts: tuple[Part, ...], layers: int) -> bool:
        if one.layer is not None and 0 < layers <= one.layer:
            return True
        last = max(layers - 1, 0)
        numbers = {0, 1, last // 2, last} if one.layer is None else {one.layer}
        # Digits in an expression may be those of the layers that it means.
        numbers |= {int(digits) for digits in re.findall(r"\d{1,4}", one.rule.text)[:20]}
        for part in parts:
            places = [None] if part.is_end else sorted(numbers)
            if any(one.means(Part(layer, part.leaf), self.kind) for layer in places):
                return True
        return False


def _ends_in_router(tail: Path) -> bool:
    return "router" in tail or any(".".join(tail[at:]) in ROUTERS for at in range(len(tail)))


@dataclass(frozen=True)
class Name:
    """A name of a module, taken apart."""

    layer: int | None
    tail: Path
    """Below its layer; the number of an expert is `#`."""
    expert: int | None = None
    elsewhere: bool = False
    """Whether it is of another part than the decoder."""


def name_of(text: str) -> Name:
    """Take a name apart."""
    parts = text.removesuffix(".weight").strip(".").split(".")
    at = next(
        (
            place
            for place, part in enumerate(parts[:-1])
            if part in LAYERS and is_count(parts[place + 1])
        ),
        None,
    )
    layer: int | None = None
    if at is None:
        outside = parts
        while parts and parts[0] in (*WHOLE, *LAYERS):
            parts = parts[1:]
    else:
        layer = int(parts[at + 1])
        outside = parts[:at]
        parts = parts[at + 2 :]
    if is_elsewhere(".".join(outside)):
        return Name(layer, tuple(parts), elsewhere=True)

    numbers = [place for place, part in enumerate(parts) if place and is_count(part)]
    if numbers and "experts" in parts[numbers[0] - 1]:
        place = numbers[0]
        tail = (*parts[:place], "#", *parts[place + 1 :])
        return Name(layer, tail, int(parts[place]))
    return Name(layer, tuple(parts))


@dataclass
class _Named:
    """What rules say of the modules of one name: of all, or of experts by their numbers."""

    whole: Stored | None = None
    by_expert: dict[int, Stored] = field(default_factory=dict)

    def add(self, expert: int | None, stored: Stored) -> None:
        if expert is None:
            # The first one counts, as with patterns.
            self.whole = self.whole or stored
        else:
            self.by_expert.setdefault(expert, stored)

    def stored(self, experts: int) -> Stored | None:
        """As most of the experts are; None: most of them are not named."""
        if self.whole is not None or not self.by_expert:
            return self.whole
        [(stored, count)] = self._counted.most_common(1)
        return stored if 2 * count >= experts else None

    def uneven(self, experts: int) -> bool:
        if self.whole is not None or not self.by_expert:
            return False
        return len(self._counted) > 1 or len(self.by_expert) < experts

    @property
    def _counted(self) -> "Counter[Stored]":
        return Counter(self.by_expert.values())


class _Patterned:
    """A rule with a pattern, and the spellings that it is tried on."""

    def __init__(self, rule: Rule, pattern: Pattern) -> None:
        self.rule = rule
        self.pattern = pattern
        plain = rule.text.replace("\\.", ".")
        self.layer = _layer_of(rule)
        found = CONTAINER.search(plain)
        self.container = found[1] if found else LAYERS[0]
        before = plain[: found.start()].removeprefix("^") if found else "*"
        # What it says just before its layers is there; what is left open may be anything usual.
        tail = PLAIN_TAIL.search(before)[0].lstrip(".")  # type: ignore[index]
        self.elsewhere = is_elsewhere(tail)
        is_open = plain.startswith((".*", "^.*", "*"))
        self.prefixes: tuple[str, ...] = PREFIXES[:1] if is_open else PREFIXES
        if tail == before or (tail and is_open):
            self.prefixes = (tail,)
        elif tail:
            self.prefixes = (tail, *PREFIXES)
        # Rules that differ in their layer alone share their spellings.
        self.words = stems_in(NUMBERED.sub("", rule.text))

    def means(self, part: Part, kind: str) -> bool:
        if self.elsewhere or (self.layer is not None and part.layer != self.layer):
            return False
        inside = "" if part.layer is None else f"{self.container}.{part.layer}."
        prefixes = PREFIXES if part.layer is None else self.prefixes
        for tail in _spellings(self.words, part.leaf, kind):
            if any(self.pattern.matches(f"{prefix}{inside}{tail}") for prefix in prefixes):
                return True
        return False


def _layer_of(rule: Rule) -> int | None:
    """The only layer that a pattern may mean; None: it may mean several."""
    numbers = list(NUMBERED.finditer(rule.text))
    if len(numbers) != 1 or not LITERAL.fullmatch(rule.text[: numbers[0].start()]):
        return None
    depth = 0
    for letter in rule.text if rule.is_expression else "":
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and not depth:
            return None
    return int(numbers[0][1])


def stems_in(text: str) -> frozenset[str]:
    """The words of modules, without `_proj`, that words of a text begin with: few, however many
    texts there are."""
    found: set[str] = set()
    for word in set(WORD.findall(text)):
        found.update(word[:length] for length in STEM_LENGTHS if word[:length] in STEMS)
    return frozenset(found)


@lru_cache(maxsize=4096)
def _spellings(stems: frozenset[str], leaf: str, kind: str) -> tuple[str, ...]:
    """The usual spelling of a module, and others of which a pattern has a word (see `stems_in`):
    `[^.]*` would else mean a module by a name that it has nowhere."""

    def has(word: str) -> bool:
        return word.removesuffix("_proj") in stems

    def fits(path: Path) -> bool:
        homes = {word for word in path[:-1] if word not in usual and word != "#"}
        if homes:
            return all(has(word) for word in homes)
        return path[-1] == usual[-1] or has(path[-1])

    usual, *others = paths_of(leaf, kind)
    fitting = (usual, *(path for path in others if fits(path)))
    return tuple(".".join(path).replace("#", "0") for path in fitting)


def rule_of(text: str, stored: Stored, said: str) -> Rule:
    """A rule by a name, a glob, or a regular expression after `re:`."""
    if not isinstance(text, str) or not text:
        raise InputError(f"{said} must be names of modules, not {told(text, 30)}")
    if text.startswith("re:"):
        return Rule(text.removeprefix("re:"), stored, is_expression=True, said=said)
    return Rule(text, stored, said=said)
