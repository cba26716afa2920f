"""What delta-rs and the stores raise, as silt's own errors.

delta-rs tells most failures apart only by their text (FACTS, "deltalake": errors), so the table below
is of phrases; each was measured with deltalake 1.6.3 and has a test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from silt.errors import Contended, Fenced, RetryLater, Revealed, SiltError, UserError

_SECRET = re.compile(r"secret|key|token|sas|password", re.IGNORECASE)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_BACKTRACE = re.compile(r"\s+0: <unknown>.*", re.DOTALL)
_PREVIEW = re.compile(r"Preview of invalid data.*", re.DOTALL)  # rows, masked columns among them
_QUERY = re.compile(r"(\w+://[^\s?]+)\?\S+")  # an Azure SAS travels in the query


def is_secret(option: str) -> bool:
    """Whether a storage option is named like a secret (DESIGN 3, "Expansion")."""
    return bool(_SECRET.search(option))


def clean(text: str, options: Mapping[str, str]) -> str:
    """`text` on one line, without colours, backtraces, rows, URL queries and values of secret options."""
    plain = _QUERY.sub(r"\1", _PREVIEW.sub("", _BACKTRACE.sub("", _ANSI.sub("", text))))
    hidden = [v for name, v in options.items() if v and (is_secret(name) or isinstance(v, Revealed))]
    for value in hidden:
        plain = plain.replace(value, "***")
    return " ".join(plain.replace("↳", " ").split())


class Unreachable(RetryLater):
    """The store does not answer: trying again at once would only wait again."""


_Maker = Callable[[str, str], SiltError]


def _user(what: str, hint: str) -> _Maker:
    return lambda on, why: UserError(what, on=on, why=why, hint=hint)


def _later(what: str, hint: str) -> _Maker:
    return lambda on, why: RetryLater(what, on=on, why=why, hint=hint)


_NO_CREDENTIALS = (
    r"169\.254\.169\.254|metadata\.google|CredentialsNotLoaded|no credentials|MissingAccessKey|"
    r"Unable to (?:load|find) credentials|MissingSecretAccessKey"
)
_REFUSED = (
    r"Permission ?denied|Access ?Denied|403 Forbidden|401 Unauthorized|necessary privileges|"
    r"valid authentication credentials|Read-only file system|Operation not permitted|InvalidAccessKeyId|"
    r"SignatureDoesNotMatch"
)
_EXPIRED = (
    r"ExpiredToken|token (?:\w+ )*(?:is |has )?expired|TokenRefreshRequired|RequestExpired|"
    r"Signature not valid in the specified time frame"
)
_BUSY = r"SlowDown|503 Service Unavailable|429 Too Many|TooManyRequests|ServerBusy|RequestLimitExceeded"
_SILENT = (
    r"error sending request|Connection refused|tcp connect|timed out|dns error|after \d+ retries|"
    r"50[0234] |connection closed|connection reset|Server returned 5"
)

_PHRASES: tuple[tuple[str, _Maker], ...] = (
    (
        r"No space left on device|StorageFull|Disk quota exceeded|File too large",
        _later("the disk of the target is full", "free some space; nothing is lost, the next cycle goes on"),
    ),
    (
        _NO_CREDENTIALS,
        _user("no credentials for the store were found", "set them in the target's storage_options"),
    ),
    (
        _EXPIRED,
        _user(
            "the credentials for the store have expired", "renew them; a secret file is read again by itself"
        ),
    ),
    (
        r"RequestTimeTooSkewed",
        _user(
            "the clock of this machine is not the store's", "set the clock (NTP): requests are signed by it"
        ),
    ),
    (
        _REFUSED,
        _user("the target refuses access", "check its permissions and credentials"),
    ),
    (
        r"NoSuchBucket|ContainerNotFound|specified (?:bucket|container) does not exist",
        _user("the bucket or container does not exist", "create it, or correct the target's uri"),
    ),
    (
        r"Unknown scheme|no recognized URL scheme|Invalid table location|Object store prefix not found",
        _user(
            "the target's uri is not one that can be written", "use a path, s3://, abfss://, az:// or gs://"
        ),
    ),
    (
        r"File ?name too long|ENAMETOOLONG|KeyTooLong",
        _user(
            "a value of a partition column is too long for the name of a folder",
            "take that column out of `partition_by`, in a new table (`into`)",
        ),
    ),
    (
        r"Not a directory|\[Errno 17\]",
        _user("a file is in the place of a folder of the target", "correct the target's uri or `into`"),
    ),
    (
        _BUSY,
        lambda on, why: Unreachable(
            "the store is overloaded and turns requests away",
            on=on,
            why=why,
            hint="nothing is lost, the next cycle tries again; if it stays so, run fewer streams at a time",
        ),
    ),
    (
        _SILENT,
        lambda on, why: Unreachable(
            "the store does not answer",
            on=on,
            why=why,
            hint="check the endpoint and the network; on a slow link raise `timeout` in storage_options",
        ),
    ),
)


def explain(error: BaseException, *, on: str, options: Mapping[str, str]) -> SiltError | None:
    """`error`, raised by delta-rs, pyarrow or the operating system, as silt's own; None for anything else.

    A conflict of transactions is `Fenced`, other contention `Contended`; what a person must settle is
    `UserError`, the rest `RetryLater`.
    """
    from deltalake.exceptions import (
        CommitFailedError,
        DeltaError,
        DeltaProtocolError,
        SchemaMismatchError,
        TableNotFoundError,
    )

    panic = type(error).__name__ == "PanicException"  # pyo3's, a BaseException that cannot be imported
    if isinstance(error, SiltError) or not (panic or isinstance(error, (DeltaError, OSError))):
        return None
    why = clean(str(error), options)
    if isinstance(error, CommitFailedError) and "Concurrent transaction" in why:
        return Fenced("another process committed the same batch first", on=on, why=why)
    for phrase, make in _PHRASES:
        if re.search(phrase, why, re.IGNORECASE):
            return make(on, why)
    if isinstance(error, CommitFailedError):
        return Contended("somebody else changed the table first", on=on, why=why)
    if isinstance(error, TableNotFoundError):
        return Contended("the Delta table is gone", on=on, why=why)
    if isinstance(error, SchemaMismatchError):
        return UserError("the columns do not fit the table's schema", on=on, why=why)
    if isinstance(error, DeltaProtocolError):
        return UserError(
            "the table needs a Delta feature that silt cannot use",
            on=on,
            why=why,
            hint="choose another table",
        )
    return RetryLater(
        "the Delta table could not be read or written",
        on=on,
        why=why,
        hint="check the target's uri and its disk or store; the next cycle tries again",
    )


@contextmanager
def translated(on: str, options: Mapping[str, str]) -> Iterator[None]:
    """Failures inside come out as silt's own errors (see `explain`); anything else as it is."""
    try:
        yield
    except BaseException as error:
        known = explain(error, on=on, options=options)
        if known is None:
            raise
        raise known from error
