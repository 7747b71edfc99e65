"""The simulator's OpenAI side, asked by the official client and by raw HTTP."""

from __future__ import annotations

import base64
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from PIL import Image

from workerctl.testing.simulator import Fault, FaultKind, Simulator

LADY = {"model": "gpt-image-2", "prompt": "a lady with a fan"}


@pytest.fixture
def provider():
    with Simulator() as running:
        yield running


@pytest.fixture
def client(provider):
    with openai.OpenAI(base_url=provider.openai_url, api_key=provider.key, max_retries=0) as made:
        yield made


def post(provider, body, path="images/generations", **headers):
    headers = {"Authorization": f"Bearer {provider.key}", **headers}
    return httpx.post(f"{provider.openai_url}/{path}", json=body, headers=headers, timeout=30)


def until_said(found, wanted):
    """The ledger says so in the end: an answer is counted once it is sent, which its client may see before."""
    deadline = time.monotonic() + 30
    while found() != wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found() == wanted


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_the_official_client_gets_pictures_as_bytes(client, provider):
    answer = client.images.generate(**LADY, size="512x768", n=2, output_format="webp", user="u1")
    pictures = [base64.b64decode(one.b64_json) for one in answer.data]
    assert [opened(content).size for content in pictures] == [(512, 768)] * 2
    assert opened(pictures[0]).format == "WEBP"
    assert pictures[0] != pictures[1]
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    wanted = [(2, "u1", "delivered", 1)]
    until_said(lambda: [(one.images, one.user, one.outcome, one.deliveries) for one in provider.paid], wanted)


def test_the_official_client_gets_pictures_by_address(client):
    answer = client.images.generate(model="dall-e-2", prompt="a cat", size="256x256", response_format="url")
    assert opened(httpx.get(answer.data[0].url).content).size == (256, 256)


def test_the_same_prompt_asked_again_is_another_picture_and_the_same_in_another_simulator():
    def made(count):
        with Simulator(seed=3) as provider:
            return [post(provider, LADY).json()["data"][0]["b64_json"] for _ in range(count)]

    first, again = made(2), made(2)
    assert first == again
    assert first[0] != first[1]


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"sized": "1024x1024"}, 400, "unknown_parameter", "sized"),
        ({"n": "2"}, 400, "invalid_type", "n"),
        ({"n": 11}, 400, "integer_above_max_value", "n"),
        ({"size": "500x500"}, 400, "invalid_value", "size"),
        ({"model": "gpt-image-1", "size": "512x512"}, 400, "invalid_value", "size"),
        ({"model": "dall-e-3", "n": 2}, 400, "integer_above_max_value", "n"),
        ({"model": "dall-e-3", "background": "auto"}, 400, "unknown_parameter", "background"),
        ({"response_format": "url"}, 400, "unknown_parameter", "response_format"),
        ({"quality": "hd"}, 400, "invalid_value", "quality"),
        ({"prompt": ""}, 400, "empty_string", "prompt"),
        ({"prompt": "x" * 32001}, 400, "string_above_max_length", "prompt"),
        ({"model": "no-such-model"}, 404, "model_not_found", "model"),
    ],
)
def test_what_is_not_documented_is_refused_in_the_providers_words(provider, change, status, code, param):
    answer = post(provider, LADY | change)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert not provider.ledger.entries


def test_a_missing_prompt_is_named_and_a_wrong_key_refused(client, provider):
    assert post(provider, {"model": "gpt-image-2"}).json()["error"]["param"] == "prompt"
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        client.with_options(api_key="wrong").images.generate(**LADY)


def test_a_repeat_with_the_same_idempotency_key_is_paid_once_also_while_the_first_is_in_work():
    with Simulator(latency=0.2) as provider, ThreadPoolExecutor() as pool:
        asked = [pool.submit(post, provider, LADY, **{"Idempotency-Key": "job-7"}) for _ in range(3)]
        answers = {one.result().text for one in asked}
        assert len(answers) == 1, "the first one's second, too"
        until_said(
            lambda: [(one.idempotency_key, one.repeats, one.deliveries) for one in provider.paid], [("job-7", 2, 3)]
        )
        other = post(provider, LADY | {"n": 2}, **{"Idempotency-Key": "job-7"})
        assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.HALF_BODY, FaultKind.HANG])
