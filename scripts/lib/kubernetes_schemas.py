"""Schemas for kubeconform from Kubernetes' description of its API (swagger.json): strict ones, which know every field and refuse any other.

  python3 kubernetes_schemas.py SWAGGER FOLDER      writes FOLDER/<kind>.json for the kinds that the chart may render

What each kind refers to stays a reference, to definitions.json beside it.
"""

import json
import sys
from pathlib import Path

KINDS = {
    ("batch", "v1", "CronJob"), ("batch", "v1", "Job"), ("networking.k8s.io", "v1", "NetworkPolicy"), ("", "v1", "Pod"), ("", "v1", "ServiceAccount"),
    ("", "v1", "ConfigMap"), ("", "v1", "Secret"), ("", "v1", "PersistentVolumeClaim"),
}
# The description calls these objects or strings; a manifest may hold either.
LOOSE = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}


def main() -> None:
    swagger, folder = Path(sys.argv[1]), Path(sys.argv[2])
    definitions = json.loads(swagger.read_text())["definitions"]
    kinds = {}
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            key = (kind["group"], kind["version"], kind["kind"])
            if key in KINDS and name.endswith("." + kind["kind"]):
                kinds[key] = name
    missing = KINDS - kinds.keys()
    if missing:
        raise SystemExit(f"error: {swagger} does not describe {sorted(missing)}")
    text = json.dumps({"definitions": {name: LOOSE.get(name) or strict(definition) for name, definition in definitions.items()}})
    (folder / "definitions.json").write_text(text.replace("#/definitions/", "definitions.json#/definitions/"))
    for (group, version, kind), name in kinds.items():
        schema = strict(definitions[name])
        schema["properties"]["apiVersion"] = {"enum": [f"{group}/{version}" if group else version]}
        schema["properties"]["kind"] = {"enum": [kind]}
        schema["required"] = sorted({*schema.get("required", []), "apiVersion", "kind", "metadata"})
        (folder / f"{kind.lower()}.json").write_text(json.dumps(schema).replace("#/definitions/", "definitions.json#/definitions/"))


def strict(definition: dict) -> dict:
    """The definition without words, and with no field but its own."""
    kept = {key: value for key, value in definition.items() if key in ("type", "properties", "required", "items", "additionalProperties", "$ref", "format")}
    if "properties" in kept:
        kept["properties"] = {name: nullable(value) for name, value in kept["properties"].items()}
        kept["additionalProperties"] = False
    return kept


def nullable(value: dict) -> dict:
    value = {key: part for key, part in value.items() if key in ("type", "items", "additionalProperties", "$ref", "enum")}
    return {"anyOf": [value, {"type": "null"}]} if value else {}


if __name__ == "__main__":
    main()
