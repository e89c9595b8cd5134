"""Regular expressions and globs of strangers, matched in bounded time.

The expressions come from a file that anybody may have written, and Python's `re` takes ages over
some of them. Here a match keeps the set of all places that it may have got to, as the bits of one
integer, so that nothing is tried twice; what a match may cost is known beforehand, and an
expression that would cost too much is refused. Read is what such files use: letters, classes,
groups, alternatives, repetitions, anchors and looks ahead; no references back, no looks behind.
"""

from dataclasses import dataclass
from functools import lru_cache

from planner.errors import InputError, told

MOST_LETTERS = 2_000
"""Of an expression."""
MOST_STEPS = 20_000
"""That one match of an expression may take."""
LONGEST_TEXT = 100
"""Letters of a module's name, for the count of steps; longer names cost more in proportion."""
MOST_REPEATED = 64
DEEPEST = 20
"""Groups within groups."""

DIGITS = frozenset("0123456789")
WORDS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") | DIGITS
SPACES = frozenset(" \t\n\r\f\v")
CLASSES = {"d": DIGITS, "w": WORDS, "s": SPACES}


class Text:
    """A name to be matched; a place in it is a bit."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.last = 1 << len(text)
        self._places: dict[tuple[frozenset[str], bool], int] = {}

    def places(self, letters: frozenset[str], negated: bool) -> int:
        """Where one of `letters` stands, or none of them."""
        key = (letters, negated)
        if key not in self._places:
            found = (1 << at for at, one in enumerate(self.text) if (one in letters) != negated)
            self._places[key] = sum(found)
        return self._places[key]

    @property
    def boundaries(self) -> int:
        """Where a component of the name begins."""
        return 1 | (self.places(frozenset("."), False) << 1)

    @property
    def ends(self) -> int:
        """Where a component of the name ends."""
        return self.last | self.places(frozenset("."), False)


@lru_cache(maxsize=4096)
def text_of(name: str) -> Text:
    """A name, ready to be matched many times."""
    return Text(name)


class Node:
    """A piece of an expression."""

    steps = 1

    def reached(self, text: Text, starts: int) -> int:
        """Where a match may end that begins at one of `starts`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Letter(Node):
    """One letter out of some, or out of all others."""

    letters: frozenset[str]
    negated: bool = False

    def reached(self, text: Text, starts: int) -> int:
        return (starts & text.places(self.letters, self.negated)) << 1


ANY = Letter(frozenset(), negated=True)


@dataclass(frozen=True)
class Edge(Node):
    """The beginning or the end of the name."""

    first: bool

    def reached(self, text: Text, starts: int) -> int:
        return starts & (1 if self.first else text.last)


@dataclass(frozen=True)
class Row(Node):
    """Pieces one after the other."""

    pieces: tuple[Node, ...]

    @property
    def steps(self) -> int:  # type: ignore[override]
        return 1 + sum(piece.steps for piece in self.pieces)

    def reached(self, text: Text, starts: int) -> int:
        for piece in self.pieces:
            if not starts:
                return 0
            starts = piece.reached(text, starts)
        return starts


@dataclass(frozen=True)
class Choice(Node):
    """One of several pieces."""

    pieces: tuple[Node, ...]

    @property
    def steps(self) -> int:  # type: ignore[override]
        return 1 + sum(piece.steps for piece in self.pieces)

    def reached(self, text: Text, starts: int) -> int:
        found = 0
        for piece in self.pieces:
            found |= piece.reached(text, starts)
        return found


@dataclass(frozen=True)
class Repeat(Node):
    """A piece so many times; without `most`, as often as it likes."""

    piece: Node
    least: int
    most: int | None

    @property
    def steps(self) -> int:  # type: ignore[override]
        if self.piece == ANY and self.most is None:
            return 2
        times = LONGEST_TEXT if self.most is None else self.most
        return 1 + self.piece.steps * max(self.least, times, 1)

    def reached(self, text: Text, starts: int) -> int:
        for _ in range(self.least):
            starts = self.piece.reached(text, starts)
        if self.most is None and self.piece == ANY:
            # From the first place on, everywhere.
            return ((text.last << 1) - 1) & ~((starts & -starts) - 1) if starts else 0
        found = starts
        new = starts
        left = len(text.text) + 1 if self.most is None else self.most - self.least
        while new and left:
            new = self.piece.reached(text, new) & ~found
            found |= new
            left -= 1
        return found


