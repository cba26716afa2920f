"""Whether a store honours conditional writes, on which every commit rests (DESIGN 4.2), asked by doing one.

delta-rs lists the log before it commits, so through it only a lost race would show a store that does not;
obstore speaks to the same stores by the same options, and puts a key only if it is not there.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from silt.errors import SiltError, UserError
from silt.target.failures import explain
from silt.target.store import locate

FOLDER: Final = "_silt_probe"
"""Where the probe's object is put, below the root, and removed again."""

_CONFIG: Final = """
    access_key_id secret_access_key session_token region default_region endpoint
    virtual_hosted_style_request unsigned_payload checksum_algorithm metadata_endpoint imdsv1_fallback
    container_credentials_relative_uri container_credentials_full_uri container_authorization_token_file
    web_identity_token_file role_arn role_session_name endpoint_url_sts skip_signature request_payer
    server_side_encryption sse_kms_key_id sse_bucket_key_enabled sse_customer_key_base64
"""
"""What obstore takes of a store's options, and of its client's."""
_CLIENT: Final = ("allow_http", "allow_invalid_certificates", "connect_timeout", "timeout", "proxy_url")
_SWITCHES: Final = ("allow_http", "allow_invalid_certificates")
_ALIASES: Final = {"endpoint_url": "endpoint", "endpoint_url_s3": "endpoint", "token": "session_token"}
_AMAZON: Final = re.compile(r"(^|\.)amazonaws\.com(\.cn)?$")
_OTHERWISE: Final = ("s3_locking_provider", "s3_allow_unsafe_rename", "copy_if_not_exists", "conditional_put")
"""Options by which the user has said how rivals are kept apart, or that they need not be."""


def prove(root: str, options: Mapping[str, str]) -> None:
    """Raise `UserError` for an S3 server that puts a key twice where it was asked to put it only if new.

    Amazon's own S3 is not asked, nor is another kind of store, nor where a DynamoDB lock is in force.
    Raises `UserError` and `RetryLater` as a commit would where the store refuses or does not answer.
    """
    known = _known(options)
    if not _in_doubt(root, known):
        return
    try:
        honoured = _second_is_refused(root, known, options)
    except BaseException as error:
        failure = _explained(error, root, options)
        if failure is None:
            raise
        raise failure from error
    if not honoured:
        raise UserError(
            "the store does not honour conditional writes (If-None-Match): two writers could lose rows",
            on=root,
            why="it put one key twice",
            hint="use one that does, or a DynamoDB lock (AWS_S3_LOCKING_PROVIDER: dynamodb); where one "
            "process alone writes its tables, set `allow_unsafe_store: true` on the target",
            setting="target.uri",
        )


def _explained(error: BaseException, root: str, options: Mapping[str, str]) -> SiltError | None:
    """The library's error, or its panic, by the words that delta-rs's have too; None for any other."""
    theirs = type(error).__module__.partition(".")[0] in ("obstore", "pyo3_runtime")
    failure = explain(OSError(str(error)), on=root, options=options) if theirs else None
    return failure.about("target.uri") if failure else None


def _known(options: Mapping[str, str]) -> dict[str, str]:
    """The options by their plain names, those of the environment below them, as delta-rs reads them."""
    found: dict[str, str] = {}
    outside = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name, value in (*outside.items(), *options.items()):
        plain = name.lower().removeprefix("aws_")
        found[_ALIASES.get(plain, plain)] = value
    return found


def _in_doubt(root: str, known: Mapping[str, str]) -> bool:
    endpoint = urlsplit(known.get("endpoint", "")).hostname or ""
    is_other = bool(endpoint) and not _AMAZON.search(endpoint)
    return root.startswith(("s3://", "s3a://")) and is_other and not any(known.get(n) for n in _OTHERWISE)


def _second_is_refused(root: str, known: Mapping[str, str], options: Mapping[str, str]) -> bool:
    from obstore import delete, put
    from obstore.exceptions import AlreadyExistsError, BaseError

    store, key = _opened(root, known, options), f"{FOLDER}/{uuid.uuid4().hex}"
    put(store, key, b"1", mode="create")
    try:
        put(store, key, b"2", mode="create")
    except AlreadyExistsError:
        return True
    else:
        return False
    finally:
        with suppress(BaseError):  # who may not delete leaves a byte there
            delete(store, key)


def _opened(root: str, known: Mapping[str, str], options: Mapping[str, str]) -> Any:
    from obstore.store import S3Store

    bounds = {name.lower().removeprefix("aws_"): v for name, v in locate(root, options).reading().items()}
    client = {name: value for name, value in {**known, **bounds}.items() if name in _CLIENT}
    return S3Store.from_url(
        re.sub(r"^s3a://", "s3://", root),
        config={f"aws_{name}": value for name, value in known.items() if name in _CONFIG.split()},  # type: ignore[arg-type]
        client_options={n: v == "true" if n in _SWITCHES else v for n, v in client.items()},  # type: ignore[arg-type]
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
    )
