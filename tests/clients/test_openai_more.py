"""Completions, embeddings, rerank, models, errors, concurrency and cancelling, through the `openai` package."""

import concurrent.futures
import time

import openai
import pytest

HELLO = [{"role": "user", "content": "Name three colours."}]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


# completions ------------------------------------------------------------------------------------
def test_a_completion_goes_on_from_the_prompt_as_it_is(client, chat_model):
    answer = client.completions.create(model=chat_model, prompt="Once upon a time", max_tokens=8, temperature=0)
    assert answer.object == "text_completion" and answer.choices[0].text and answer.usage.completion_tokens <= 8
    streamed = "".join(c.choices[0].text for c in client.completions.create(model=chat_model, prompt="Once upon a time", max_tokens=8, temperature=0, stream=True) if c.choices)
    assert streamed == answer.choices[0].text


def test_echo_repeats_the_prompt_and_logprobs_come_in_the_legacy_shape(client, chat_model):
    answer = client.completions.create(model=chat_model, prompt="Once upon a time", max_tokens=4, temperature=0, echo=True, logprobs=2)
    assert answer.choices[0].text.startswith("Once upon a time") and len(answer.choices[0].text) > len("Once upon a time")
    lp = answer.choices[0].logprobs
    assert len(lp.tokens) == len(lp.token_logprobs) == len(lp.top_logprobs) == len(lp.text_offset)
    assert "".join(lp.tokens) in answer.choices[0].text


def test_several_prompts_give_several_choices(client, chat_model):
    answer = client.completions.create(model=chat_model, prompt=["One, two,", "Red, green,"], max_tokens=3, temperature=0)
    assert [c.index for c in answer.choices] == [0, 1]


def test_token_arrays_are_prompts_too(client, chat_model):
    assert client.completions.create(model=chat_model, prompt=[1, 4093, 198], max_tokens=2).choices[0].text is not None


# embeddings -------------------------------------------------------------------------------------
def test_embeddings_are_normalised_and_alike_in_float_and_base64(client, embedding_model):
    texts = ["The cat sits on the mat.", "Ein Hund läuft im Park.", "猫坐在垫子上。"]
    plain = client.embeddings.create(model=embedding_model, input=texts, encoding_format="float")
    packed = client.embeddings.create(model=embedding_model, input=texts)  # the package asks for base64 by itself
    assert [d.index for d in plain.data] == [0, 1, 2] and plain.usage.prompt_tokens > 10
    for a, b in zip(plain.data, packed.data):
        assert len(a.embedding) == 384 and abs(dot(a.embedding, a.embedding) - 1) < 1e-3
        assert max(abs(x - y) for x, y in zip(a.embedding, b.embedding)) < 1e-5


def test_a_single_text_and_a_token_array_are_taken(client, embedding_model):
    assert len(client.embeddings.create(model=embedding_model, input="hello").data) == 1
    assert len(client.embeddings.create(model=embedding_model, input=[[0, 33600, 31, 2]]).data) == 1


def test_dimensions_cut_and_normalise_anew(client, embedding_model):
    v = client.embeddings.create(model=embedding_model, input="hello", dimensions=128).data[0].embedding
    assert len(v) == 128 and abs(dot(v, v) - 1) < 1e-3


def test_a_batch_equals_one_by_one(client, embedding_model):
    texts = [f"Sentence number {i} about {'ships' * (1 + i % 5)}." for i in range(20)]
    batch = client.embeddings.create(model=embedding_model, input=texts, encoding_format="float").data
    for i in (0, 7, 19):
        alone = client.embeddings.create(model=embedding_model, input=texts[i], encoding_format="float").data[0].embedding
        assert dot(alone, batch[i].embedding) > 0.999


