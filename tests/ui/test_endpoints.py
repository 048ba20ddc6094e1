"""What other programs are offered: endpoints and MCP tools of one name, each with words for everything."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from gradio.utils import get_function_description

from gpt2demo.ui.app import build
from gpt2demo.ui.endpoints import one_line_each
from gpt2demo.ui.page import Services
from tests.ui.little_runs import loops_closed, make_services, one_thread, served

TOOLS = {
    "announce_model", "attention", "delete_model", "export_model", "fetch_model", "find_learning_rate",
    "generate", "models", "neighbours", "pause_training", "precision_cost", "read_text", "rename_model",
    "resume_training", "resume_training_slower", "start_training", "stop_training", "training_progress",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return make_services(tmp_path_factory.mktemp("endpoints"))


def test_every_endpoint_has_one_name_and_words_and_the_pages_own_events_are_none(services: Services) -> None:
    with loops_closed():
        page = build(services)
    offered = [fn for fn in page.fns.values() if fn.api_visibility != "private"]
    assert {fn.api_name for fn in offered} == TOOLS
    for fn in offered:
        assert fn.fn.__name__ == fn.api_name, "a tool is called as its endpoint"
        about, arguments, returned = get_function_description(fn.fn)
        assert about and all(arguments.values()) and len(returned) <= 1, fn.api_name
        assert "self" not in arguments


def test_words_that_take_two_lines_become_one() -> None:
    doc = "Does.\n\nMore\nof it.\n\nArgs:\n    a: one\n        and two.\n    b: 3.\n\nReturns:\n    x\n    y."
    assert one_line_each(doc).splitlines()[5:] == [
        "Args:", "    a: one and two.", "    b: 3.", "", "Returns:", "    x y.",
    ]  # fmt: skip
    assert one_line_each(doc).startswith("Does.\n\nMore\nof it.\n") and one_line_each("") == ""


@pytest.fixture(scope="module")
def address(services: Services) -> Iterator[str]:
    pytest.importorskip("mcp")
    with loops_closed():
        page = build(services)
    with served(page, mcp_server=True) as client:
        yield f"{client.src.rstrip('/')}/gradio_api/mcp/"


def ask(address: str, *calls: tuple[str, dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """→ the tools that a client is shown, and what it gets for its calls"""
    mcp = pytest.importorskip("mcp")
    over_http = pytest.importorskip("mcp.client.streamable_http").streamablehttp_client

    async def talk() -> tuple[list[Any], list[Any]]:
        async with (
            over_http(address) as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            return tools, [await session.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(talk())


@pytest.mark.filterwarnings("ignore")
def test_an_mcp_client_finds_the_tools_writes_and_reads(address: str) -> None:
    tools, (written, found, wrong) = ask(
        address,
        ("generate", {"prompt": "the cat", "max_new_tokens": 9, "beams": 2}),
        ("read_text", {"text": "the cat sat on the mat"}),
        ("generate", {"prompt": "the cat", "temperature": 99}),
    )
    assert {tool.name for tool in tools} == TOOLS
    for tool in tools:
        assert tool.description and all(p["description"] for p in tool.inputSchema["properties"].values())
    (generate,) = [tool for tool in tools if tool.name == "generate"]
    assert generate.inputSchema["properties"]["temperature"]["type"] == "number"
    assert "required" not in generate.inputSchema
    texts, sentence = ast.literal_eval(written.content[0].text)  # gradio writes it as Python does
    assert not written.isError and len(texts) == 2 and "beam search with 2 beams" in sentence
    assert not found.isError and ast.literal_eval(found.content[0].text)["tokens"] == 22
    assert wrong.isError and "temperature is 99" in wrong.content[0].text
