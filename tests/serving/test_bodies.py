"""Large bodies over a real socket, by clients that send all before they read: the answer reaches them."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import httpx
import pytest

from serving import bodies
from serving.app import MAX_BODY

LARGE = b"x" * 30_000_000
PIECE = 1 << 20


@pytest.fixture
def wire(client: httpx.Client) -> Iterator[socket.socket]:
    address = client.base_url
    with socket.create_connection((address.host, address.port), timeout=30) as connection:
        yield connection


def head(path: str = "/v1/search", *lines: str, version: str = "1.1") -> bytes:
    given = (f"POST {path} HTTP/{version}", "Host: shop", "Content-Type: application/json", *lines, "", "")
    return "\r\n".join(given).encode()


def answer(wire: socket.socket) -> tuple[bytes, bytes]:
    """Headers and body of an answer after which the server closes."""
    with wire.makefile("rb") as reader:
        got: bytes = reader.read()
    headers, _, body = got.partition(b"\r\n\r\n")
    return headers, body


def check_refused(wire: socket.socket) -> None:
    headers, body = answer(wire)
    assert headers.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in headers.lower()
    assert f"more than {MAX_BODY} bytes of body" in json.loads(body)["error"]["found"]


@pytest.mark.parametrize("asked", [("Connection: close",), ("Connection: keep-alive",), ()])
def test_a_client_that_sends_all_before_it_reads_is_answered(wire: socket.socket, asked: tuple[str, ...]) -> None:
    wire.sendall(head("/v1/search", f"Content-Length: {len(LARGE)}", *asked) + LARGE)
    check_refused(wire)


def test_an_old_client_is_answered(wire: socket.socket) -> None:
    wire.sendall(head("/v1/search", f"Content-Length: {len(LARGE)}", version="1.0") + LARGE)
    check_refused(wire)


def test_pieces_of_no_told_length_are_answered(wire: socket.socket) -> None:
    wire.sendall(head("/v1/search", "Transfer-Encoding: chunked", "Connection: close"))
    for start in range(0, len(LARGE), PIECE):
        piece = LARGE[start : start + PIECE]
        wire.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    wire.sendall(b"0\r\n\r\n")
    check_refused(wire)


def test_a_client_that_waits_to_be_asked_for_its_body_is_not_asked(wire: socket.socket) -> None:
    wire.sendall(head("/v1/search", f"Content-Length: {len(LARGE)}", "Expect: 100-continue"))
    check_refused(wire)


@pytest.mark.parametrize(("path", "status"), [("/v1/nothing", b"404"), ("/health/live", b"405")])
def test_answers_that_need_no_body_reach_their_client_too(wire: socket.socket, path: str, status: bytes) -> None:
    wire.sendall(head(path, f"Content-Length: {len(LARGE)}", "Connection: close") + LARGE)
    headers, _ = answer(wire)
    assert headers.startswith(b"HTTP/1.1 " + status)


def test_a_body_without_an_end_is_given_up(
    wire: socket.socket, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "DROPPED", PIECE)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012 - whichever piece it is
        wire.sendall(head("/v1/search", f"Content-Length: {1 << 40}"))
        while True:
            wire.sendall(LARGE)
    assert client.post("/v1/search", json={"query": "red"}).status_code == 200


def test_a_client_that_goes_silent_is_answered(wire: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SECONDS", 0.0)
    wire.sendall(head("/v1/search", f"Content-Length: {1 << 40}"))
    check_refused(wire)


def test_a_connection_lives_on_after_a_body_that_was_read(client: httpx.Client) -> None:
    connection = HTTPConnection(client.base_url.host, client.base_url.port or 0, timeout=30)
    body = json.dumps({"query": "red"})
    ports = set()
    for _ in range(2):
        connection.request("POST", "/v1/search", body, {"Content-Type": "application/json"})
        ports.add(connection.sock.getsockname()[1])
        found = connection.getresponse()
        assert (found.status, found.getheader("connection")) == (200, None)
        assert json.loads(found.read())["hits"]
    assert len(ports) == 1
    connection.close()
