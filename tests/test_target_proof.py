"""`silt.target.proof`: whether a store honours conditional writes is asked by one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import S3, faulty_proxy, free_port, refusing_server, s3_options, s3_server

from silt.errors import RetryLater, UserError
from silt.target import prove
from silt.target.proof import FOLDER
from silt.target.store import locate


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


def _left(s3: S3) -> tuple[str, ...]:
    return locate(f"{s3.uri}/root", s3.options).files().names(FOLDER)


def test_a_store_that_honours_them(s3: S3) -> None:
    """Two puts of one key: the second is refused; nothing stays; options in either case, s3a too."""
    seen: list[str] = []

    def watch(method: str, path: str) -> str:
        seen.append(f"{method} {path.split('/')[2] if path.count('/') > 2 else path}")
        return ""

    with faulty_proxy(s3.port, watch) as proxy:
        prove(f"{s3.uri}/root", s3_options(proxy.port))
        prove("s3a://lake/root", {name.lower(): value for name, value in s3_options(proxy.port).items()})
    assert [each.split()[0] for each in seen].count("PUT") == 4
    assert _left(s3) == ()


def test_a_store_that_does_not(s3: S3) -> None:
    """It puts the key twice: refused, with the reason and the ways out, and nothing stays."""
    refused = pytest.raises(UserError, match="does not honour conditional writes")
    with faulty_proxy(s3.port, lambda *_: "unconditional") as proxy, refused as caught:
        prove(f"{s3.uri}/root", s3_options(proxy.port))
    assert caught.value.setting == "target.uri"
    assert "dynamodb" in caught.value.hint
    assert _left(s3) == ()


@pytest.mark.parametrize(
    ("root", "more"),
    [
        ("/data/lake", {}),
        ("az://c/x", {}),
        ("s3://lake", {"AWS_ENDPOINT_URL": ""}),
        ("s3://lake", {"AWS_ENDPOINT_URL": "https://s3.eu-west-1.amazonaws.com"}),
        ("s3://lake", {"AWS_S3_LOCKING_PROVIDER": "dynamodb"}),
    ],
)
def test_who_is_not_asked(root: str, more: dict[str, str]) -> None:
    """Local disks, other kinds of store, Amazon's own S3, and where a lock keeps rivals apart."""
    prove(root, s3_options(free_port()) | more)  # a request would fail: nobody listens


def test_the_environment_names_the_server(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for delta-rs, the endpoint and the keys may stand there."""
    with faulty_proxy(s3.port, lambda *_: "unconditional") as proxy:
        for name, value in s3_options(proxy.port).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match="conditional"):
            prove(f"{s3.uri}/root", {})


def test_a_store_that_refuses_or_does_not_answer() -> None:
    """The same errors as a commit's, without the secret."""
    with refusing_server() as port, pytest.raises(UserError, match="the target refuses access") as caught:
        prove("s3://lake/root", s3_options(port))
    assert "not-to-be-shown" not in f"{caught.value} {caught.value.why}"
    with pytest.raises(RetryLater, match="does not answer"):
        prove("s3://lake/root", s3_options(free_port()))
