"""The language server that editors run for YAML, installed by npm and spoken to over its stdio."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import npm

PACKAGE = "yaml-language-server@1.25.0"
SETTINGS = {
    "yaml": {
        "validate": True,
        "hover": True,
        "completion": True,
        "schemaStore": {"enable": False},  # schemas of the checkout alone: nothing is fetched
    }
}


def installed() -> Path:
    """The server's program; skips the test where there is no node, or no index to install it from."""
    return npm.installed(PACKAGE, "yaml-language-server/bin/yaml-language-server")


class Editor:
    """One language server with one open document at a time, as an editor has it."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._process = subprocess.Popen(
            ["node", str(program), "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._answers: dict[int, queue.Queue[Any]] = {}
        self._published: queue.Queue[dict[str, Any]] = queue.Queue()
        self._sent = 0
        self._version = 0
        self._write = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()
        self.ask(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": folder.as_uri(),
                "capabilities": {
                    "workspace": {"configuration": True},
                    "textDocument": {"completion": {"completionItem": {"snippetSupport": True}}},
                },
            },
        )
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": SETTINGS})

    def close(self) -> None:
        with contextlib.suppress(OSError, queue.Empty):
            self.ask("shutdown", None)
            self.tell("exit", None)
        self._process.kill()
        self._process.wait(timeout=20)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    # --- what an editor does --------------------------------------------------------------------------

    def diagnostics(self, path: Path, text: str) -> list[dict[str, Any]]:
        """What is underlined in `text`, as if it stood in `path`."""
        self._version += 1
        uri = f"{path.parent.as_uri()}/{path.stem}_{self._version}{path.suffix}"
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        self._uri = uri
        deadline = time.monotonic() + 20
        while True:
            published = self._published.get(timeout=max(deadline - time.monotonic(), 0.1))
            if published["uri"] == uri:
                found: list[dict[str, Any]] = published["diagnostics"]
                return found

    def complete(self, line: int, character: int) -> dict[str, dict[str, Any]]:
        """What is offered at a place of the document that was opened last, by label."""
        answer = self.ask("textDocument/completion", self._at(line, character))
        items = answer["items"] if isinstance(answer, dict) else answer
        return {item["label"]: item for item in items}

    def hover(self, line: int, character: int) -> str:
        """What is explained at a place of the document that was opened last."""
        answer = self.ask("textDocument/hover", self._at(line, character))
        return "" if answer is None else str(answer["contents"]["value"])

    def _at(self, line: int, character: int) -> dict[str, Any]:
        return {"textDocument": {"uri": self._uri}, "position": {"line": line, "character": character}}

    # --- the protocol ---------------------------------------------------------------------------------

    def ask(self, method: str, params: Any) -> Any:
        self._sent += 1
        number, answer = self._sent, queue.Queue[Any]()
        self._answers[number] = answer
        self._send({"id": number, "method": method, "params": params})
        return answer.get(timeout=20)

    def tell(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        with self._write:
            self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self._process.stdin.flush()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for message in self._messages():
                self._take(message)

    def _messages(self) -> Iterator[dict[str, Any]]:
        stream = self._process.stdout
        assert stream is not None
        while header := stream.readline():
            length = int(header.split(b":")[1])
            while stream.readline().strip():
                pass  # further headers
            yield json.loads(stream.read(length))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            self._answers.pop(message["id"]).put(message.get("result"))
        elif message["method"] == "textDocument/publishDiagnostics":
            self._published.put(message["params"])
        elif message["method"] == "workspace/configuration":
            asked = message["params"]["items"]
            told = [SETTINGS.get(item.get("section"), {}) for item in asked]
            self._send({"id": message["id"], "result": told})
        elif "id" in message:
            self._send({"id": message["id"], "result": None})
