"""Where silt serves its status: HOST:PORT, as the manifest's `listen` and `--listen` spell it."""

from __future__ import annotations

import re
from typing import Final

from silt.errors import UserError
from silt.manifest.document import Path
from silt.manifest.model import Listen
from silt.manifest.resolve import Written
from silt.manifest.units import meant_address

DEFAULT: Final = Listen(host="127.0.0.1", port=8585)

_FORM: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})\Z")
"""As in the schema's `address`: a name, an IPv4 address, or an IPv6 one in brackets; and a port."""

_PORTS: Final = 65535
_OFF: Final = ("false", "off", "no", "none")


def parse(text: str) -> Listen | None:
    """What `--listen` was given: HOST:PORT, or `off` for none.  Raises `UserError` for anything else."""
    if text.lower() in _OFF:
        return None
    found = _split(text)
    if found is None:
        meant = meant_address(text)
        hint = f"write {meant}" if meant else "for example 127.0.0.1:8585; off serves nothing"
        raise UserError(f"--listen: {text!r} is not HOST:PORT", hint=hint)
    if found.port > _PORTS:
        raise UserError(f"--listen: {_no_port(found.port)}", hint="0 takes any that is free")
    return found


def listen(written: Written) -> Listen | None:
    """What the manifest says: None where it serves nothing, the default address where it says nothing."""
    given = written.data.get("listen", True)
    if not given:
        return None
    found = DEFAULT if given is True else _split(str(given))
    if found is None:  # the schema has checked the form; a variable that is unset may stand here
        return DEFAULT
    if found.port > _PORTS:
        where: Path = ("listen",)
        written.complain(where, _no_port(found.port), "0 takes any that is free")
    declared = "listen" in written.data
    return Listen(host=found.host, port=found.port, declared=declared)


def _split(text: str) -> Listen | None:
    found = _FORM.match(text)
    return Listen(host=found[1] or found[2], port=int(found[3]), declared=True) if found else None


def _no_port(port: int) -> str:
    return f"{port} is no port: they end at {_PORTS}"
