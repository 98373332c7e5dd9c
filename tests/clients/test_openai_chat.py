"""The `openai` package, unmodified, drives chat: plain, streamed, constrained, with tools."""

import json

import pytest

HELLO = [{"role": "user", "content": "Name three colours."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time in a time zone.",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string", "maxLength": 40}}, "required": ["zone"], "additionalProperties": False},
    },
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 30}, "age": {"type": "integer", "minimum": 0, "maximum": 150}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}},
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


def ask(client, model, messages=HELLO, **more):
    more.setdefault("max_tokens", 24)
    more.setdefault("temperature", 0)
    return client.chat.completions.create(model=model, messages=messages, **more)


def test_a_plain_answer_has_every_field_a_client_reads(client, chat_model):
    answer = ask(client, chat_model)
    choice = answer.choices[0]
    assert answer.object == "chat.completion" and answer.id and answer.created > 1_600_000_000 and answer.model == chat_model
    assert choice.message.role == "assistant" and choice.message.content.strip() and choice.index == 0
    assert choice.finish_reason in ("stop", "length") and choice.logprobs is None and not choice.message.tool_calls
    u = answer.usage
    assert u.prompt_tokens > 0 and 0 < u.completion_tokens <= 24 and u.total_tokens == u.prompt_tokens + u.completion_tokens


