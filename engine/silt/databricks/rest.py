"""Unity Catalog's REST API (2.1), as Databricks and the open-source server speak it, with bounds."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from silt.databricks.login import Login
from silt.errors import RetryLater, SiltError, UserError

_API: Final = "/api/2.1/unity-catalog"
_TIMEOUT: Final = 15.0
_TRIES: Final = 3
_LATER: Final = (429, 500, 502, 503, 504)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to whoever is named there."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Rest:
    """Requests to one server; every failure is one of silt's own errors."""

    def __init__(self, login: Login, *, wait: Callable[[float], None] = time.sleep) -> None:
        self._login = login
        self._wait = wait
        self._opener = urllib.request.build_opener(_NoRedirect)

    def get(self, *path: str, **query: str) -> dict[str, Any] | None:
        """The object at `path`; None where there is none (404)."""
        return self._asked("GET", path, query)

    def post(self, *path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """What was made of `body`."""
        made = self._asked("POST", path, {}, body)
        if made is None:
            raise UserError("the server knows no such request", on=self._url(path, {}))
        return made

    def pages(self, *path: str, key: str, **query: str) -> Iterator[dict[str, Any]]:
        """All of a list, page by page."""
        token = ""
        while True:
            page = self.get(*path, **query, **({"page_token": token} if token else {})) or {}
            yield from page.get(key) or ()
            token = page.get("next_page_token") or ""
            if not token:
                return

    def _url(self, path: tuple[str, ...], query: Mapping[str, str]) -> str:
        where = "/".join(quote(part, safe="") for part in path)
        return f"{self._login.host}{_API}/{where}" + (f"?{urlencode(query)}" if query else "")

    def _asked(
        self,
        method: str,
        path: tuple[str, ...],
        query: Mapping[str, str],
        body: Mapping[str, object] | None = None,
    ) -> dict[str, Any] | None:
        url = self._url(path, query)
        for tried in range(1, _TRIES + 1):
            try:
                return self._once(method, url, body)
            except urllib.error.HTTPError as error:
                with error:
                    said = _said(error)
                if error.code == 404 and method == "GET":
                    return None
                if error.code not in _LATER or tried == _TRIES:
                    raise _failure(error.code, url, said) from None
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                why = str(getattr(error, "reason", error))
                if tried == _TRIES:
                    raise RetryLater("the catalog does not answer", on=self._login.host, why=why) from None
            self._wait(tried)
        raise AssertionError("the last try returns or raises")

    def _once(self, method: str, url: str, body: Mapping[str, object] | None) -> dict[str, Any]:
        headers = {"Accept": "application/json", "User-Agent": "silt"}
        if self._login.token is not None:
            headers["Authorization"] = f"Bearer {self._login.token.reveal()}"
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 -- http(s)
        with self._opener.open(request, timeout=_TIMEOUT) as answer:
            try:
                found = json.loads(answer.read() or b"{}")
            except ValueError:
                found = None
        if not isinstance(found, dict):
            raise UserError("the answer is no JSON object", on=url, hint="check the host: is it a workspace?")
        return found


def _said(error: urllib.error.HTTPError) -> str:
    """The server's own words: `message` of its JSON, else the status."""
    try:
        said = json.loads(error.read())
        return str(said.get("message") or said.get("error_code") or error.reason)
    except (ValueError, AttributeError):
        return str(error.reason)


def _failure(code: int, url: str, said: str) -> SiltError:
    why = f"{code}: {said}"
    if code == 401:
        return UserError(
            "the catalog refuses the token", on=url, why=why, hint="check DATABRICKS_TOKEN or the profile"
        )
    if code == 403:
        return UserError(
            "the catalog refuses this", on=url, why=why, hint="ask for the privilege that it names"
        )
    if 300 <= code < 400:
        return UserError(
            "the host sends elsewhere", on=url, why=why, hint="name the workspace's own URL as host"
        )
    if code in _LATER:
        return RetryLater("the catalog cannot answer now", on=url, why=why)
    return UserError("the catalog does not take this", on=url, why=why)
