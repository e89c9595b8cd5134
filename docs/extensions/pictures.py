"""Pictures that pages show, taken from the notebooks that draw them (`make notebooks`)."""

import base64
import json
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent
TAKEN = {"output_of_each_chip.png": ("which_machine_for_my_model_and_slo", "serving_fronts(")}
"""By the name of a picture: the notebook, and what stands in the cell that draws it."""


def picture_of(notebook: str, drawn_by: str) -> bytes:
    """The picture of one cell, as the notebook keeps it."""
    text = (DOCS.parent / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8")
    for cell in json.loads(text)["cells"]:
        kept = [output.get("data", {}).get("image/png") for output in cell.get("outputs", ())]
        if drawn_by in "".join(cell["source"]) and any(kept):
            return base64.b64decode(next(filter(None, kept)))
    raise LookupError(f"no cell of {notebook} draws a picture with {drawn_by}")


def main() -> None:
    """Write them all."""
    for name, (notebook, drawn_by) in TAKEN.items():
        (DOCS / "pictures" / name).write_bytes(picture_of(notebook, drawn_by))


if __name__ == "__main__":
    main()
