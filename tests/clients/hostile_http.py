"""Hostile HTTP requests as data: what is sent, as whom, and the status and code that must come back.

A row: (name, who, method, path, body, expected). `body` is JSON (dict/list/str/number), bytes (sent as they are,
as application/json) or None. `expected` is a set of (status, code) pairs, any of which is right. `who` names an
entry of the `Cast` in `test_hostile.py`: nobody, key, revoked, expired, dataset_key, owner, member, editor,
no_csrf (the owner without the token), bad_csrf, foreign (the owner of another workspace), bad_cookie.
`{name}` in a path or body text is filled from the cast: own_key, foreign_key, owner_id, member_id, chat, embedding.
"""

import json

C = "/v1/chat/completions"
NOWHERE = "01890000-0000-7000-8000-000000000000"


def chat(**more):
    return {"model": "{chat}", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, **more}


def deep(n, opening="[", closing="]"):
    return (opening * n + closing * n).encode()


def invalid(*codes):
    return {(400, c) for c in codes or ("invalid_param", "bad_request")}


MALFORMED = invalid("bad_request", "invalid_param")
PARAM = invalid("invalid_param")
UNAUTHORIZED = {(401, "unauthorized")}
NOT_FOUND = {(404, "not_found")}
FORBIDDEN = {(403, "forbidden")}
TOO_LARGE = {(413, "request_entity_too_large")}
OVERFLOW = {(400, "context_length_exceeded")}
# Some clients close before the end of a huge body is sent: then the answer is lost, which is no fault of the server.

