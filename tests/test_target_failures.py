"""Every bad target gives one clear error with what to do, no secret in it, in bounded time."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import lake
import pytest
from servers import free_port, refusing_server, s3_options, s3_server, silent_server

from silt.errors import RetryLater, SiltError, UserError
from silt.target import create_table, open_table
from silt.target.failures import clean, explain

BOUND = 30.0


def _opening(uri: str, options: dict[str, str]) -> tuple[SiltError, float]:
    started = time.monotonic()
    with pytest.raises(SiltError) as caught:
        open_table(uri, options)
    error = caught.value
    assert "not-to-be-shown" not in f"{error} {error.why} {error.hint}"
    assert error.hint
    return error, time.monotonic() - started


def _in_another_process(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run `code` elsewhere: limits and users are a process's own, and delta-rs must not be forked."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )


# --- local ----------------------------------------------------------------------------------------


def test_disk_full(tmp_path: Path) -> None:
    """A full disk is one error that a later cycle may survive; nothing is committed, nothing is lost.

    The file size limit stands for the full disk: it hits the same write in the same place.
    """
    lake.add(lake.new(tmp_path / "t"), 1)
    code = """
        import random, resource, signal, sys
        import lake
        from silt.errors import RetryLater
        from silt.position import pack
        from silt.target import open_table
        table = open_table(sys.argv[1], {})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        ids = [random.randrange(2**60) for _ in range(100_000)]
        try:
            table.append(lake.rows(ids), txns=pack(lake.APP, 2, b""), metadata={})
        except RetryLater as error:
            print("ERROR", error.what, "|", error.hint)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        print("THERE", table.version, table.position(lake.APP)[0])
        print("AGAIN", lake.add(table, 2))
    """
    done = _in_another_process(code, str(tmp_path / "t"))
    assert "ERROR the disk of the target is full | free some space" in done.stdout, done
    assert "THERE 1 1" in done.stdout
    assert "AGAIN 2" in done.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("there", [True, False])
def test_unwritable_target(tmp_path: Path, *, there: bool) -> None:
    """A folder that refuses writing is named, whether a table is there or is to be created."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    if there:
        lake.add(lake.new(tmp_path / "t"), 1)
    code = """
        import os, sys
        import lake, pyarrow.dataset
        from silt.errors import UserError
        os.setgid(65534); os.setuid(65534)
        try:
            lake.add(lake.new(sys.argv[1]), 2)
        except UserError as error:
            print("ERROR", error.what, "|", error.on, "|", error.hint)
    """
    done = _in_another_process(code, str(tmp_path / "t"))
    assert f"ERROR the target refuses access | {tmp_path / 't'} | check its permissions" in done.stdout, done


# --- remote ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (400, "ExpiredToken", UserError, "the credentials for the store have expired"),
        (403, "RequestTimeTooSkewed", UserError, "the clock of this machine is not the store's"),
        (404, "NoSuchBucket", UserError, "the bucket or container does not exist"),
        (403, "AccessDenied", UserError, "the target refuses access"),
        (503, "SlowDown", RetryLater, "the store is overloaded and turns requests away"),
    ],
)
def test_what_a_store_answers(status: int, code: str, kind: type[SiltError], said: str) -> None:
    """Expired credentials, a wrong clock, no bucket, no permission, a storm of 503: one clear error each."""
    with refusing_server(status, code) as port:
        error, seconds = _opening("s3://lake/t", s3_options(port))
    assert (type(error) is kind or isinstance(error, kind), error.what) == (True, said), error
    assert seconds < BOUND


def test_nobody_listens() -> None:
    """A refused connection is a retry for later, soon and clear, for opening and for creating."""
    options = s3_options(free_port())
    error, seconds = _opening("s3://lake/t", options)
    assert isinstance(error, RetryLater)
    assert "does not answer" in error.what
    assert "Connection refused" in error.why
    assert seconds < BOUND
    with pytest.raises(RetryLater):
        create_table("s3://lake/t", options, columns=lake.COLUMNS)


def test_unknown_host() -> None:
    """A name that does not resolve is the same."""
    error, seconds = _opening("s3://lake/t", s3_options(1) | {"AWS_ENDPOINT_URL": "http://lake.invalid"})
    assert isinstance(error, RetryLater)
    assert "dns error" in error.why
    assert seconds < BOUND


def test_endpoint_that_never_answers() -> None:
    """A connection that is accepted and never answered is bounded too."""
    with silent_server() as port:
        error, seconds = _opening("s3://lake/t", s3_options(port))
    assert isinstance(error, RetryLater)
    assert "timed out" in error.why
    assert seconds < BOUND


def test_the_users_bounds_win() -> None:
    """Bounds in storage_options are taken as they are."""
    with silent_server() as port:
        options = s3_options(port) | {"timeout": "1s", "max_retries": "1", "retry_timeout": "1s"}
        _, seconds = _opening("s3://lake/t", options)
    assert seconds < 6


def test_resident_handle_of_a_dying_endpoint() -> None:
    """A handle whose endpoint goes away says so in bounded time, and does not keep what it knew."""
    with s3_server() as s3:
        table = lake.new("s3://lake/t", s3.options)
        lake.add(table, 1)
    started = time.monotonic()
    with pytest.raises(RetryLater, match="does not answer"):
        table.refresh()
    with pytest.raises(RetryLater, match="does not answer"):
        lake.add(table, 2)
    assert time.monotonic() - started < BOUND


@pytest.mark.parametrize(
    ("status", "code", "what"),
    [
        (403, "AccessDenied", "refuses access"),
        (403, "InvalidAccessKeyId", "refuses access"),
        (404, "NoSuchBucket", ""),
    ],
)
def test_refusals_are_not_absence(status: int, code: str, what: str) -> None:
    """No permission and no bucket are the user's to settle; never "there is no table", never a creation."""
    with refusing_server(status, code) as port:
        error, seconds = _opening("s3://lake/t", s3_options(port))
    assert isinstance(error, UserError)
    assert what in error.what
    assert seconds < BOUND


def test_unknown_scheme() -> None:
    """A scheme that delta-rs does not know looks like "not found" there; here it is an error."""
    error, _ = _opening("s4://lake/t", {})
    assert isinstance(error, UserError)
    assert "uri" in error.what


# --- texts ----------------------------------------------------------------------------------------


def test_texts_are_clean() -> None:
    """One line, no colours, no backtraces, no query strings, no secret values."""
    text = (
        "Failed\n \x1b[31m↳\x1b[0m GET https://a.net/t?sig=abc123&se=1 with hunter2\n   0: <unknown>\n   1: x"
    )
    options = {"AZURE_STORAGE_SAS_TOKEN": "hunter2", "region": "a.net"}
    assert clean(text, options) == "Failed GET https://a.net/t with ***"


def test_what_is_not_the_targets_stays_as_it_is() -> None:
    """A bug is shown as one; an error of silt's own is not wrapped again; a panic of delta-rs is an error."""

    class PanicException(BaseException):
        """The name of pyo3's."""

    assert explain(ValueError("x"), on="t", options={}) is None
    assert explain(KeyboardInterrupt(), on="t", options={}) is None
    assert explain(UserError("x"), on="t", options={}) is None
    assert isinstance(explain(PanicException("x"), on="t", options={}), RetryLater)
