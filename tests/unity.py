"""A Unity Catalog of the tests' own on 127.0.0.1, for the few requests that silt makes.

Bodies are read strictly by what the published OpenAPI (unitycatalog/unitycatalog, api/all.yaml) says of them:
an unknown key, a missing one, a wrong type or enum is a 400.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from jsonschema import Draft202012Validator

API = "/api/2.1/unity-catalog/"
_TEXT = {"type": "string"}
_COUNT = {"type": "integer"}
_PROPERTIES = {"type": "object", "additionalProperties": _TEXT}
_TYPES = """
    BOOLEAN BYTE SHORT INT LONG FLOAT DOUBLE DATE TIMESTAMP TIMESTAMP_NTZ STRING BINARY DECIMAL INTERVAL ARRAY
    STRUCT MAP CHAR NULL USER_DEFINED_TYPE TABLE_TYPE
"""


def _strict(required: str, **properties: Any) -> Draft202012Validator:
    schema = {"type": "object", "additionalProperties": False, "required": required.split()}
    return Draft202012Validator({**schema, "properties": properties})


_CREATE_SCHEMA = _strict(
    "name catalog_name", name=_TEXT, catalog_name=_TEXT, comment=_TEXT, properties=_PROPERTIES
)
_COLUMN = _strict(
    "",
    **dict.fromkeys(("name", "type_text", "type_json", "type_interval_type", "comment"), _TEXT),
    **dict.fromkeys(("type_precision", "type_scale", "position", "partition_index"), _COUNT),
    type_name={"enum": _TYPES.split()},
    nullable={"type": "boolean"},
)
_CREATE_TABLE = _strict(
    "name catalog_name schema_name table_type data_source_format columns storage_location",
    **dict.fromkeys(("name", "catalog_name", "schema_name", "storage_location", "comment"), _TEXT),
    table_type={"enum": ["MANAGED", "EXTERNAL"]},
    data_source_format={"enum": ["DELTA", "CSV", "JSON", "AVRO", "PARQUET", "ORC", "TEXT"]},
    columns={"type": "array", "items": _COLUMN.schema},
    properties=_PROPERTIES,
)

PAGE = 2
"""Tables a page of a list holds."""


@dataclass
class Unity:
    """The server: `tables` by full name; `answers` are (status, body) that come first, once each."""

    port: int = 0
    token: str | None = "dapi-not-to-be-shown"
    catalogs: set[str] = field(default_factory=lambda: {"main"})
    schemas: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        token = {} if self.token is None else {"DATABRICKS_TOKEN": self.token}
        return {"DATABRICKS_HOST": f"http://127.0.0.1:{self.port}", **token}


class _Answer(Exception):
    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def _missing(what: str) -> _Answer:
    return _Answer(404, {"error_code": "NOT_FOUND", "message": f"{what} does not exist"})


def _read(wanted: Draft202012Validator, body: dict[str, Any]) -> dict[str, Any]:
    """The body, if the published schema takes all of it and lacks nothing."""
    for error in wanted.iter_errors(body):
        raise _Answer(400, {"message": f"{error.json_path}: {error.message}"})
    return body


class _Handler(BaseHTTPRequestHandler):
    unity: Unity
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        try:
            status, answer = 200, self._answer(body)
        except _Answer as other:
            status, answer = other.status, other.body
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if 300 <= status < 400:
            self.send_header("Location", f"http://127.0.0.1:{self.unity.port}/elsewhere")
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 -- the name that http.server calls

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        self.unity.asked.append(f"{self.command} {self.path}")
        if self.unity.answers:
            raise _Answer(*self.unity.answers.pop(0))
        if self.unity.token and self.headers.get("Authorization") != f"Bearer {self.unity.token}":
            raise _Answer(401, {"message": "invalid token"})
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match (self.command, *map(unquote, parts.path.removeprefix(API).split("/"))):
            case ("GET", "catalogs", name) if name in self.unity.catalogs:
                return {"name": name}
            case ("GET", "schemas", name) if name in self.unity.schemas:
                return self.unity.schemas[name]
            case ("GET", "tables", name) if name in self.unity.tables:
                return self.unity.tables[name]
            case ("GET", "tables"):
                return self._list(
                    f"{query['catalog_name']}.{query['schema_name']}.", query.get("page_token", "0")
                )
            case ("POST", "schemas"):
                return self._made_schema(_read(_CREATE_SCHEMA, body))
            case ("POST", "tables"):
                return self._made_table(_read(_CREATE_TABLE, body))
        raise _missing(self.path)

    def _list(self, prefix: str, token: str) -> dict[str, Any]:
        found = [table for name, table in sorted(self.unity.tables.items()) if name.startswith(prefix)]
        start = int(token)
        more = {"next_page_token": str(start + PAGE)} if start + PAGE < len(found) else {}
        return {"tables": found[start : start + PAGE], **more}

    def _made_schema(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["catalog_name"] not in self.unity.catalogs:
            raise _missing(body["catalog_name"])
        return self.unity.schemas.setdefault(f"{body['catalog_name']}.{body['name']}", body)

    def _made_table(self, body: dict[str, Any]) -> dict[str, Any]:
        schema = f"{body['catalog_name']}.{body['schema_name']}"
        if schema not in self.unity.schemas:
            raise _missing(schema)
        if f"{schema}.{body['name']}" in self.unity.tables:
            raise _Answer(400, {"error_code": "TABLE_ALREADY_EXISTS", "message": "it is there"})
        return self.unity.tables.setdefault(f"{schema}.{body['name']}", body)

    def log_message(self, *_: object) -> None:
        """Nothing: the test's output stays clean."""


@contextlib.contextmanager
def unity_server() -> Iterator[Unity]:
    """A catalog `main` without a schema."""
    unity = Unity()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"unity": unity})) as server:
        server.daemon_threads = True
        unity.port = int(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield unity
        server.shutdown()