BODIES = [
    ("nothing at all", b""),
    ("half an object", b'{"model": "x", "messages": ['),
    ("a lone quote", b'"'),
    ("a number", b"42"),
    ("null", b"null"),
    ("an array", b"[]"),
    ("a string", b'"hello"'),
    ("two values", b"{}{}"),
    ("rubbish after the value", b'{"model":"x","messages":[]}garbage'),
    ("a trailing comma", b'{"model":"x",}'),
    ("NaN", b'{"model":"x","temperature":NaN,"messages":[]}'),
    ("a huge number", b'{"model":"x","max_tokens":1e400,"messages":[]}'),
    ("bad UTF-8 in a string", b'{"model":"\xff\xfe","messages":[]}'),
    ("an overlong UTF-8 sequence", b'{"model":"\xc0\xaf","messages":[]}'),
    ("a lone surrogate", b'{"model":"\\ud800","messages":[]}'),
    ("a raw control character", b'{"model":"a\x01b","messages":[]}'),
    ("UTF-16", '{"model":"x","messages":[]}'.encode("utf-16")),
    ("a byte order mark alone", b"\xef\xbb\xbf"),
    ("NUL bytes", b"\0" * 100),
    ("arrays 100,000 deep", deep(100_000)),
    ("objects 50,000 deep", b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    ("deep content", b'{"model":"x","messages":[{"role":"user","content":' + deep(5_000) + b"}]}"),
]

ROWS = [(f"{path}: {name}", who, "POST", path, body, MALFORMED) for path, who in ((C, "key"), ("/v1/embeddings", "key"), ("/console/api/keys", "owner")) for name, body in BODIES]
# Strangers may send 64 KiB, whatever is in it.
ROWS += [(f"sign-in: {name}", "nobody", "POST", "/console/api/login", body, MALFORMED if len(body) <= 65_536 else TOO_LARGE) for name, body in BODIES[:3] + BODIES[12:14] + BODIES[19:20]]

ROWS += [
    # wrong types and values
    ("model is a number", "key", "POST", C, chat(model=5), MALFORMED),
    ("model is missing", "key", "POST", C, {"messages": [{"role": "user", "content": "hi"}]}, MALFORMED | {(404, "model_not_found"), (200, None)}),
    ("model is a path", "key", "POST", C, chat(model="../../etc/passwd"), {(404, "model_not_found")}),
    ("model has a NUL", "key", "POST", C, chat(model="a\0b"), {(404, "model_not_found"), (400, "invalid_param")}),
    ("model is 1 MB long", "key", "POST", C, chat(model="m" * 1_000_000), {(404, "model_not_found"), (400, "invalid_param")}),
    ("messages is an object", "key", "POST", C, chat(messages={}), MALFORMED),
    ("messages is empty", "key", "POST", C, chat(messages=[]), PARAM),
    ("a message is a string", "key", "POST", C, chat(messages=["hi"]), MALFORMED),
    ("a message without a role", "key", "POST", C, chat(messages=[{"content": "hi"}]), MALFORMED),
    ("an unknown role", "key", "POST", C, chat(messages=[{"role": "root", "content": "hi"}]), MALFORMED),
    ("content is a number", "key", "POST", C, chat(messages=[{"role": "user", "content": 7}]), MALFORMED),
    ("an unknown content part", "key", "POST", C, chat(messages=[{"role": "user", "content": [{"type": "hologram"}]}]), MALFORMED),
    ("an image for a text model", "key", "POST", C, chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]}]), {(400, "model_unsupported"), (400, "invalid_param")}),
    ("a tool answer without a call", "key", "POST", C, chat(messages=[{"role": "tool", "content": "x"}]), MALFORMED | {(200, None)}),
    ("temperature is text", "key", "POST", C, chat(temperature="hot"), MALFORMED),
    ("temperature is below zero", "key", "POST", C, chat(temperature=-0.1), PARAM),
    ("temperature is 1e30", "key", "POST", C, chat(temperature=1e30), PARAM),
    ("top_p is above one", "key", "POST", C, chat(top_p=2), PARAM),
    ("top_k is below zero by far", "key", "POST", C, chat(top_k=-(2**31)), PARAM | {(200, None)}),
    ("top_k is beyond 32 bits", "key", "POST", C, chat(top_k=2**40), MALFORMED),
    ("min_p is 7", "key", "POST", C, chat(min_p=7), PARAM),
    ("max_tokens is negative", "key", "POST", C, chat(max_tokens=-1), MALFORMED),
    ("max_tokens is a fraction", "key", "POST", C, chat(max_tokens=1.5), MALFORMED),
    ("max_tokens is beyond the context", "key", "POST", C, chat(max_tokens=10_000_000), OVERFLOW | PARAM),
    ("max_tokens is 2^64", "key", "POST", C, chat(max_tokens=2**64), MALFORMED | OVERFLOW),
    ("n is zero", "key", "POST", C, chat(n=0), PARAM),
    ("n is a million", "key", "POST", C, chat(n=1_000_000), PARAM),
    ("n is 2^32", "key", "POST", C, chat(n=2**32), MALFORMED),
    ("seed is text", "key", "POST", C, chat(seed="x"), MALFORMED),
    ("top_logprobs is 500", "key", "POST", C, chat(logprobs=True, top_logprobs=500), MALFORMED),
    ("top_logprobs without logprobs", "key", "POST", C, chat(top_logprobs=3), PARAM | {(200, None)}),
    ("stop is a number", "key", "POST", C, chat(stop=4), MALFORMED),
    ("10,000 stop strings", "key", "POST", C, chat(stop=[f"s{i}" for i in range(10_000)]), PARAM),
    ("a stop string of 1 MB", "key", "POST", C, chat(stop="s" * 1_000_000), PARAM),
    ("an empty stop string", "key", "POST", C, chat(stop=[""]), PARAM | {(200, None)}),
    ("logit_bias is a list", "key", "POST", C, chat(logit_bias=[1]), MALFORMED),
    ("logit_bias for no token", "key", "POST", C, chat(logit_bias={"4294967295": 1}), PARAM),
    ("logit_bias for a word", "key", "POST", C, chat(logit_bias={"the": 1}), MALFORMED),
    ("logit_bias out of range", "key", "POST", C, chat(logit_bias={"5": 1e9}), PARAM),
    ("100,000 logit biases", "key", "POST", C, chat(logit_bias={str(i): 1 for i in range(100_000)}), PARAM),
    ("presence_penalty of 1e9", "key", "POST", C, chat(presence_penalty=1e9), PARAM),
    ("stream is text", "key", "POST", C, chat(stream="yes"), MALFORMED),
    ("tools is an object", "key", "POST", C, chat(tools={}), MALFORMED),
    ("a tool without a function", "key", "POST", C, chat(tools=[{"type": "function"}]), MALFORMED),
    ("a tool with a name of rubbish", "key", "POST", C, chat(tools=[{"type": "function", "function": {"name": "a b\n{}", "parameters": {}}}]), PARAM),
    ("5,000 tools", "key", "POST", C, chat(tools=[{"type": "function", "function": {"name": f"t{i}", "parameters": {"type": "object"}}} for i in range(5_000)], tool_choice="required"), PARAM | OVERFLOW | {(400, "invalid_schema")}),
    ("tool_choice names an absent tool", "key", "POST", C, chat(tool_choice={"type": "function", "function": {"name": "x"}}), PARAM),
    ("tool_choice required without tools", "key", "POST", C, chat(tool_choice="required"), PARAM),
    ("tool_choice is rubbish", "key", "POST", C, chat(tool_choice="perhaps"), MALFORMED),
    ("response_format is unknown", "key", "POST", C, chat(response_format={"type": "xml"}), MALFORMED),
    ("a json_schema without a schema", "key", "POST", C, chat(response_format={"type": "json_schema"}), MALFORMED | {(400, "invalid_schema")}),
    # overflow
    ("a prompt beyond the context", "key", "POST", C, chat(messages=[{"role": "user", "content": "word " * 30_000}]), OVERFLOW),
    ("a prompt of special tokens", "key", "POST", C, chat(messages=[{"role": "user", "content": "<|im_start|>" * 20_000}]), OVERFLOW),
    ("10,000 messages", "key", "POST", C, chat(messages=[{"role": "user", "content": "hi"}] * 10_000), OVERFLOW | PARAM),
    ("a body of 64 MB", "key", "POST", C, b'{"model":"' + b"x" * 64_000_000 + b'"}', TOO_LARGE),
    ("a login body of 8 MB", "nobody", "POST", "/console/api/login", b'{"email":"' + b"x" * 8_000_000 + b'"}', TOO_LARGE),
    ("a key name of 3 MB", "owner", "POST", "/console/api/keys", {"name": "n" * 3_000_000, "kind": "model"}, PARAM | TOO_LARGE),
    # completions, embeddings, rerank
    ("a completion without a prompt", "key", "POST", "/v1/completions", {"model": "{chat}"}, MALFORMED | {(200, None)}),
    ("token ids beyond the vocabulary", "key", "POST", "/v1/completions", {"model": "{chat}", "prompt": [4_000_000_000], "max_tokens": 1}, PARAM),
    ("negative token ids", "key", "POST", "/v1/completions", {"model": "{chat}", "prompt": [-1], "max_tokens": 1}, MALFORMED),
    ("an empty prompt", "key", "POST", "/v1/completions", {"model": "{chat}", "prompt": "", "max_tokens": 1}, PARAM | {(200, None)}),
    ("10,000 prompts", "key", "POST", "/v1/completions", {"model": "{chat}", "prompt": ["a"] * 10_000, "max_tokens": 1}, PARAM),
    ("an embedding of nothing", "key", "POST", "/v1/embeddings", {"model": "{embedding}", "input": []}, PARAM),
    ("an embedding of a number", "key", "POST", "/v1/embeddings", {"model": "{embedding}", "input": 9}, MALFORMED),
    ("100,000 embedding inputs", "key", "POST", "/v1/embeddings", {"model": "{embedding}", "input": ["a"] * 100_000}, PARAM | TOO_LARGE),
    ("an embedding by the chat model", "key", "POST", "/v1/embeddings", {"model": "{chat}", "input": "a"}, {(400, "model_unsupported")}),
    ("chat by the embedding model", "key", "POST", C, chat(model="{embedding}"), {(400, "model_unsupported")}),
    ("embedding dimensions of zero", "key", "POST", "/v1/embeddings", {"model": "{embedding}", "input": "a", "dimensions": 0}, PARAM),
    ("embedding dimensions beyond the width", "key", "POST", "/v1/embeddings", {"model": "{embedding}", "input": "a", "dimensions": 99_999}, PARAM),
    ("an embedding token beyond the vocabulary", "key", "POST", "/v1/embeddings", {"model": "{embedding}", "input": [[2**31]]}, PARAM),
    ("an unknown encoding format", "key", "POST", "/v1/embeddings", {"model": "{embedding}", "input": "a", "encoding_format": "morse"}, MALFORMED),
    ("rerank without documents", "key", "POST", "/v1/rerank", {"model": "{embedding}", "query": "a", "documents": []}, PARAM | {(400, "model_unsupported")}),
    ("rerank by a model that cannot", "key", "POST", "/v1/rerank", {"model": "{embedding}", "query": "a", "documents": ["b"]}, {(400, "model_unsupported")}),
    # who are you
    ("no key", "nobody", "POST", C, chat(), UNAUTHORIZED),
    ("no key on models", "nobody", "GET", "/v1/models", None, UNAUTHORIZED),
    ("a revoked key", "revoked", "POST", C, chat(), UNAUTHORIZED),
    ("an expired key", "expired", "POST", C, chat(), UNAUTHORIZED),
    ("a dataset key on models", "dataset_key", "POST", C, chat(), UNAUTHORIZED | FORBIDDEN),
    ("a session on /v1", "owner", "GET", "/v1/models", None, UNAUTHORIZED),
    ("an API key on the console", "key", "GET", "/console/api/keys", None, UNAUTHORIZED),
    ("a forged cookie", "bad_cookie", "GET", "/console/api/session", None, UNAUTHORIZED),
    ("the console signed out", "nobody", "GET", "/console/api/keys", None, UNAUTHORIZED),
    ("settings signed out", "nobody", "PATCH", "/console/api/settings", {"name": "x"}, UNAUTHORIZED | {(403, "csrf_failed")}),
    ("no CSRF token", "no_csrf", "POST", "/console/api/keys", {"name": "x", "kind": "model"}, {(403, "csrf_failed")}),
    ("a wrong CSRF token", "bad_csrf", "POST", "/console/api/keys", {"name": "x", "kind": "model"}, {(403, "csrf_failed")}),
    ("no CSRF token on delete", "no_csrf", "DELETE", "/console/api/keys/{own_key}", None, {(403, "csrf_failed")}),
    ("no CSRF token in the playground", "no_csrf", "POST", "/console/api/playground/chat", chat(), {(403, "csrf_failed")}),
    ("set up twice", "nobody", "POST", "/console/api/setup", {"email": "x@example.org", "name": "x", "password": "long enough 1"}, {(409, "already_set_up")}),
    ("a wrong password", "nobody", "POST", "/console/api/login", {"email": "owner@example.org", "password": "wrong"}, {(401, "invalid_credentials"), (429, "login_throttled")}),
    ("an unknown person", "nobody", "POST", "/console/api/login", {"email": "ghost@example.org", "password": "wrong"}, {(401, "invalid_credentials"), (429, "login_throttled")}),
    ("a password of 1 MB", "nobody", "POST", "/console/api/login", {"email": "ghost2@example.org", "password": "p" * 900_000}, {(401, "invalid_credentials"), (400, "invalid_param"), (400, "weak_password"), (413, "request_entity_too_large"), (429, "login_throttled")}),
    ("the internal door without a token", "nobody", "GET", "/internal/system", None, UNAUTHORIZED | NOT_FOUND | FORBIDDEN),
    ("the internal door with a wrong token", "local_guess", "POST", "/internal/keys", {"kind": "model"}, UNAUTHORIZED | NOT_FOUND | FORBIDDEN),
    ("the internal door as owner", "owner", "GET", "/internal/system", None, UNAUTHORIZED | NOT_FOUND | FORBIDDEN),
    # roles
    ("a member makes a key", "member", "POST", "/console/api/keys", {"name": "x", "kind": "model"}, FORBIDDEN),
    ("a member adds a member", "member", "POST", "/console/api/members", {"email": "z@example.org", "name": "z", "password": "long enough 1", "role": "owner"}, FORBIDDEN),
    ("an editor adds a member", "editor", "POST", "/console/api/members", {"email": "z@example.org", "name": "z", "password": "long enough 1", "role": "owner"}, FORBIDDEN),
    ("a member makes himself owner", "member", "PATCH", "/console/api/members/{member_id}", {"role": "owner"}, FORBIDDEN),
    ("an editor changes the settings", "editor", "PATCH", "/console/api/settings", {"name": "mine"}, FORBIDDEN),
    ("an editor deletes a model", "editor", "DELETE", "/console/api/models/{chat}", None, FORBIDDEN),
    ("an editor takes a backup", "editor", "POST", "/console/api/backup", {}, FORBIDDEN),
    ("an editor starts a download", "editor", "POST", "/console/api/downloads", {"url": "http://127.0.0.1:1/x.gguf"}, FORBIDDEN),
    ("the last owner steps down", "owner", "PATCH", "/console/api/members/{owner_id}", {"role": "member"}, {(409, "conflict"), (403, "forbidden"), (400, "invalid_param")}),
    ("the last owner leaves", "owner", "DELETE", "/console/api/members/{owner_id}", None, {(409, "conflict"), (403, "forbidden"), (400, "invalid_param")}),
    ("an unknown role is given", "owner", "PATCH", "/console/api/members/{member_id}", {"role": "god"}, MALFORMED),
    ("a member with a taken address", "owner", "POST", "/console/api/members", {"email": "member@example.org", "name": "z", "password": "long enough 1", "role": "member"}, {(409, "conflict")}),
    ("a weak password", "owner", "POST", "/console/api/members", {"email": "weak@example.org", "name": "z", "password": "123", "role": "member"}, {(400, "weak_password")}),
    ("an address that is none", "owner", "POST", "/console/api/members", {"email": "not an address", "name": "z", "password": "long enough 1", "role": "member"}, PARAM),
    # other tenants' things
    ("revoking a neighbour's key", "owner", "DELETE", "/console/api/keys/{foreign_key}", None, NOT_FOUND),
    ("renaming a neighbour's key", "owner", "PATCH", "/console/api/keys/{foreign_key}", {"name": "mine"}, NOT_FOUND),
    ("a neighbour revokes ours", "foreign", "DELETE", "/console/api/keys/{own_key}", None, NOT_FOUND),
    ("a neighbour removes our member", "foreign", "DELETE", "/console/api/members/{member_id}", None, NOT_FOUND),
    ("a neighbour promotes our member", "foreign", "PATCH", "/console/api/members/{member_id}", {"role": "owner"}, NOT_FOUND),
    ("switching into a strange workspace", "member", "POST", "/console/api/workspaces/{foreign_workspace}/switch", {}, NOT_FOUND),
    ("renaming a strange workspace", "owner2", "PATCH", "/console/api/workspaces/{own_workspace}", {"name": "x"}, NOT_FOUND),
    # unknown ids, paths, methods
    ("an unknown key id", "owner", "DELETE", f"/console/api/keys/{NOWHERE}", None, NOT_FOUND),
    ("an id that is none", "owner", "DELETE", "/console/api/keys/1%20or%201=1", None, NOT_FOUND),
    ("an unknown session", "owner", "DELETE", f"/console/api/sessions/{NOWHERE}", None, NOT_FOUND),
    ("an unknown download", "owner", "POST", f"/console/api/downloads/{NOWHERE}/pause", {}, NOT_FOUND),
    ("an unknown console path", "owner", "GET", "/console/api/nothing", None, NOT_FOUND),
    ("an unknown v1 path", "key", "GET", "/v1/nothing", None, NOT_FOUND),
    ("an unknown model id", "key", "GET", "/v1/models/none", None, {(404, "model_not_found"), (404, "not_found")}),
    ("a method that is not allowed", "key", "PUT", C, chat(), {(405, "method_not_allowed")}),
    ("GET on chat", "key", "GET", C, None, {(405, "method_not_allowed")}),
    ("DELETE on models", "key", "DELETE", "/v1/models", None, {(405, "method_not_allowed")}),
    ("a path with ..", "key", "GET", "/v1/models/..%2f..%2fetc%2fpasswd", None, {(404, "model_not_found"), (404, "not_found"), (400, "bad_request")}),
    ("a model path with ..", "owner", "DELETE", "/console/api/models/..%2f..%2f..%2fetc%2fpasswd", None, NOT_FOUND | {(404, "model_not_found"), (400, "invalid_param")}),
    ("a model path with NUL", "owner", "GET", "/console/api/models/a%00b", None, NOT_FOUND | {(404, "model_not_found"), (400, "invalid_param"), (400, "bad_request")}),
    ("a model path with bad UTF-8", "owner", "GET", "/console/api/models/%ff%fe", None, NOT_FOUND | {(404, "model_not_found"), (400, "invalid_param"), (400, "bad_request")}),
    ("a model path of 5,000 characters", "owner", "GET", "/console/api/models/" + "a" * 5_000, None, NOT_FOUND | {(404, "model_not_found"), (400, "invalid_param"), (400, "bad_request")}),
    ("a broken percent sign", "owner", "GET", "/console/api/models/%zz", None, NOT_FOUND | {(404, "model_not_found"), (400, "bad_request"), (400, "invalid_param")}),
    ("a query of rubbish", "owner", "GET", "/console/api/keys?kind=spoon", None, MALFORMED),
    ("the static files with ..", "nobody", "GET", "/assets/..%2f..%2fCargo.toml", None, NOT_FOUND),
    # uploads and downloads
    ("an upload named ../x", "owner", "POST", "/console/api/models/upload?file_name=..%2fx.gguf", b"GGUF", {(400, "invalid_param"), (400, "invalid_model_file")}),
    ("an upload with an absolute name", "owner", "POST", "/console/api/models/upload?file_name=%2Ftmp%2Fx.gguf", b"GGUF", {(400, "invalid_param"), (400, "invalid_model_file")}),
    ("an upload with NUL in its name", "owner", "POST", "/console/api/models/upload?file_name=x%00.gguf", b"GGUF", {(400, "invalid_param"), (400, "invalid_model_file")}),
    ("an upload with a long name", "owner", "POST", "/console/api/models/upload?file_name=" + "x" * 400 + ".gguf", b"GGUF", {(400, "invalid_param"), (400, "invalid_model_file")}),
    ("an upload that is no gguf by name", "owner", "POST", "/console/api/models/upload?file_name=x.sh", b"GGUF", {(400, "invalid_param"), (400, "invalid_model_file")}),
    ("an upload without a name", "owner", "POST", "/console/api/models/upload", b"GGUF", MALFORMED),
    ("a download of a local file", "owner", "POST", "/console/api/downloads", {"url": "file:///etc/passwd"}, PARAM),
    ("a download from gopher", "owner", "POST", "/console/api/downloads", {"url": "gopher://127.0.0.1/x.gguf"}, PARAM),
    ("a download from nowhere", "owner", "POST", "/console/api/downloads", {"url": "not a url"}, PARAM),
    ("a download to ../x", "owner", "POST", "/console/api/downloads", {"url": "http://127.0.0.1:1/x.gguf", "file_name": "../x.gguf"}, PARAM),
    ("a download with a false checksum", "owner", "POST", "/console/api/downloads", {"url": "http://127.0.0.1:1/x.gguf", "sha256": "zz"}, PARAM),
    # settings of models
    ("a context of four billion", "owner", "PATCH", "/console/api/models/{chat}", {"context_size": 2**32 - 1}, PARAM),
    ("a context of zero", "owner", "PATCH", "/console/api/models/{chat}", {"context_size": 0}, PARAM),
    ("a million sequences", "owner", "PATCH", "/console/api/models/{chat}", {"parallel": 1_000_000}, PARAM),
    ("a thousand threads", "owner", "PATCH", "/console/api/models/{chat}", {"threads": 100_000}, PARAM),
    ("settings of an absent model", "owner", "PATCH", "/console/api/models/none", {"pinned": True}, NOT_FOUND | {(404, "model_not_found")}),
    ("loading an absent model", "owner", "POST", "/console/api/models/none/load", {}, NOT_FOUND | {(404, "model_not_found")}),
    # keys
    ("a key of an unknown kind", "owner", "POST", "/console/api/keys", {"name": "x", "kind": "master"}, MALFORMED),
    ("an app key without an app", "owner", "POST", "/console/api/keys", {"name": "x", "kind": "app"}, MALFORMED | NOT_FOUND),
    ("a key that expired before it began", "owner", "POST", "/console/api/keys", {"name": "x", "kind": "model", "expires_at": -5}, PARAM),
    ("a language that is none", "owner", "PATCH", "/console/api/account", {"language": "<script>"}, PARAM),
    ("a theme that is none", "owner", "PATCH", "/console/api/account", {"theme": "neon"}, MALFORMED),
    ("a wrong current password", "owner", "POST", "/console/api/account/password", {"current": "wrong", "new": "long enough 1"}, {(401, "invalid_credentials"), (400, "invalid_param"), (403, "forbidden"), (429, "login_throttled")}),
    ("a wrong content type", "key_text", "POST", C, json.dumps({"model": "x"}).encode(), {(415, "unsupported_media_type"), (400, "bad_request"), (400, "invalid_param"), (404, "model_not_found")}),
]
