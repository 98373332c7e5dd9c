"""Hostile bytes on the wire, below HTTP libraries: (name, bytes or a function of (host, key), what may come back).

The expectation is a set of statuses; `None` in it means that the connection may simply be closed. A server that
keeps silent for more than the reader's patience fails.
"""

CHAT = '{"model":"%s","messages":[{"role":"user","content":"hi"}],"max_tokens":1}'


def get(path, *headers):
    return ("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + "".join(h + "\r\n" for h in headers) + "\r\n").encode("latin-1")


def post(path, body, *headers):
    return get(path, f"Content-Length: {len(body)}", *headers).replace(b"GET ", b"POST ", 1) + body


RAW = [
    ("nothing but line ends", b"\r\n" * 200, {400, 404, 408, None}),
    ("random bytes", bytes(range(256)) * 8, {400, None}),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x11" * 500, {400, None}),
    ("HTTP/0.9", b"GET /\r\n\r\n", {400, 505, None}),
    ("HTTP/9.9", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", {400, 505, None}),
    ("a method of rubbish", b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n", {400, None}),
    ("an unknown method", b"BREW /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", {400, 401, 405, 501}),
    ("CONNECT to elsewhere", b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n", {400, 404, 405, None}),
    ("TRACE", b"TRACE /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", {400, 401, 404, 405}),
    ("an absolute URL", b"GET http://169.254.169.254/latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", {200, 400, 404}),
    ("no host", b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", {200, 400}),
    ("a path of 64 KB", get("/v1/models/" + "a" * 65_536), {400, 404, 414, 431, 401, None}),
    ("a path with raw ..", get("/../../../../etc/passwd"), {400, 404, 200}),
    ("a path with backslashes", get("/..\\..\\etc\\passwd"), {400, 404, 200}),
    ("a path with raw bytes", b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", {400, 404, 200, None}),
    ("a NUL in the path", b"GET /v1/\x00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", {400, 404, None}),
    ("one header of 200 KB", get("/healthz", "X-Big: " + "a" * 200_000), {400, 431, None}),
    ("5,000 headers", get("/healthz", *(f"X-{i}: a" for i in range(5_000))), {400, 431, None}),
    ("a header without a colon", get("/healthz", "Rubbish"), {400, None}),
    ("a header with a NUL", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", {400, None}),
    ("a folded header", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\nConnection: close\r\n\r\n", {200, 400, None}),
    ("a request id that splits headers", get("/healthz", "X-Request-Id: a%0d%0aSet-Cookie: evil=1"), {200, 400}),
    ("a request id of 10,000 letters", get("/healthz", "X-Request-Id: " + "i" * 10_000), {200, 400}),
    ("a bearer of 20,000 letters", get("/v1/models", "Authorization: Bearer sk-" + "k" * 20_000), {400, 401, 431}),
    ("a bearer of raw bytes", b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe\xfd\r\n\r\n", {400, 401}),
    ("basic instead of bearer", get("/v1/models", "Authorization: Basic c2s6c2s="), {401}),
    ("two authorisations", get("/v1/models", "Authorization: Bearer sk-a", "Authorization: Bearer sk-b"), {400, 401}),
    ("2,000 cookies", get("/console/api/session", "Cookie: " + "; ".join(f"a{i}=b" for i in range(2_000))), {400, 401, 431, None}),
    ("a cookie of rubbish", get("/console/api/session", "Cookie: filbert_session=\x80\x81;;==;\"\""), {400, 401}),
    ("a negative length", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", {400, None}),
    ("a length beyond 64 bits", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", {400, 413, None}),
    ("two lengths", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", {400, 401, None}),
    ("length and chunks at once", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n", {400, 401, None}),
    ("a chunk size of rubbish", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", {400, 401, None}),
    ("a chunk size of 2^64", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n", {400, 401, 413, None}),
    ("an unknown transfer coding", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: brotli\r\nConnection: close\r\n\r\n", {400, 401, 411, 501, None}),
    ("a zip bomb by content-encoding", post("/console/api/login", b"\x1f\x8b" + b"\0" * 1000, "Content-Type: application/json", "Content-Encoding: gzip"), {400, 415}),
    ("an upgrade to h2c", get("/healthz", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), {200, 101, 400}),
    ("HTTP/2 by prior knowledge, then rubbish", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500, {400, None}),
    ("a websocket handshake", get("/v1/chat/completions", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"), {400, 401, 405, 404}),
    ("rubbish pipelined after a good request", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x00\x01\x02rubbish\r\n\r\n", {200}),
    ("a range of rubbish", get("/", "Range: bytes=9999999-1,5-,-"), {200, 206, 400, 416, 404}),
    ("an Expect of rubbish", get("/healthz", "Expect: 418-teapot"), {200, 400, 417}),
    ("a forwarded address of rubbish", get("/healthz", "X-Forwarded-For: <script>, 999.999.1.1", "Forwarded: for=\"_;;\""), {200, 400}),
]