def test_questions_find_their_passages_across_languages(client, embedding_model):
    passages = ["Paris is the capital of France.", "Photosynthesis turns light into sugar in plants.", "Der Rhein fließt durch Köln.", "发酵需要酵母和糖。"]
    questions = ["Which city is the capital of France?", "How do plants make sugar?", "Welcher Fluss fließt durch Köln?", "发酵需要什么?"]
    p = client.embeddings.create(model=embedding_model, input=passages, extra_body={"input_type": "passage"}, encoding_format="float").data
    q = client.embeddings.create(model=embedding_model, input=questions, extra_body={"input_type": "query"}, encoding_format="float").data
    for i, question in enumerate(q):
        scores = [dot(question.embedding, x.embedding) for x in p]
        assert scores.index(max(scores)) == i, f"{questions[i]}: {scores}"


def test_query_and_passage_prefixes_change_the_vector(client, embedding_model):
    def one(kind):
        return client.embeddings.create(model=embedding_model, input="ships", extra_body={"input_type": kind}, encoding_format="float").data[0].embedding

    assert dot(one("query"), one("passage")) < 0.9999


def test_an_embedding_input_beyond_the_context_is_refused_with_the_counts(client, embedding_model):
    with pytest.raises(openai.BadRequestError) as e:
        client.embeddings.create(model=embedding_model, input="word " * 2000)
    assert e.value.code == "context_length_exceeded" and "512" in e.value.message


# rerank -----------------------------------------------------------------------------------------
def test_a_model_without_rank_pooling_refuses_to_rerank(appliance, key, embedding_model):
    status, body = appliance.post("/v1/rerank", {"model": embedding_model, "query": "a", "documents": ["b", "c"]}, key=key)
    assert status == 400 and body["error"]["code"] == "model_unsupported", body


# models -----------------------------------------------------------------------------------------
def test_models_are_listed_and_retrieved(client, chat_model, embedding_model):
    ids = [m.id for m in client.models.list()]
    assert chat_model in ids and embedding_model in ids
    assert client.models.retrieve(chat_model).id == chat_model
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


# errors -----------------------------------------------------------------------------------------
def test_a_wrong_key_is_an_authentication_error(appliance, chat_model):
    for bad in ("sk-wrong", "nonsense", "app-" + "a" * 24):
        stranger = openai.OpenAI(base_url=f"{appliance.url}/v1", api_key=bad, max_retries=0)
        with pytest.raises(openai.AuthenticationError) as e:
            stranger.chat.completions.create(model=chat_model, messages=HELLO)
        assert e.value.code == "unauthorized" and e.value.type == "authentication_error"


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as e:
        client.chat.completions.create(model="gpt-99", messages=HELLO)
    assert e.value.code == "model_not_found" and "gpt-99" in e.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_beyond_the_context_is_refused_with_the_counts(client, chat_model, stream):
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=chat_model, messages=[{"role": "user", "content": "word " * 20000}], stream=stream, max_tokens=5)
    assert e.value.code == "context_length_exceeded"
    assert any(part.strip(",.`();").isdigit() and int(part.strip(",.`();")) > 19000 for part in e.value.message.split()), e.value.message


BAD = [
    ("temperature", {"temperature": -1}),
    ("temperature", {"temperature": 99}),
    ("top_p", {"top_p": 1.5}),
    ("n", {"n": 0}),
    ("n", {"n": 10_000}),
    ("max_tokens", {"max_tokens": 0}),
    ("max_tokens", {"max_tokens": -5}),
    ("top_logprobs", {"logprobs": True, "top_logprobs": 99}),
    ("logit_bias", {"logit_bias": {"999999": 1}}),
    ("logit_bias", {"logit_bias": {"abc": 1}}),
    ("logit_bias", {"logit_bias": {"1": 1000}}),
    ("stop", {"stop": ["x"] * 1000}),
    ("presence_penalty", {"presence_penalty": 9}),
    ("response_format", {"response_format": {"type": "yaml"}}),
    ("tool_choice", {"tool_choice": {"type": "function", "function": {"name": "absent"}}, "tools": [{"type": "function", "function": {"name": "present", "parameters": {"type": "object"}}}]}),
    ("messages", {"messages": []}),
    ("messages", {"messages": [{"role": "wizard", "content": "hi"}]}),
]


