"""The model card says what was measured, chooses no licence, and shows texts from anywhere as they are."""

import dataclasses

import pytest
import yaml
from huggingface_hub import ModelCard

from gpt2demo.hub.card import CardFacts, CurvePoint, format_notice, inline, model_card
from gpt2demo.model.config import GPT2Config

CONFIG = GPT2Config(vocab_size=65, n_positions=64, n_embd=32, n_layer=2, n_head=2)
FACTS = CardFacts(
    title="Sea stories",
    config=CONFIG,
    tokenizer="char",
    step=600,
    created=1_700_000_000.0,
    command="python -m gpt2demo train --text sea.txt --out sea",
    documents=("sea.txt", "moon.txt"),
    characters=12_345,
    tokens=12_346,
    curve=tuple(
        CurvePoint(step=s, tokens=s * 768, train_loss=4 - s / 1000, val_loss=4.1 - s / 1000)
        for s in range(0, 601, 20)
    ),
    final_val_loss=1.23456,
    final_val_tokens=1_235,
    seconds=61.4,
    optimizer="muon",
    sample="The sea ```was``` <b>still</b>.",
)


def test_the_card_says_what_was_measured():
    card = model_card(FACTS)
    for part in (
        *("# Sea stories", "after 600 training steps", "| layers | 2 |", "| vocabulary | 65 characters |"),
        *(
            "sea\\.txt, moon\\.txt: 12,345 characters, 12,346 tokens",
            "python -m gpt2demo train --text sea.txt",
        ),
        *(
            "**1.2346** nats per token, over 1,235 held-out tokens",
            "2023-11-14",
            "61 seconds",
            "optimiser muon",
        ),
        *("AutoModelForCausalLM", "Trained with gpt2demo.", "````\nThe sea ```was``` <b>still</b>.\n````"),
    ):
        assert part in card, part


def test_the_curve_is_a_short_table_of_measured_points():
    rows = [line for line in model_card(FACTS).splitlines() if line.startswith("| ") and line.count("|") == 5]
    points = [tuple(cell.strip() for cell in row.split("|")[1:-1]) for row in rows[1:]]
    assert len(points) == 12 and points[0][0] == "0" and points[-1][0] == "600"
    known = {
        (f"{p.step:,}", f"{p.tokens:,}", f"{p.train_loss:.4f}", f"{p.val_loss:.4f}") for p in FACTS.curve
    }
    assert set(points) <= known
    for many in (1, 2, 12):
        card = model_card(dataclasses.replace(FACTS, curve=FACTS.curve[:many]))
        assert sum(line.startswith("| ") and line.count("|") == 5 for line in card.splitlines()) == many + 1


def test_the_front_matter_is_what_the_hub_reads_and_names_no_licence():
    card = ModelCard(model_card(FACTS))
    assert card.data.library_name == "transformers" and "gpt2" in card.data.tags
    assert card.data.license is None and "not chosen one yet" in card.text


def test_a_model_that_gpt2s_format_cannot_express_says_so():
    config = dataclasses.replace(CONFIG, norm="post", n_experts=2)
    card = ModelCard(model_card(dataclasses.replace(FACTS, config=config)))
    assert card.data.library_name is None and card.data.tags == ["gpt2demo"]
    assert "`transformers` refuses it" in card.text and "from_pretrained" not in card.text
    assert "| norm | post |" in card.text and "| n\\_experts | 2 |" in card.text
    assert "(norm = post, n_experts = 2)" in format_notice(config)
    assert format_notice(CONFIG) is None


def test_a_model_without_a_text_says_that():
    bare = CardFacts(title="x", config=CONFIG, tokenizer="bpe", step=0, created=0.0, command="python")
    card = model_card(bare)
    assert "trained elsewhere" in card and "| step |" not in card and "Result" not in card


@pytest.mark.parametrize(
    "evil",
    [
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "![x](http://evil.example/x.png)",
        "a\n---\nlicense: mit\n---\n# b",
        "`code` **bold** | cell | <!-- ",
        "a\x00b\x1b[31m\u202ec",
        "https://evil.example",
    ],
)
def test_names_from_anywhere_stay_plain_text(evil):
    card = model_card(dataclasses.replace(FACTS, title=evil, documents=(evil,)))
    assert yaml.safe_load(card.split("---")[1]) == yaml.safe_load(model_card(FACTS).split("---")[1])
    outside = card.replace("**1", "").replace("`", "")
    for mark in ("<img", "](", "<!--", "\x00", "\x1b", "\u202e", "**bold", "https:"):
        assert mark not in outside.replace("license: mit", ""), mark
    assert len([line for line in card.splitlines() if line == "---"]) == 2


def test_a_long_name_is_cut():
    assert len(inline("x" * 500)) == 100 and inline("x" * 500).endswith("…")


def test_a_frame_cannot_be_closed_from_inside():
    card = model_card(dataclasses.replace(FACTS, command="a\n```\n# evil\n````", sample="x"))
    assert "\n`````\na\n```\n# evil\n````\n`````\n" in card


def test_impossible_facts_are_a_mistake_of_ours():
    with pytest.raises(ValueError):
        dataclasses.replace(FACTS, step=-1)
