"""Checks OpenRPC documents, and values against the schemas in them."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

__all__ = ["document_errors", "schema_errors"]

_META = json.loads((Path(__file__).parent / "data" / "openrpc.json").read_text("utf-8"))
#: What the meta-schema takes from elsewhere: schemas of the document are schemas of draft 7.
_SCHEMAS = {
    "$id": "https://meta.json-schema.tools/",
    "$ref": "http://json-schema.org/draft-07/schema#",
    "definitions": {"JSONSchemaObject": Draft7Validator.META_SCHEMA},
}
_REGISTRY: Any = Registry().with_resources(
    [
        (uri, DRAFT7.create_resource(content))
        for uri, content in (
            ("https://meta.json-schema.tools/", _SCHEMAS),
            ("https://meta.json-schema.tools", _SCHEMAS),
            ("http://json-schema.org/draft-07/schema", Draft7Validator.META_SCHEMA),
        )
    ]
)


def document_errors(document: Any) -> list[str]:
    """What is wrong with an OpenRPC document."""
    validator = Draft7Validator({**_META, "$schema": "http://json-schema.org/draft-07/schema#"}, registry=_REGISTRY)
    return [f"{error.json_path}: {error.message:.300}" for error in validator.iter_errors(document)]


def schema_errors(value: Any, schema: Any) -> list[str]:
    """Where a value is not as its schema says."""
    return [f"{error.json_path}: {error.message:.300}" for error in Draft7Validator(schema).iter_errors(value)]
