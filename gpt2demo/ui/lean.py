"""What a browser has to know of the page before it can show it, and nothing that only makes it slower."""

from typing import Any

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
