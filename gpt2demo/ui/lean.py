"""What a browser has to know of the page before it can show it, and what a server of a visitor: no more."""

from typing import Any

from gradio.blocks import Blocks, BlocksConfig

ENDPOINT_PART = "api"  # a parameter or answer of an endpoint for programs: it is never drawn


def lean(config: dict[str, Any]) -> None:
    """Takes from a page's configuration what costs a browser time and draws nothing, in place.

    A browser goes through the whole layout for every event, and once more for every part on which an event's
    progress would be drawn. So the parameters of endpoints are no part of the layout; and an event that
    draws no progress names one part for it, the first one, instead of all that it changes.
    """
    hidden = {part["id"] for part in config["components"] if part["type"] == ENDPOINT_PART}
    for part in config["components"]:
        if part["id"] in hidden:
            part["props"]["visible"] = False  # else the page waits for it to appear
    _leave_out(config["layout"], hidden)
    remembered = [part["id"] for part in config["components"] if part["type"] == "state"]
    for event in config["dependencies"]:
        if event["show_progress"] == "hidden":
            event["show_progress_on"] = remembered[:1] or None


def _leave_out(layout: dict[str, Any], hidden: set[int]) -> None:
    children = layout.get("children", [])
    children[:] = [child for child in children if child["id"] not in hidden]
    for child in children:
        _leave_out(child, hidden)


class SessionConfig(BlocksConfig):
    """The page as one visitor has it."""

    @staticmethod
    def config_for_block(
        _id: int, rendered_ids: list[int], block: Any, renderable: Any = None
    ) -> dict[str, Any]:
        """Says nothing about how a part looks.

        Gradio describes all parts anew for every visitor, and for every call of a program, in case somebody
        wants a link into that session. This page offers none, and a description of it takes a tenth of a
        second in which the server does nothing else.
        """
        if renderable is None:
            return {}
        return BlocksConfig.config_for_block(_id, rendered_ids, block, renderable)


class PageConfig(BlocksConfig):
    """The page as it is built, from which every visitor gets a copy."""

    def __init__(self, root_block: Blocks) -> None:
        """Takes over what the page has been told so far."""
        super().__init__(root_block)
        vars(self).update(vars(root_block.default_config))

    def __copy__(self) -> BlocksConfig:
        session = SessionConfig(self.root_block)
        vars(session).update(vars(super().__copy__()))  # type: ignore[no-untyped-call]
        return session
