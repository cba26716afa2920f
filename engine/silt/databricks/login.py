"""Where the catalog is and what opens it: the environment, or a profile of ~/.databrickscfg."""

from __future__ import annotations

import configparser
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from silt.errors import Secret, UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A workspace's URL, or a Unity Catalog server's, and the token for it (None: it asks for none)."""

    host: str
    token: Secret | None = None


def login(environment: Mapping[str, str], *, profile: str = "") -> Login:
    """As Databricks' own tools find it: DATABRICKS_HOST and DATABRICKS_TOKEN, else a profile of the file.

    `profile` (or DATABRICKS_CONFIG_PROFILE) asks for that profile and goes before the two variables.
    Raises `UserError` where no host is known, or the token would travel in plain.
    """
    wanted = profile or environment.get("DATABRICKS_CONFIG_PROFILE", "")
    section = _section(environment, wanted)
    known = {} if wanted else {name: environment.get(f"DATABRICKS_{name.upper()}", "") for name in _KEYS}
    found = {name: known.get(name) or section.get(name, "") for name in _KEYS}
    where = found["host"]
    if not where:
        raise UserError(
            "no workspace is known",
            hint="set DATABRICKS_HOST and DATABRICKS_TOKEN, or name a --profile of ~/.databrickscfg",
        )
    where = where.rstrip("/") if "://" in where else f"https://{where.rstrip('/')}"
    token = found["token"]
    if token and not _is_private(where):
        raise UserError(
            "the token would be sent unencrypted",
            on=where,
            hint="use https:// (http is for this machine only)",
        )
    return Login(host=where, token=Secret(token) if token else None)


_KEYS = ("host", "token")


def _section(environment: Mapping[str, str], wanted: str) -> Mapping[str, str]:
    path = Path(environment.get("DATABRICKS_CONFIG_FILE") or "~/.databrickscfg").expanduser()
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read(path, encoding="utf-8")
    except configparser.Error as error:
        raise UserError("the file of profiles cannot be read", on=str(path), why=str(error)) from None
    name = wanted or "DEFAULT"
    if wanted and not parser.has_section(wanted):
        raise UserError(
            f"no profile {wanted!r}",
            on=str(path),
            hint=f"there are: {', '.join(parser.sections()) or 'none'}",
        )
    return dict(parser[name]) if parser.has_section(name) else {}


def _is_private(url: str) -> bool:
    """Encrypted, or on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