@dataclass(frozen=True)
class Ahead(Node):
    """A look at what follows, which takes nothing."""

    piece: Node
    wanted: bool

    @property
    def steps(self) -> int:  # type: ignore[override]
        return 1 + self.piece.steps * LONGEST_TEXT

    def reached(self, text: Text, starts: int) -> int:
        found = 0
        while starts:
            start = starts & -starts
            starts ^= start
            if bool(self.piece.reached(text, start)) == self.wanted:
                found |= start
        return found


class _Reader:
    """An expression, letter by letter."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.depth = 0

    def peek(self) -> str:
        return self.source[self.at : self.at + 1]

    def take(self) -> str:
        letter = self.peek()
        if not letter:
            raise ValueError("it ends too early")
        self.at += 1
        return letter

    def took(self, wanted: str) -> bool:
        if self.source.startswith(wanted, self.at):
            self.at += len(wanted)
            return True
        return False

    def choice(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        rows = [self.row()]
        while self.took("|"):
            rows.append(self.row())
        self.depth -= 1
        return rows[0] if len(rows) == 1 else Choice(tuple(rows))

    def row(self) -> Node:
        pieces: list[Node] = []
        while self.peek() and self.peek() not in "|)":
            pieces.append(self.repeated(self.piece()))
        return pieces[0] if len(pieces) == 1 else Row(tuple(pieces))

    def piece(self) -> Node:
        letter = self.take()
        if letter == "(":
            return self.group()
        if letter == "[":
            return self.letters()
        if letter == "\\":
            return self.escaped()
        if letter in "*+?":
            raise ValueError(f"nothing to repeat before {letter!r}")
        simple: dict[str, Node] = {".": ANY, "^": Edge(True), "$": Edge(False)}
        return simple.get(letter) or Letter(frozenset(letter))

    def group(self) -> Node:
        wanted = True
        ahead = False
        if self.took("?"):
            if self.took("P<"):
                self.at = self.source.index(">", self.at) + 1
            elif self.took("=") or self.took("!"):
                ahead = True
                wanted = self.source[self.at - 1] == "="
            elif not self.took(":"):
                raise ValueError("only groups that begin with (?:, (?=, (?! or (?P< are supported")
        inner = self.choice()
        if not self.took(")"):
            raise ValueError("a parenthesis is not closed")
        return Ahead(inner, wanted) if ahead else inner

    def escaped(self) -> Node:
        letter = self.take()
        if letter.lower() in CLASSES:
            return Letter(CLASSES[letter.lower()], negated=letter.isupper())
        if letter in "AZ":
            return Edge(letter == "A")
        if letter.isalnum():
            raise ValueError(f"\\{letter} is not read")
        return Letter(frozenset(letter))

    def letters(self) -> Node:
        negated = self.took("^")
        found: set[str] = set()
        first = True
        while first or self.peek() != "]":
            first = False
            low = self.take()
            if low == "\\":
                inner = self.escaped()
                if not isinstance(inner, Letter) or inner.negated:
                    raise ValueError("a class within a class is not read")
                found |= inner.letters
                continue
            if self.source[self.at : self.at + 1] == "-" and self.source[self.at + 1 :][:1] != "]":
                self.take()
                found |= _between(low, self.take())
            else:
                found.add(low)
        self.take()
        return Letter(frozenset(found), negated)

    def repeated(self, piece: Node) -> Node:
        letter = self.peek()
        if not letter or letter not in "*+?{":
            return piece
        if letter == "{":
            least, most = self.counts()
        else:
            self.take()
            least = 1 if letter == "+" else 0
            most = 1 if letter == "?" else None
        # Lazy or not: the places that are reached are the same.
        self.took("?")
        if self.peek() and self.peek() in "*+?{":
            raise ValueError("a repetition is repeated, or possessive")
        return Repeat(piece, least, most)

    def counts(self) -> tuple[int, int | None]:
        inside, closed, _ = self.source[self.at + 1 :].partition("}")
        low, comma, high = inside.partition(",")
        numbers = [number for number in (low, high) if number]
        if not closed or not numbers or not all(_is_number(number) for number in numbers):
            raise ValueError("a brace without counts is not read")
        self.at += len(inside) + 2
        least = int(low or 0)
        most = (int(high) if high else None) if comma else least
        if max(map(int, numbers)) > MOST_REPEATED or (most is not None and most < least):
            raise ValueError(f"counts must be at most {MOST_REPEATED}, and rise")
        return least, most


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 4


def _between(low: str, high: str) -> set[str]:
    if high == "\\" or not low.isascii() or not high.isascii() or high < low:
        raise ValueError("a class has an invalid range")
    return {chr(code) for code in range(ord(low), ord(high) + 1)}


@dataclass(frozen=True)
class Pattern:
    """A regular expression or a glob."""

    node: Node
    glob: bool
    needed: str
    """Letters that stand in a row in all that it matches, which are soon looked for."""

    @property
    def steps(self) -> int:
        """That a match may take."""
        return self.node.steps

    def matches(self, name: str) -> bool:
        """Whether a name begins so, if this is an expression; if it is a glob, whether the name,
        or what it lies in, is spelled so from the beginning of a component on."""
        if self.needed not in name:
            return False
        text = text_of(name)
        if self.glob:
            return bool(self.node.reached(text, text.boundaries) & text.ends)
        return bool(self.node.reached(text, 1))


def expression(source: str, said: str) -> Pattern:
    """A regular expression; `said` names the field that it comes from, for refusals."""
    return _pattern(source, said, glob=False)


def glob(source: str, said: str) -> Pattern:
    """A glob, in which `*`, `?` and `[…]` stand for others."""
    return _pattern(source, said, glob=True)


def _pattern(source: str, said: str, glob: bool) -> Pattern:
    try:
        if len(source) > MOST_LETTERS:
            raise ValueError(f"it has {len(source)} letters; at most {MOST_LETTERS} are read")
        reader = _Reader(_expression_of(source) if glob else source)
        node = reader.choice()
        if reader.peek():
            raise ValueError("it has one closing parenthesis too many")
        if node.steps > MOST_STEPS:
            raise ValueError("it repeats a repetition, and could take too long to match")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{said} has the pattern {told(source, 60)}, which is not read: {error};"
            " give weight_dtype (--weights)"
        ) from None
    return Pattern(node, glob, _needed(node))


def _needed(node: Node) -> str:
    """The longest row of letters that nothing can stand for."""
    longest = ""
    row = ""
    for piece in node.pieces if isinstance(node, Row) else (node,):
        alone = isinstance(piece, Letter) and not piece.negated and len(piece.letters) == 1
        row = row + next(iter(piece.letters)) if alone else ""  # type: ignore[attr-defined]
        longest = max(longest, row, key=len)
    return longest


def _expression_of(source: str) -> str:
    """The regular expression that says what a glob says."""
    pieces = []
    at = 0
    while at < len(source):
        letter = source[at]
        at += 1
        closed = source.find("]", at + 1) if letter == "[" else -1
        if closed > 0:
            inside = source[at:closed].replace("\\", "\\\\")
            pieces.append(f"[{'^' + inside[1:] if inside[:1] == '!' else inside}]")
            at = closed + 1
        elif letter in "*?":
            pieces.append(".*" if letter == "*" else ".")
        else:
            pieces.append(letter if letter.isalnum() or letter == "_" else f"\\{letter}")
    return "".join(pieces)
