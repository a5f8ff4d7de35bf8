"""The pipeline file's rules as JSON Schema, draft 2020-12, for editors."""

from __future__ import annotations

import json

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ci_env.pipeline.schema import File


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, without what tells an editor nothing."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Show defaults that are text; the others mean that the key may be absent."""
        if isinstance(schema.get("default"), str):
            return super().default_schema(schema)
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Forbid the keys that no pattern allows."""
        result = super().dict_schema(schema)
        return result | {"additionalProperties": False} if "patternProperties" in result else result

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # pydantic's signature
        """Say no: a title made of the key repeats it."""
        return False


def render_schema() -> str:
    """Return the schema as indented JSON text."""
    body = File.model_json_schema(schema_generator=_Generator)
    schema = {"$schema": _Generator.schema_dialect, **body, "title": "ci-env pipeline file"}
    return json.dumps(schema, indent=2) + "\n"
