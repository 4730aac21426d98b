"""Request heads of about 700 bytes: the engine's own function, and llhttp (httptools) on the same bytes."""

import httptools

from fastgate.core import http1

HEAD = (
    b"GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\nHost: www.kittyhell.com\r\n"
    b"User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) Gecko/20100401 Firefox/3.6.3 "
    b"Pathtraq/0.9\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: ja,en-us;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip,deflate\r\nAccept-Charset: "
    b"Shift_JIS,utf-8;q=0.7,*;q=0.7\r\nKeep-Alive: 115\r\nConnection: keep-alive\r\nCookie: "
    b"wp_ozh_wsa_visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; __utma=xxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx."
    b"xxxxxxxxxx.x; __utmz=xxxxxxxxx.xxxxxxxxxx.x.x.utmccn=(referral)|utmcsr=reader.livedoor.com|utmcct=/reader/|"
    b"utmcmd=referral\r\n\r\n"
)
ROUNDS = 100_000


def test_fastgate(benchmark):
    assert benchmark(http1.parse_many, HEAD, ROUNDS) == len(HEAD)
    benchmark.extra_info["ns_per_head"] = benchmark.stats["min"] / ROUNDS * 1e9


class Silent:
    """No callbacks: what is measured is the parser."""


def test_llhttp(benchmark):
    heads = HEAD * 100  # the calls from Python are shared by a hundred heads

    def parse():
        parser = httptools.HttpRequestParser(Silent())
        for _ in range(ROUNDS // 1000):
            parser.feed_data(heads)

    benchmark(parse)
    benchmark.extra_info["ns_per_head"] = benchmark.stats["min"] / (ROUNDS // 10) * 1e9
