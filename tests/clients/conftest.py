"""One server for the whole suite, started on a free port in a fresh data directory."""

import openai
import pytest

from appliance import Appliance


@pytest.fixture(scope="session")
def appliance():
    with Appliance() as it:
        it.set_up()
        yield it


@pytest.fixture(scope="session")
def key(appliance):
    return appliance.create_key("model")["secret"]


@pytest.fixture(scope="session")
def client(appliance, key):
    return openai.OpenAI(base_url=f"{appliance.url}/v1", api_key=key, max_retries=0, timeout=120)


@pytest.fixture(scope="session")
def chat_model(appliance):
    return appliance.model_id("chat")


@pytest.fixture(scope="session")
def embedding_model(appliance):
    return appliance.model_id("embedding")


@pytest.fixture(autouse=True)
def server_still_the_same(appliance):
    """After every test the very same process must still be there."""
    pid = appliance.process.pid
    yield
    assert appliance.alive() and appliance.process.pid == pid, appliance.tail()
