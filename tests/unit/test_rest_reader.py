from __future__ import annotations

import pytest
from sealane_agent.oip import http_reader
from sealane_agent.oip.http_reader import Budget, HttpRefused, Request, RequestReader

HEAD = b"POST /v2/models/cam/infer?a=1 HTTP/1.1\r\nHost: x\r\n"


def refusal(items: list[Request | HttpRefused]) -> tuple[int, str]:
    (item,) = items
    assert isinstance(item, HttpRefused)
    return item.status, str(item)


def requests(items: list[Request | HttpRefused]) -> list[Request]:
    return [item for item in items if isinstance(item, Request)]


def test_a_request_comes_out_whole_however_it_was_cut() -> None:
    reader = RequestReader(Budget())
    content = HEAD + b"X-Name: v\r\nContent-Length: 5\r\n\r\nhello"
    items = [item for at in range(len(content)) for item in reader.feed(content[at : at + 1])]
    (request,) = requests(items)
    assert (request.method, request.path, request.body) == (
        "POST",
        "/v2/models/cam/infer",
        b"hello",
    )
    assert request.headers[b"x-name"] == b"v"
    assert request.head.keep_alive


def test_pipelined_requests_come_out_in_order() -> None:
    reader = RequestReader(Budget())
    first, second = requests(reader.feed(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"))
    assert (first.path, second.path) == ("/a", "/b")


def test_a_good_request_before_a_bad_one_is_kept() -> None:
    good, bad = RequestReader(Budget()).feed(b"GET /a HTTP/1.1\r\n\r\nrubbish\r\n\r\n")
    assert isinstance(good, Request)
    assert isinstance(bad, HttpRefused)


def test_nothing_is_read_after_a_refusal() -> None:
    reader = RequestReader(Budget())
    assert refusal(reader.feed(b"rubbish\r\n\r\n")) == (400, "this is not HTTP/1.1")
    assert reader.feed(b"GET /a HTTP/1.1\r\n\r\n") == []


@pytest.mark.parametrize("piece", [b"X-A: " + b"a" * 900 + b"\r\n", b"a" * 900])
def test_endless_headers_are_refused(piece: bytes) -> None:
    reader = RequestReader(Budget())
    items = reader.feed(HEAD + (b"" if b":" in piece else b"X-A: "))
    for _ in range(40):
        items += reader.feed(piece)
    assert refusal(items)[0] == 431


def test_an_announced_body_that_is_too_large_is_refused_before_it_comes() -> None:
    content = HEAD + b"Content-Length: 99999999999\r\n\r\n"
    assert refusal(RequestReader(Budget()).feed(content))[0] == 413


def test_an_endless_chunked_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reader, "BODY_BYTES", 100)
    reader = RequestReader(Budget())
    items = reader.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):
        items += reader.feed(b"20\r\n" + b"a" * 32 + b"\r\n")
    assert refusal(items)[0] == 413


def test_a_length_and_chunks_together_are_refused() -> None:
    content = HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert refusal(RequestReader(Budget()).feed(content))[0] == 400


def test_bodies_of_all_connections_share_one_budget() -> None:
    budget = Budget(12)
    one, other = RequestReader(budget), RequestReader(budget)
    one.feed(HEAD + b"Content-Length: 50\r\n\r\n" + b"a" * 10)
    items = other.feed(HEAD + b"Content-Length: 50\r\n\r\n" + b"a" * 10)
    assert refusal(items)[0] == 503
    one.drop()
    third = RequestReader(budget)
    assert requests(third.feed(HEAD + b"Content-Length: 10\r\n\r\n" + b"a" * 10))


def test_an_offer_to_upgrade_is_answered_in_http_1_1() -> None:
    reader = RequestReader(Budget())
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi"
    first, second = requests(reader.feed(HEAD + upgrade + b"GET /b HTTP/1.1\r\n\r\n"))
    assert (first.body, second.path) == (b"hi", "/b")
    assert first.head.keep_alive


def test_a_client_that_waits_for_leave_to_send_is_noticed() -> None:
    reader = RequestReader(Budget())
    reader.feed(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert reader.expects_continue
    assert requests(reader.feed(b"hi"))
    assert not reader.expects_continue


@pytest.mark.parametrize(
    "content", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"]
)
def test_a_client_that_wants_no_more_is_heard(content: bytes) -> None:
    (request,) = requests(RequestReader(Budget()).feed(content))
    assert not request.head.keep_alive


def test_a_tunnel_is_no_path() -> None:
    assert refusal(RequestReader(Budget()).feed(b"CONNECT a:1 HTTP/1.1\r\n\r\n"))[0] == 400
