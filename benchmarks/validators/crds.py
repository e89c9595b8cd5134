"""Hold manifests against the schemas of their own resources, unknown keys refused.

    python -m benchmarks.validators.crds MANIFESTS… --crd leaderworkersets.yaml --crd llminferenceservices.yaml

The files of a resource (CustomResourceDefinition) stand in the repository of whoever makes it; YAML and
jsonschema must be installed. A resource without a file is counted as not validated.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import yaml

Schemas = dict[tuple[str, str], jsonschema.Draft7Validator]


def strict(schema: Any) -> Any:
    """A schema in which objects have no fields but those that are named."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        if schema.pop("x-kubernetes-int-or-string", False):
            for key in ("anyOf", "pattern"):
                schema.pop(key, None)
            schema["type"] = ["integer", "string"]
        for part in schema.values():
            strict(part)
    if isinstance(schema, list):
        for part in schema:
            strict(part)
    return schema


def schemas_of(path: Path) -> Schemas:
    """By version and kind."""
    made = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["spec"]
    found = {}
    for version in made["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        name = f"{made['group']}/{version['name']}"
        found[name, made["names"]["kind"]] = jsonschema.Draft7Validator(schema)
    return found


def main() -> int:
    """Say of each manifest what is wrong with it, and how many were held against a schema."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--crd", action="append", type=Path, default=[])
    given = parser.parse_args()
    schemas: Schemas = {}
    for path in given.crd:
        schemas |= schemas_of(path)
    counts: Counter[str] = Counter()
    for path in given.manifests:
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            validator = schemas.get((document.get("apiVersion", ""), document.get("kind", "")))
            if validator is None:
                counts["not validated"] += 1
                continue
            faults = list(validator.iter_errors(document))
            counts["wrong" if faults else "valid"] += 1
            for fault in faults:
                print(f"{path}: {'.'.join(map(str, fault.path))}: {fault.message[:200]}")
    print(", ".join(f"{number} {word}" for word, number in counts.items()))
    return int(counts["wrong"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
