"""The one place where errors become messages: a person's mistakes in words, our own with an apology."""

import functools
import inspect
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import gradio as gr

from gpt2demo.errors import UserError
from gpt2demo.ui.escape import esc
from gpt2demo.ui.lean import PageConfig, lean
from gpt2demo.ui.text import common as words

Handler = TypeVar("Handler", bound=Callable[..., Any])
SECONDS = 12  # how long a message stays


def guarded(handler: Handler) -> Handler:
    """Wraps an event handler (a function or a generator) so that whatever it raises is told on the page.

    The form keeps what was filled in, because a raised error leaves every output as it is.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def generator(*values: Any, **named: Any) -> Iterator[Any]:
            with _told(handler.__name__):
                yield from handler(*values, **named)

        return generator  # type: ignore[return-value]

    @functools.wraps(handler)
    def function(*values: Any, **named: Any) -> Any:
        with _told(handler.__name__):
            return handler(*values, **named)

    return function  # type: ignore[return-value]


class GuardedBlocks(gr.Blocks):
    """A page whose controls refuse what they cannot hold in a sentence too.

    The page itself never sends such values, but everybody can call its events without it. Gradio's own
    refusal would print a traceback as if it were our mistake, and what it quotes may be no text at all.
    """

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self.default_config = PageConfig(self)

    def get_config_file(self) -> Any:
        """What a browser gets before it builds the page."""
        config: Any = super().get_config_file()
        lean(config)
        return config

    async def preprocess_data(self, *values: Any, **named: Any) -> Any:
        """Turns what was sent into what the handlers get."""
        try:
            return await super().preprocess_data(*values, **named)
        except Exception as error:
            quoted = error.message if isinstance(error, gr.Error) else type(error).__name__
            quoted = str(quoted).encode("utf-8", "backslashreplace").decode()[:120]
            logging.getLogger(__name__).warning("a control refused what was sent: %s", quoted)
            raise gr.Error(
                esc(" ".join(words.NOT_FOR_THIS_CONTROL), quote=False),
                duration=SECONDS,
                title="That did not work",
                print_exception=False,
            ) from error


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise gr.Error(  # a program that asked reads this too: apostrophes stay what they are
            esc(str(error), quote=False),
            duration=SECONDS,
            title="That did not work",
            print_exception=False,
        ) from error
    except gr.Error:
        raise
    except Exception as error:
        number = secrets.token_hex(3)
        logging.getLogger(__name__).exception("fault %s in %s", number, name)
        raise gr.Error(
            f"A fault in the program, sorry. Nothing of yours is lost. Its number is {number}.",
            duration=SECONDS,
            title="Our mistake",
            print_exception=False,
        ) from error