@pytest.mark.parametrize("param,fields", BAD, ids=[f"{p}-{i}" for i, (p, _) in enumerate(BAD)])
def test_a_bad_parameter_is_refused_by_its_name(client, chat_model, param, fields):
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(**{"model": chat_model, "messages": HELLO, "max_tokens": 4, **fields})
    assert e.value.param is not None and e.value.param.split(".")[0].split("[")[0] == param, (e.value.param, e.value.message)
    assert e.value.type == "invalid_request_error"


def test_a_revoked_key_stops_working_at_once(appliance, chat_model):
    made = appliance.create_key("model", name="short-lived")
    client = openai.OpenAI(base_url=f"{appliance.url}/v1", api_key=made["secret"], max_retries=0)
    client.models.list()
    ident = made.get("id") or made["key"]["id"]
    appliance.owner.ok("DELETE", f"/console/api/keys/{ident}")
    with pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_a_key_for_one_model_opens_only_that(appliance, chat_model, embedding_model):
    made = appliance.create_key("model", name="narrow", models=[chat_model])
    client = openai.OpenAI(base_url=f"{appliance.url}/v1", api_key=made["secret"], max_retries=0)
    assert [m.id for m in client.models.list()] == [chat_model]
    with pytest.raises((openai.PermissionDeniedError, openai.NotFoundError)):
        client.embeddings.create(model=embedding_model, input="x")


# concurrency and cancelling ---------------------------------------------------------------------
def running(appliance):
    status, body = appliance.owner.call("GET", "/console/api/models")
    assert status == 200
    return body["runtime"]["running"], body["runtime"]["queued"]


def wait_idle(appliance, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if running(appliance) == (0, 0):
            return True
        time.sleep(0.05)
    return False


def test_twelve_at_once_all_get_their_own_answer(client, chat_model):
    def one(i):
        ask = [{"role": "user", "content": f"Repeat the number {i}."}]
        return client.chat.completions.create(model=chat_model, messages=ask, max_tokens=12, temperature=0, logprobs=True, top_logprobs=5).choices[0]

    alone = [one(i) for i in range(12)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        together = list(pool.map(one, range(12)))
    for i, (a, b) in enumerate(zip(alone, together)):
        assert b.message.content
        # Neighbours in the batch move a logit by some tenths (llama.cpp adds up its unified cache in the order of the
        # cells), so a near tie may fall either way; another prompt's answer would be nats away.
        before, now = ({t.token: t.logprob for t in c.logprobs.content[0].top_logprobs} for c in (a, b))
        shared = before.keys() & now.keys()
        assert len(shared) >= 3 and all(abs(before[t] - now[t]) < 1 for t in shared), (i, before, now)

def test_a_client_that_goes_away_cancels_its_work(appliance, client, chat_model):
    assert wait_idle(appliance)
    stream = client.chat.completions.create(model=chat_model, messages=[{"role": "user", "content": "Tell a very long story."}], max_tokens=2000, stream=True, extra_body={"ignore_eos": True})
    for _, _chunk in zip(range(5), stream):
        pass
    assert running(appliance)[0] == 1
    begun = time.monotonic()
    stream.close()
    assert wait_idle(appliance, 5)
    assert time.monotonic() - begun < 3


def test_a_plain_request_that_is_given_up_is_cancelled_too(appliance, chat_model, key):
    assert wait_idle(appliance)
    hasty = openai.OpenAI(base_url=f"{appliance.url}/v1", api_key=key, max_retries=0, timeout=1.0)
    with pytest.raises(openai.APITimeoutError):
        hasty.chat.completions.create(model=chat_model, messages=[{"role": "user", "content": "Tell a very long story."}], max_tokens=4000, extra_body={"ignore_eos": True})
    assert wait_idle(appliance, 5)


def test_the_asynchronous_client_works_as_well(appliance, key, chat_model):
    import asyncio

    async def talk():
        async with openai.AsyncOpenAI(base_url=f"{appliance.url}/v1", api_key=key, max_retries=0) as c:
            stream = await c.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=6, stream=True)
            return [x async for x in stream]

    assert len(asyncio.run(talk())) > 2
