"""A judge of what goes over the wire between domostats and the sandbox of Comotion Dash: the
vendor's own description of its API, as it is published beside the code of `comotion-sdk`.

The description is read when a test runs and is no part of this project."""

import copy
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from conftest import QUICKLY
from openapi_core import Config, OpenAPI
from openapi_core.testing import MockRequest, MockResponse

# Where the vendor has the two halves of its API, and the path that each begins with.
DOCUMENTS = {
    "comodash_api_swagger.yaml": ("https://acme.api.comodash.io", "/v2"),
    "comodash_dailyrun_api_swagger.yaml": ("https://api.acme.comodash.io", "/superset"),
}


def download_documents(published: str, folder: Path) -> dict[str, Any]:
    "The descriptions in the source of a release, by the name of their file."
    name = published.partition("==")[0]
    ask = ["-m", "pip", "download", "--no-deps", "--no-binary", name, *QUICKLY[:2]]
    subprocess.run([sys.executable, *ask, "--dest", folder, published], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as source:
        kept = {Path(one.name).name: one for one in source if Path(one.name).name in DOCUMENTS}
        return {name: _texts(yaml.safe_load(source.extractfile(kept[name]))) for name in DOCUMENTS}


def _texts(value: Any) -> Any:
    "The same with every name as text: YAML reads the status 200 as a number."
    if isinstance(value, dict):
        return {str(name): _texts(one) for name, one in value.items()}
    return [_texts(one) for one in value] if isinstance(value, list) else value


# The slips of the description, by the place of each: what stands there, what is meant, and how that
# is known. Whoever finds another text at a place finds another description.
SLIPS: dict[str, tuple[Any, Any, str]] = {
    "MigrationStatus/required": (
        ["flash_schema_status,", "full_migration_status"],
        ["flash_schema_status", "full_migration_status"],
        "a comma has slipped into a name, so every answer would lack it",
    ),
    "LoadCommit/properties/check_sum/additionalProperties": (
        "check_sum",
        {"oneOf": [{"type": "number"}, {"type": "string"}]},
        "a name stands where a schema should; the sdk sends numbers and texts",
    ),
    "StartExecutionResponse/properties/runningExecution": (
        {
            "allOf": [{"$ref": "#/components/schemas/RunningExecution"}],
            "nullable": True,
            "description": (
                "what is said of it"
            ),
        },
        {
            "type": "object",
            "nullable": True,
            "properties": {name: {"type": "string"} for name in ("name", "status", "startDate")},
        },
        "it says that it may be null, which counts only beside a type",
    ),
    "QueryResult/properties/NextToken": (
        None,
        {"type": "string"},
        "the token of the next page is promised, and no field is named for it",
    ),
    "FileUploadResponse/properties/presigned_url/additionalProperties": (
        None,
        True,
        "an object of which no member is named",
    ),
    "FileUploadResponse/properties/sts_credentials/additionalProperties": (
        None,
        True,
        "an object of which no member is named",
    ),
}


def mend(documents: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    "The descriptions without the slips that are known. KeyError for a slip that is not there."
    mended = copy.deepcopy({**documents})
    for place, (found, meant, _) in SLIPS.items():
        *path, last = place.split("/")
        schemas = next(
            document["components"]["schemas"]
            for document in mended.values()
            if path[0] in document["components"]["schemas"]
        )
        for name in path:
            schemas = schemas[name]
        if schemas.get(last) != found:
            raise KeyError(f"{place} is {schemas.get(last)!r}")
        schemas[last] = meant
    return mended


class Exchange(NamedTuple):
    "A request and its answer, as they went over the wire; names of headers in lower case."

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer_headers: Mapping[str, str]
    answer: bytes


class Violation(NamedTuple):
    "What is not as described: an operation (`POST /load`), a side, a status, and the words."

    operation: str
    side: str
    status: int
    words: str


class ApiDescription:
    "The operations of the vendor's API: `judge` an exchange by them."

    def __init__(self, documents: Mapping[str, dict[str, Any]]):
        strict = Config(additional_properties_default_policy="forbid")
        self.apis: dict[str, tuple[str, dict[str, Any], OpenAPI]] = {}
        for name, document in documents.items():
            host, prefix = DOCUMENTS[name]
            self.apis[prefix] = (host, document, OpenAPI.from_dict(document, strict))

    def operations(self) -> set[str]:
        "All operations, as `POST /load/{load_id}/file`."
        verbs = "get", "post", "put", "delete"
        return {
            f"{verb.upper()} {path}"
            for _, document, _ in self.apis.values()
            for path, item in document["paths"].items()
            for verb in item
            if verb in verbs
        }

    def find(self, method: str, path: str) -> str:
        "The operation of a request, empty where none is described."
        for prefix, (_, document, _) in self.apis.items():
            if not path.startswith(f"{prefix}/"):
                continue
            parts = path.removeprefix(prefix).split("/")
            for pattern, item in document["paths"].items():
                wanted = pattern.split("/")
                if method.lower() in item and len(wanted) == len(parts):
                    pairs = zip(wanted, parts, strict=True)
                    if all(want in ("{query_id}", "{load_id}", part) for want, part in pairs):
                        return f"{method} {pattern}"
        return ""

    def judge(self, one: Exchange) -> list[Violation]:
        "What is wrong with a request and with its answer, each by itself."
        operation = self.find(one.method, one.path)
        if not operation:
            return [Violation(f"{one.method} {one.path}", "request", one.status, "not described")]
        prefix = next(prefix for prefix in self.apis if one.path.startswith(f"{prefix}/"))
        host, document, api = self.apis[prefix]
        asked = MockRequest(
            host,
            one.method,
            one.path,
            args={**one.query},
            headers={**one.headers},
            data=one.body,
            content_type=one.headers.get("content-type", ""),
        )
        given = MockResponse(
            one.answer,
            one.status,
            {**one.answer_headers},
            one.answer_headers.get("content-type", ""),
        )
        found = [("request", error) for error in api.iter_request_errors(asked)]
        found += [("answer", error) for error in api.iter_response_errors(asked, given)]
        told = [Violation(operation, side, one.status, _words(error)) for side, error in found]
        described = document["paths"][operation.partition(" ")[2]][one.method.lower()]
        if one.body and "requestBody" not in described:
            told.append(Violation(operation, "request", one.status, "a body is not described"))
        for name in one.query:
            if name not in {parameter["name"] for parameter in _query_of(described, document)}:
                told.append(Violation(operation, "request", one.status, f"query {name!r}"))
        return told


def _query_of(described: dict[str, Any], document: dict[str, Any]) -> list[dict[str, Any]]:
    "The parameters of an operation that stand in its query."
    found = []
    for one in described.get("parameters", ()):
        named = one.get("$ref", "").rpartition("/")[2]
        one = document["components"]["parameters"][named] if named else one
        found += [one] if one["in"] == "query" else []
    return found


def _words(error: BaseException) -> str:
    "What a validator says, and each of the faults that it has found."
    cause = error.__cause__ or error
    inner = getattr(cause, "schema_errors", None) or getattr(error, "schema_errors", ())
    said = [f"{'/'.join(map(str, one.absolute_path))}: {one.message}" for one in inner]
    return "; ".join([f"{type(error).__name__}: {error}", *said])
