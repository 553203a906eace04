"""Time-outs, retries and what is said when they are used up, against a real server on loopback."""

import pytest

from kflare.archives.web import NoAnswerError, NotFoundError, RetryPolicy, StoppedError, Web, public_url
from kflare.errors import DataError, KflareError, ServingError
from tests.standin import StandIn, refusing

HASTY = RetryPolicy(connect=0.5, read=0.4, total=3, attempts=3, first_wait=0.01, longest_wait=0.02, poll=0.01)


@pytest.fixture
def sun():
    with StandIn() as server:
        server.feeds["/feed.json"] = [{"flux": 1e-7}]
        yield server


@pytest.fixture
def web():
    with Web(HASTY) as visitor:
        yield visitor


def test_json_and_text(sun, web):
    sun.listings["/data/"] = ["a.jpg"]
    assert web.json(sun.url + "/feed.json") == [{"flux": 1e-7}]
    assert '<a href="a.jpg">' in web.text(sun.url + "/data/")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(sun, web, status):
    sun.fail("feed", "status", times=2, status=status)
    assert web.json(sun.url + "/feed.json") == [{"flux": 1e-7}]
    assert len(sun.asked("feed")) == 3


@pytest.mark.parametrize("fault", ["html", "reset"])
def test_a_page_of_html_or_a_hang_up_once_is_tried_again(sun, web, fault):
    sun.fail("feed", fault, times=1)
    assert web.json(sun.url + "/feed.json") == [{"flux": 1e-7}]


def test_html_with_status_200_is_no_answer(sun, web):
    sun.fail("feed", "html")
    with pytest.raises(
        NoAnswerError, match=r"HTML \(JSOC is busy\) with status 200 instead of data .*3 times"
    ) as caught:
        web.json(sun.url + "/feed.json")
    assert isinstance(caught.value, ServingError)
    assert len(sun.asked("feed")) == HASTY.attempts


def test_what_is_no_json_is_no_answer(sun, web):
    sun.files["/feed"] = b"oops"
    with pytest.raises(NoAnswerError, match="no JSON but begins with b'oops'"):
        web.json(sun.url + "/feed")


def test_not_found_is_an_answer_and_refusal_is_not_asked_twice(sun, web):
    with pytest.raises(NotFoundError, match="status 404") as caught:
        web.json(sun.url + "/nothing")
    assert isinstance(caught.value, DataError)
    sun.fail("feed", "status", status=403)
    with pytest.raises(NoAnswerError, match="refused with status 403"):
        web.json(sun.url + "/feed.json")
    assert (len(sun.asked("nothing")), len(sun.asked("feed"))) == (1, 1)


def test_a_silent_server_is_waited_for_no_longer_than_allowed(sun, web):
    sun.fail("feed", "slow", seconds=0.8)
    with pytest.raises(NoAnswerError, match=r"no reply within 0.4 s .*3 times"):
        web.json(sun.url + "/feed.json")


def test_a_trickle_ends_with_the_total_time(sun):
    # 24 bytes at one per 0.1 s take 2.4 s, and no single wait reaches the 0.2 s of a read.
    sun.fail("feed", "trickle", seconds=0.1)
    with (
        Web(RetryPolicy(read=0.4, total=0.5, attempts=1)) as web,
        pytest.raises(NoAnswerError, match="not finished within"),
    ):
        web.json(sun.url + "/feed.json")


def test_a_truncated_answer_is_no_answer(sun, web):
    sun.fail("feed", "truncate", size=5)
    with pytest.raises(NoAnswerError, match=r"broke off|no JSON"):
        web.json(sun.url + "/feed.json")


def test_refused_connections_are_named_and_the_server_left_alone_after_a_while(web):
    with refusing() as url:
        for _ in range(HASTY.failed_calls):
            with pytest.raises(NoAnswerError, match=r"Connection refused .*3 times"):
                web.json(url)
        with pytest.raises(NoAnswerError, match="not asked again after 3 times without an answer: Connection refused"):
            web.json(url)


def test_one_answer_makes_a_server_alive_again(sun, web):
    for _ in range(3):
        sun.fail("feed", "status", times=HASTY.attempts)
        with pytest.raises(NoAnswerError):
            web.json(sun.url + "/feed.json")
        assert web.json(sun.url + "/feed.json")


def test_retry_after_is_heeded_up_to_the_longest_wait(sun):
    # The server wants 30 s; with at most 0.02 s allowed the test would run into its own time-out otherwise.
    sun.fail("feed", "status", times=1, status=503, headers={"Retry-After": "30"})
    with Web(HASTY) as web:
        assert web.json(sun.url + "/feed.json")


def test_addresses_that_are_none(web):
    for url in ("ftp://127.0.0.1/x", "nonsense", "http://[", "http://127.0.0.1:99999999/"):
        with pytest.raises(KflareError):
            web.json(url)


def test_names_and_passwords_are_used_and_not_shown(sun, web):
    secret = sun.url.replace("//", "//hmi:secret@")
    assert web.json(secret + "/feed.json")
    assert sun.headers[-1]["Authorization"] == "Basic aG1pOnNlY3JldA=="  # base64 of hmi:secret
    assert public_url("http://hmi:secret@jsoc2.stanford.edu:80/x?y=1") == "http://jsoc2.stanford.edu:80/x?y=1"
    with pytest.raises(NotFoundError) as caught:
        web.json(secret + "/nothing")
    assert "secret" not in str(caught.value)


def test_a_stopped_visitor_asks_nothing(sun, web):
    web.stop()
    with pytest.raises(StoppedError):
        web.json(sun.url + "/feed.json")
    assert sun.log == []
