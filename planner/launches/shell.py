"""What a shell makes of a text: commands of words, with their variables and the files they write.

Of a shell's grammar, what people write around the start of a server: quotes, continued lines,
comments, assignments, variables with defaults, here-documents. Nothing is run.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from planner.errors import InputError, shortened

MOST_BYTES = 64 * 2**10
"""Of a text; a command beyond is something else."""
MOST_WORDS = 4096

ASSIGNED = re.compile(r"[A-Za-z_]\w*=")
NAMED = re.compile(r"\{?([A-Za-z_]\w*|[0-9@*#?$!])")
BRACED = re.compile(r"\{([A-Za-z_]\w*)(?::?-([^{}]*))?\}")
CONTINUED = re.compile(r"\\[ \t]*\n")
HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1")
PROMPT = ("$", "%", ">")


class Variable(NamedTuple):
    """A value that the shell puts in."""

    name: str
    default: str | None = None
    quoted: bool = False


class Word(NamedTuple):
    """A word of a command, variables put in."""

    text: str
    unknown: tuple[str, ...] = ()
    """Variables without a value, which stand in `text` as they were written."""


Pieces = list["str | Variable"]


@dataclass(slots=True)
class Statement:
    """One command as it stands, before its variables have values."""

    words: list[Pieces] = field(default_factory=list)
    written_to: Pieces | None = None
    """The file that its output goes to."""
    document: str = ""
    """The here-document that it is given."""


def statements_of(text: str) -> list[Statement]:
    """The commands of a text."""
    size = len(text.encode("utf-8", "replace"))
    if size > MOST_BYTES:
        raise InputError(f"a command has {size:,} bytes; at most {MOST_BYTES:,} are read")
    if "\0" in text:
        raise InputError("a command holds a null byte; give the text of a command")
    lexer = _Lexer(text.replace("\r\n", "\n").replace("\r", "\n"))
    lexer.run()
    return [one for one in lexer.statements if one.words or one.document]


class _Lexer:
    """Goes through a text once, letter by letter."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.statements: list[Statement] = [Statement()]
        self.word: Pieces | None = None
        self.is_target = False
        self.count = 0
        self.documents: list[tuple[str, Statement]] = []

    def run(self) -> None:
        while self.at < len(self.text):
            self.step(self.text[self.at])
        self.end_statement()

    def step(self, letter: str) -> None:
        text = self.text
        if letter == "\\":
            self.escape()
        elif letter in " \t":
            self.end_word()
            self.at += 1
        elif letter == "\n":
            self.end_line()
        elif letter == "#" and self.word is None:
            end = text.find("\n", self.at)
            self.at = len(text) if end < 0 else end
        elif letter in "'\"":
            self.quote(letter)
        elif letter in "$`":
            self.add(self.variable(quoted=False))
        elif letter in "<>":
            self.redirect()
        elif letter in ";|&()":
            self.end_statement()
            self.at += 1
        else:
            self.add(letter)
            self.at += 1

    def escape(self) -> None:
        continued = CONTINUED.match(self.text, self.at)
        if continued:
            # Blanks before the end of a line are a slip that shells take amiss; what was meant is
            # plain.
            self.at = continued.end()
            return
        self.add(self.text[self.at + 1 : self.at + 2])
        self.at += 2

    def add(self, piece: "str | Variable") -> None:
        if self.word is None:
            self.word = []
        if isinstance(piece, str) and self.word and isinstance(self.word[-1], str):
            self.word[-1] += piece
        else:
            self.word.append(piece)

    def quote(self, mark: str) -> None:
        began = self.at
        self.add("")
        self.at += 1
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter == mark:
                self.at += 1
                return
            if mark == '"' and letter == "\\":
                self.escape_in_quotes()
            elif mark == '"' and letter in "$`":
                self.add(self.variable(quoted=True))
            else:
                self.add(letter)
                self.at += 1
        raise InputError(
            f"a quote is not closed: {shortened(self.text[began:])!r}; end it with {mark}"
        )

    def escape_in_quotes(self) -> None:
        following = self.text[self.at + 1 : self.at + 2]
        if following in ("$", "`", '"', "\\"):
            self.add(following)
        elif following != "\n":
            self.add("\\" + following)
        self.at += 2

    def variable(self, *, quoted: bool) -> "str | Variable":
        """A variable, or the output of a command, which nobody knows."""
        text = self.text
        began = self.at
        if text[began] == "`" or text.startswith("$(", began):
            end = text.find("`", began + 1) if text[began] == "`" else _closing(text, began + 1)
            self.at = len(text) if end < 0 else end + 1
            return Variable(shortened(text[began : self.at], 40), None, quoted)
        braced = BRACED.match(text, began + 1)
        plain = NAMED.match(text, began + 1)
        if braced:
            self.at = braced.end()
            return Variable(braced[1], braced[2], quoted)
        if plain and text[began + 1] != "{":
            self.at = plain.end()
            return Variable(plain[1], None, quoted)
        self.at += 1
        return "$"

    def redirect(self) -> None:
        document = HEREDOC.match(self.text, self.at)
        if self.word and len(self.word) == 1 and str(self.word[0]).isdigit():
            self.word = None  # the number of a stream
        self.end_word()
        if document:
            self.documents.append((document[2], self.statements[-1]))
            self.at = document.end()
            return
        while self.at < len(self.text) and self.text[self.at] in "<>&":
            self.at += 1
        self.is_target = True

    def end_word(self) -> None:
        if self.word is None:
            return
        if self.is_target:
            self.statements[-1].written_to = self.word
        else:
            self.statements[-1].words.append(self.word)
        self.word = None
        self.is_target = False
        self.count += 1
        if self.count > MOST_WORDS:
            raise InputError(f"a command has more than {MOST_WORDS:,} words, which are not read")

    def end_statement(self) -> None:
        self.end_word()
        self.is_target = False
        self.statements.append(Statement())

    def end_line(self) -> None:
        self.end_statement()
        self.at += 1
        for end, statement in self.documents:
            lines = []
            while self.at < len(self.text):
                stop = self.text.find("\n", self.at)
                stop = len(self.text) if stop < 0 else stop
                line = self.text[self.at : stop]
                self.at = stop + 1
                if line.strip() == end:
                    break
                lines.append(line)
            statement.document = "\n".join(lines) + "\n"
        self.documents = []


def _closing(text: str, began: int) -> int:
    """Where the bracket that opens at `began` is closed; -1: nowhere."""
    depth = 0
    for at in range(began, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if not depth:
            return at
    return -1


def expanded(words: list[Pieces], known: Mapping[str, str]) -> list[Word]:
    """Words with their variables put in; one that is not quoted may become several."""
    return [word for pieces in words for word in _expanded(pieces, known)]


def _expanded(pieces: Pieces, known: Mapping[str, str]) -> Iterator[Word]:
    text = ""
    unknown: tuple[str, ...] = ()
    was_left_open = False
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            was_left_open = True
            continue
        value = known.get(piece.name) or piece.default
        if value is None:
            text += f"${piece.name}" if not piece.name.startswith(("$", "`")) else piece.name
            unknown += (piece.name,)
            was_left_open = True
            continue
        parts = [value] if piece.quoted else value.split()
        for part in parts[:-1]:
            yield Word(text + part, unknown)
            text, unknown = "", ()
        text += parts[-1] if parts else ""
        was_left_open = was_left_open or bool(parts) or piece.quoted
    if was_left_open:
        yield Word(text, unknown)
