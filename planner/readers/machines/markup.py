"""XML from strangers: elements and their attributes, and nothing that a document may do to who reads
it. Entities are refused as they are declared, and sizes are bounded while reading."""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from planner.errors import InputError, shortened

MOST_BYTES = 8 * 2**20
"""Of a document: a machine of thousands of processors takes one."""
MOST_ELEMENTS = 200_000
MOST_DEPTH = 200


def root_of(text: str, path: Path) -> Element:
    """The outermost element of a document."""
    if len(text) > MOST_BYTES:
        raise InputError(f"{path} is too long for a description of a machine")
    reader = _Reader(path)
    try:
        return reader.read(text)
    except expat.ExpatError as error:
        raise InputError(
            f"{path} is not valid XML (line {error.lineno}: {expat.ErrorString(error.code)}); is it"
            " truncated?"
        ) from None


class _Reader:
    """Builds the tree, and counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.builder = TreeBuilder()
        self.elements = 0
        self.depth = 0

    def read(self, text: str) -> Element:
        # What a first line says of an encoding is of the file, which has been read.
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self.builder.data
        # hwloc's first lines name a DTD, which is never fetched; one written out may hold entities.
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._entity
        parser.Parse(text.encode("utf-8", "surrogatepass"), True)
        return self.builder.close()

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        self.depth += 1
        if self.elements > MOST_ELEMENTS or self.depth > MOST_DEPTH:
            raise InputError(
                f"{self.path} has more than {MOST_ELEMENTS} elements, or more than about"
                f" {MOST_DEPTH} levels of them; this is too much for a description of a machine"
            )
        self.builder.start(tag, attributes)

    def _end(self, tag: str) -> None:
        self.depth -= 1
        self.builder.end(tag)

    def _doctype(self, name: str, system: str | None, public: str | None, inside: bool) -> None:
        if inside:
            raise InputError(
                f"{self.path} has a document type with contents of its own"
                f" ({shortened(name, 30)}), which are not read for safety; remove the lines"
                " between [ and ]"
            )

    def _entity(self, *declared: object) -> None:
        raise InputError(f"{self.path} declares an entity; remove the declaration")


def number_in(text: str | None) -> float | None:
    """A plain number, or what a text such as '16.0 GT/s PCIe' begins with; None where it has
    none, or one that is no size of anything."""
    words = (text or "").split()
    try:
        value = float(words[0][:30])
    except (IndexError, ValueError):
        return None
    return value if 0 <= value < 1e18 else None


def whole_in(text: str | None, most: int = 1_000_000) -> int | None:
    """A whole number from 0 on; None where it is none."""
    text = (text or "").strip()
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        return None
    return int(text) if int(text) <= most else None