def test_an_answer_that_was_lost_was_paid_and_the_key_brings_it_back(provider, kind):
    provider.faults.add(Fault(kind))
    patience_seconds = 1 if kind is FaultKind.HANG else 30  # what is cut off is so once the picture is made
    with pytest.raises(httpx.TransportError), httpx.Client(timeout=patience_seconds) as http:
        http.post(f"{provider.openai_url}/images/generations", json=LADY,
                  headers={"Authorization": f"Bearer {provider.key}", "Idempotency-Key": "k"})  # fmt: skip
    assert post(provider, LADY, **{"Idempotency-Key": "k"}).status_code == 200
    wanted = [(True, "delivered", [kind.value])]
    until_said(lambda: [(entry.paid, entry.outcome, entry.faults) for entry in provider.ledger.entries], wanted)


def test_limits_errors_and_refusals_cost_nothing_and_say_what_the_client_expects(client, provider):
    provider.faults.add(
        Fault(FaultKind.RATE_LIMITED, retry_after_seconds=7),
        Fault(FaultKind.RATE_LIMITED_BARE),
        Fault(FaultKind.SERVER_ERROR),
        Fault(FaultKind.REFUSED),
    )
    with pytest.raises(openai.RateLimitError) as limited:
        client.images.generate(**LADY)
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.RateLimitError) as limited:
        client.images.generate(**LADY)
    assert "retry-after" not in limited.value.response.headers
    with pytest.raises(openai.InternalServerError):
        client.images.generate(**LADY)
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(**LADY)
    assert refused.value.code == "content_policy_violation"
    assert not provider.paid
    assert [entry.outcome for entry in provider.ledger.entries] == ["failed", "failed", "failed", "refused"]


def test_answers_that_are_no_pictures(provider):
    for kind in (FaultKind.NOT_AN_IMAGE, FaultKind.TEN_TIMES, FaultKind.WRONG_TYPE):
        provider.faults.add(Fault(kind))
    not_one, huge, page = (post(provider, LADY | {"size": "512x512"}) for _ in range(3))
    with pytest.raises(Image.UnidentifiedImageError):
        opened(base64.b64decode(not_one.json()["data"][0]["b64_json"]))
    assert opened(base64.b64decode(huge.json()["data"][0]["b64_json"])).size == (1620, 1620)
    assert page.headers["content-type"].startswith("text/html")
    assert [entry.outcome for entry in provider.paid] == ["undelivered"] * 3


def test_the_official_client_reads_a_stream_with_its_usage(client, provider):
    provider.say("three words here and more")
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == "three words here and more"
    assert chunks[-1].usage.completion_tokens == 7
    assert provider.paid[0].cost_usd > 0


def test_a_schema_is_answered_with_a_value_that_fits_it(client, provider):
    schema = {
        "type": "object",
        "properties": {
            "people": {"type": "array", "items": {"$ref": "#/$defs/person"}, "minItems": 2},
            "mood": {"enum": ["calm", "wild"]},
        },
        "required": ["people", "mood"],
        "additionalProperties": False,
        "$defs": {
            "person": {"type": "object", "properties": {"age": {"type": "integer", "minimum": 18}}, "required": ["age"]}
        },
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "scene", "schema": schema, "strict": True}}
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "who?"}], "response_format": wanted}
    answer = client.chat.completions.create(**asked)
    assert json.loads(answer.choices[0].message.content) == {"people": [{"age": 18}] * 2, "mood": "calm"}
    provider.faults.add(Fault(FaultKind.BAD_JSON))
    with pytest.raises(json.JSONDecodeError):
        json.loads(client.chat.completions.create(**asked).choices[0].message.content)


def test_chat_refuses_what_it_does_not_know(client):
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
    for change, param in [
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"temperature": 3}, "temperature"),
        ({"extra_body": {"temprature": 1}}, "temprature"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"messages": [{"role": "user", "content": "字" * 130_000}]}, "messages"),
    ]:
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(**asked | change)
        assert refused.value.param in (param, param.replace(".0.", "....."))
