"""Checks documents against JSON Schemas, with jsonschema-rs.

Reads from standard input `[{"name", "schema", "documents": [...], "closed"?: bool}]`; a closed schema
refuses properties that it does not name. Prints what is wrong, a line each, and ends with 1 if anything is.
"""

import json
import sys

import jsonschema_rs


def closed(schema):
    if isinstance(schema, dict):
        schema = {word: closed(value) for word, value in schema.items()}
        if isinstance(schema.get("properties"), dict):
            schema.setdefault("additionalProperties", False)
    elif isinstance(schema, list):
        schema = [closed(value) for value in schema]
    return schema


wrong = 0
for case in json.load(sys.stdin):
    schema = closed(case["schema"]) if case.get("closed") else case["schema"]
    try:
        jsonschema_rs.meta.validate(schema)
    except jsonschema_rs.ValidationError as error:
        print(f"{case['name']}: is no JSON Schema: {error.message}")
        wrong += 1
        continue
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    for number, document in enumerate(case["documents"]):
        for error in validator.iter_errors(document):
            place = "/".join(str(step) for step in error.instance_path)
            print(f"{case['name']}, document {number}, at /{place}: {error.message}")
            wrong += 1
sys.exit(1 if wrong else 0)
