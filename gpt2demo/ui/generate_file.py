"""Texts as a file for other programs: every token with all that is known about it, as strict JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gpt2demo.generation.records import TokenStep
from gpt2demo.text.tokenizers import Tokenizer
from gpt2demo.ui.generate_draft import Draft


def as_json(drafts: Sequence[Draft]) -> str:
    """All texts of a sheet. What JSON has no number for (log-probabilities of cut tokens) is null."""
    return json.dumps(
        {"format": "gpt2demo texts", "version": 1, "texts": [_text(d) for d in drafts]}, allow_nan=False
    )


def _text(draft: Draft) -> dict[str, Any]:
    return {
        "model": draft.ref,
        "step": draft.step,
        "begun_at_step": draft.began_at,
        "made_by": draft.made_by,
        "precision": draft.precision,
        "seed": draft.seed,
        "settings": asdict(draft.rules),
        "branched_at": draft.branched,
        "beam_search": None if draft.found is None else asdict(draft.found),
        "prompt": draft.prompt.text,
        "prompt_ids": draft.prompt.ids,
        "text": draft.text,
        "tokens": [_token(draft.tokenizer, step, i in draft.taken) for i, step in enumerate(draft.steps)],
    }


def _token(tokenizer: Tokenizer, step: TokenStep, taken: bool) -> dict[str, Any]:
    """A TokenStep; `bytes` are its exact bytes in hexadecimal."""
    record = {"bytes": tokenizer.token_bytes(step.id).hex(), "put_there": taken} | asdict(step)
    record["cuts"] = dict(step.cuts)
    del record["likeliest"]
    record["top"] = [{"bytes": tokenizer.token_bytes(one.id).hex()} | one._asdict() for one in step.top]
    return {key: _finite(value) for key, value in record.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