def test_a_stream_gives_the_same_text_as_a_plain_answer(client, chat_model):
    plain = ask(client, chat_model, seed=7)
    chunks = list(ask(client, chat_model, seed=7, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(c.object == "chat.completion.chunk" and c.id == chunks[0].id for c in chunks)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == plain.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [plain.choices[0].finish_reason]
    assert all(c.usage is None for c in chunks)


def test_include_usage_ends_the_stream_with_the_counts(client, chat_model):
    chunks = list(ask(client, chat_model, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert all(c.usage is None for c in chunks[:-1])


def test_max_tokens_is_kept_and_said_to_be_the_reason(client, chat_model):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = client.chat.completions.create(model=chat_model, messages=HELLO, **{name: 3})
        assert answer.usage.completion_tokens == 3 and answer.choices[0].finish_reason == "length"


def test_the_same_seed_gives_the_same_text_and_another_seed_another(client, chat_model):
    def draw(seed):
        return ask(client, chat_model, [{"role": "user", "content": "Invent a word."}], temperature=1.5, seed=seed, max_tokens=20).choices[0].message.content

    assert draw(11) == draw(11)
    assert len({draw(seed) for seed in (1, 2, 3, 4)}) > 1


def test_n_gives_that_many_different_answers_plain_and_streamed(client, chat_model):
    answer = ask(client, chat_model, n=2, temperature=1.2, seed=5)
    assert [c.index for c in answer.choices] == [0, 1]
    assert answer.choices[0].message.content != answer.choices[1].message.content
    texts = {0: "", 1: ""}
    ends = set()
    for chunk in ask(client, chat_model, n=2, temperature=1.2, seed=5, stream=True):
        for c in chunk.choices:
            texts[c.index] += c.delta.content or ""
            if c.finish_reason:
                ends.add(c.index)
    assert ends == {0, 1} and [texts[0], texts[1]] == [c.message.content for c in answer.choices]


def test_logprobs_are_aligned_with_the_text_and_add_up(client, chat_model):
    answer = ask(client, chat_model, logprobs=True, top_logprobs=5, max_tokens=12)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) >= answer.usage.completion_tokens - 1
    assert b"".join(bytes(t.bytes) for t in tokens).decode() == answer.choices[0].message.content
    for t in tokens:
        assert t.logprob <= 0 and len(t.top_logprobs) == 5
        assert [x.logprob for x in t.top_logprobs] == sorted((x.logprob for x in t.top_logprobs), reverse=True)
        assert abs(t.top_logprobs[0].logprob - t.logprob) < 1e-3, "at temperature 0 the likeliest token is the chosen one"
    streamed = [t for c in ask(client, chat_model, logprobs=True, max_tokens=12, stream=True) if c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    assert [t.token for t in streamed] == [t.token for t in tokens]


def test_a_stop_string_ends_the_answer_and_is_not_in_it(client, chat_model):
    whole = ask(client, chat_model, [{"role": "user", "content": "Count from 1 to 9 with commas."}], max_tokens=40).choices[0].message.content
    middle = whole[len(whole) // 3 : len(whole) // 3 + 4]
    for stop in (middle, [middle, "zzzzzz"]):
        cut = ask(client, chat_model, [{"role": "user", "content": "Count from 1 to 9 with commas."}], max_tokens=40, stop=stop)
        assert cut.choices[0].message.content == whole[: whole.index(middle)] and cut.choices[0].finish_reason == "stop"
        streamed = "".join(c.choices[0].delta.content or "" for c in ask(client, chat_model, [{"role": "user", "content": "Count from 1 to 9 with commas."}], max_tokens=40, stop=stop, stream=True))
        assert streamed == whole[: whole.index(middle)]


def test_logit_bias_forbids_and_forces_tokens(client, chat_model):
    free = ask(client, chat_model, logprobs=True, top_logprobs=1, max_tokens=1).choices[0].message.content
    # The token's number is found through the completions API, which takes token arrays: try them until the text fits.
    forced = ask(client, chat_model, logit_bias={"28": 100}, max_tokens=4)
    pieces = forced.choices[0].message.content
    assert len(set(pieces[i] for i in range(len(pieces)))) == 1, f"one token forced four times: {pieces!r}"
    assert pieces != free


def test_penalties_and_truncation_parameters_are_taken(client, chat_model):
    answer = ask(client, chat_model, temperature=0.8, top_p=0.9, presence_penalty=1.5, frequency_penalty=0.5, seed=1, extra_body={"top_k": 20, "min_p": 0.05, "repeat_penalty": 1.1})
    assert answer.choices[0].message.content


def test_system_messages_and_content_parts_are_understood(client, chat_model):
    parts = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": "of France?"}]}]
    assert ask(client, chat_model, parts).choices[0].message.content


def test_a_conversation_with_tool_results_is_understood(client, chat_model):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\",\"unit\":\"celsius\"}"}}
    talk = [{"role": "user", "content": "Weather in Paris?"}, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "{\"degrees\": 21}"}]
    assert ask(client, chat_model, talk, tools=[WEATHER]).choices[0].message.content is not None


# constrained ------------------------------------------------------------------------------------
def check_person(text):
    person = json.loads(text)
    assert set(person) == {"name", "age", "tags"} and isinstance(person["name"], str) and 0 <= person["age"] <= 150
    assert len(person["tags"]) <= 3 and all(t in ("a", "b") for t in person["tags"])


@pytest.mark.parametrize("stream", [False, True])
def test_json_schema_is_kept_whatever_the_model_would_say(client, chat_model, stream):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    for seed in (1, 2, 3):
        answer = ask(client, chat_model, [{"role": "user", "content": "Tell me about a person."}], response_format=form, max_tokens=200, temperature=1.0, seed=seed, stream=stream)
        check_person("".join(c.choices[0].delta.content or "" for c in answer) if stream else answer.choices[0].message.content)


def test_json_object_gives_a_json_object(client, chat_model):
    for seed in (1, 2):
        answer = ask(client, chat_model, [{"role": "user", "content": "Give me a short JSON object about a dog: name and age."}], response_format={"type": "json_object"}, max_tokens=300, temperature=0.7, seed=seed)
        if answer.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(answer.choices[0].message.content), dict)
        else:
            assert answer.choices[0].message.content.lstrip().startswith("{")


def test_pydantic_parse_helper_works(client, chat_model):
    from pydantic import BaseModel

    class Answer(BaseModel):
        ok: bool
        count: int

    got = client.chat.completions.parse(model=chat_model, messages=HELLO, response_format=Answer, max_tokens=100, temperature=0)
    assert isinstance(got.choices[0].message.parsed, Answer)


def test_a_grammar_of_ones_own_is_kept(client, chat_model):
    answer = ask(client, chat_model, extra_body={"grammar": 'root ::= ("yes" | "no") "!" [0-9]{2}'})
    text = answer.choices[0].message.content
    assert text[:-2] in ("yes!", "no!") and text[-2:].isdigit()


# tools ------------------------------------------------------------------------------------------
def check_call(call, name="get_weather"):
    assert call.type == "function" and call.id and call.function.name == name
    arguments = json.loads(call.function.arguments)
    if name == "get_weather":
        assert set(arguments) == {"city", "unit"} and arguments["unit"] in ("celsius", "fahrenheit")
    else:
        assert set(arguments) == {"zone"}


def collect(stream):
    """Puts a streamed tool call together as a client does."""
    calls, reason = {}, None
    for chunk in stream:
        for c in chunk.choices:
            reason = c.finish_reason or reason
            for d in c.delta.tool_calls or []:
                got = calls.setdefault(d.index, {"id": None, "name": None, "arguments": "", "pieces": 0})
                got["id"] = d.id or got["id"]
                if d.function:
                    got["name"] = d.function.name or got["name"]
                    got["arguments"] += d.function.arguments or ""
                    got["pieces"] += 1
    return calls, reason


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_forced_tool_is_called_with_valid_arguments(client, chat_model, choice):
    for seed in (1, 2):
        answer = ask(client, chat_model, [{"role": "user", "content": "Weather in Oslo, celsius?"}], tools=[WEATHER], tool_choice=choice, max_tokens=200, temperature=0.9, seed=seed)
        assert answer.choices[0].finish_reason == "tool_calls" and answer.choices[0].message.tool_calls
        for call in answer.choices[0].message.tool_calls:
            check_call(call)


def test_a_named_tool_is_chosen_among_several(client, chat_model):
    answer = ask(client, chat_model, tools=[WEATHER, CLOCK], tool_choice={"type": "function", "function": {"name": "get_time"}}, max_tokens=200)
    check_call(answer.choices[0].message.tool_calls[0], "get_time")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_forced_tool_call_streams_its_arguments_in_pieces(client, chat_model, choice):
    calls, reason = collect(ask(client, chat_model, [{"role": "user", "content": "Weather in Oslo?"}], tools=[WEATHER], tool_choice=choice, max_tokens=200, stream=True))
    assert reason == "tool_calls" and calls
    for call in calls.values():
        assert call["id"] and call["name"] == "get_weather" and call["pieces"] > 1
        assert json.loads(call["arguments"])["unit"] in ("celsius", "fahrenheit")


def test_parallel_tool_calls_false_gives_one_call(client, chat_model):
    answer = ask(client, chat_model, tools=[WEATHER, CLOCK], tool_choice="required", parallel_tool_calls=False, max_tokens=300, temperature=1, seed=3)
    assert len(answer.choices[0].message.tool_calls) == 1


def test_tool_choice_none_gives_text(client, chat_model):
    answer = ask(client, chat_model, tools=[WEATHER], tool_choice="none")
    assert answer.choices[0].message.content and not answer.choices[0].message.tool_calls


def test_tool_choice_auto_gives_text_or_a_well_formed_call(client, chat_model):
    answer = ask(client, chat_model, [{"role": "user", "content": "What is the weather in Rome in celsius?"}], tools=[WEATHER], max_tokens=120)
    for call in answer.choices[0].message.tool_calls or []:
        json.loads(call.function.arguments)
    assert answer.choices[0].message.tool_calls or answer.choices[0].message.content


# cache ------------------------------------------------------------------------------------------
def test_cached_tokens_grow_when_the_prefix_comes_again(client, chat_model):
    system = {"role": "system", "content": "You are a careful archivist. " + " ".join(f"Rule {i}: keep shelf {i} tidy." for i in range(40))}
    first = ask(client, chat_model, [system, {"role": "user", "content": "Who are you?"}], max_tokens=2)
    again = ask(client, chat_model, [system, {"role": "user", "content": "What is rule 3?"}], max_tokens=2)
    cached = again.usage.prompt_tokens_details.cached_tokens
    assert first.usage.prompt_tokens_details.cached_tokens < cached
    assert cached > 0.8 * again.usage.prompt_tokens


def test_another_workspace_gets_nothing_out_of_the_prefix_cache(appliance, client, chat_model):
    import openai

    system = {"role": "system", "content": "Secret ledger. " + " ".join(f"Entry {i} is {i * 7}." for i in range(40))}
    ask(client, chat_model, [system, {"role": "user", "content": "Hi"}], max_tokens=2)
    other = appliance.session().login("owner@example.org", "correct horse battery")
    made = other.ok("POST", "/console/api/workspaces", {"name": "Neighbours"})
    ident = made.get("id") or made["workspace"]["id"]
    other.ok("POST", f"/console/api/workspaces/{ident}/switch", {})
    secret = appliance.create_key("model", session=other)["secret"]
    theirs = openai.OpenAI(base_url=f"{appliance.url}/v1", api_key=secret, max_retries=0, timeout=120)
    usage = ask(theirs, chat_model, [system, {"role": "user", "content": "Hi"}], max_tokens=2).usage
    assert usage.prompt_tokens_details.cached_tokens == 0
