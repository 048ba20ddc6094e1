"""The Train tab's handlers, called as the page and as a stranger's program would call them."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import gradio as gr
import pytest
import torch

from gpt2demo.errors import ConfigError, LimitError, TextError, UserError
from gpt2demo.model.config import preset
from gpt2demo.runs.manager import RunManager
from gpt2demo.runs.models import ModelRef
from gpt2demo.text.samples import SampleText
from gpt2demo.training import estimate as trials
from gpt2demo.training.estimate import Pace
from gpt2demo.training.folder import RunFolder
from gpt2demo.training.plan import command_for
from gpt2demo.ui.components import run_value
from gpt2demo.ui.guard import guarded
from gpt2demo.ui.text import train as words
from gpt2demo.ui.train_form import FIELDS, Form, shape
from gpt2demo.ui.train_report import duration, estimate, first_lines, model_report, rounded, text_report
from gpt2demo.ui.train_tab import TrainTab
from tests.ui.little_runs import ME, SOMEBODY, blocks, make_page, make_services, said

STORY = (
    "".join(f"The cat {verb} the {thing}.\n" for verb in ("saw", "ate", "met") for thing in "abcdefgh") * 8
)


@contextmanager
def built(folder: Path) -> Iterator[TrainTab]:
    """The tab on a real store, whose workers leave at once; nobody looks after the queue or tries speeds."""
    file = folder / "story.txt"
    file.write_text(STORY, encoding="utf-8")
    sample = SampleText(key="story", title="A story", about="Of a cat.", files=(file,))
    services = make_services(folder)
    manager = RunManager(services.store, command=lambda run: [sys.executable, "-S", "-c", ""])
    at_once = mock.patch.object(trials, "try_out", return_value=Pace(step=0.01, look=0.01, measured=True))
    with blocks():
        tab = TrainTab(make_page(replace(services, manager=manager, samples=(sample,))))
    with at_once:
        yield tab
    manager.close()


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[TrainTab]:
    with built(tmp_path) as tab:
        yield tab


@pytest.fixture(scope="module")
def same_tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainTab]:
    """One tab for all tests after which it is as it was before."""
    with built(tmp_path_factory.mktemp("tab")) as tab:
        yield tab


def values(**changes: Any) -> tuple[Any, ...]:
    """What the page sends, in the order of the controls."""
    form = Form(**{"source": "sample", "sample": "story", "size": "pico", "context": 16, "seed": 1} | changes)
    return tuple(getattr(form, name) for name in FIELDS)


def told(work: Any, *arguments: Any, **named: Any) -> str:
    """The sentence that a handler's refusal becomes on the page."""
    with pytest.raises(gr.Error) as refused:
        work(*arguments, **named)
    assert "fault" not in str(refused.value)
    return str(refused.value)


def test_controls_stand_in_the_order_of_the_form(same_tab: TrainTab) -> None:
    controls = same_tab.form_part.form.controls
    assert len(controls) == len(FIELDS)
    form = same_tab.form_part.form
    layouts = (form, form.variants, form.learning)
    by_name = [next(getattr(part, name) for part in layouts if hasattr(part, name)) for name in FIELDS]
    assert controls == by_name


# -- the text ------------------------------------------------------------------------------------------------


def test_a_sample_is_reported_honestly(same_tab: TrainTab) -> None:
    planned = same_tab.form_part.planner.plan(Form.of(values()))
    report = text_report(planned)
    assert f"{len(STORY):,}" in report and "of 1 document" in report
    assert "learn the text by heart" in report
    strip = first_lines(planned).splitlines()
    assert json.loads(strip[1])["t"] == "T" and json.loads(strip[4])["t"] == "·"


def test_looking_answers_every_part_of_the_form(same_tab: TrainTab) -> None:
    report, strip, encoding, model, time = same_tab.form_part.look(*values())
    assert "vocabulary" in report and strip.count("\n") > 20 and not encoding["visible"]
    assert words.PARAMETERS in model
    assert words.TRYING in time


def test_the_controls_are_set_as_gpt2_is_built(same_tab: TrainTab) -> None:
    form = same_tab.form_part.form
    as_built = dict(zip(FIELDS, (part.value for part in form.controls), strict=True)) | {"sample": "story"}
    plain = shape(Form(**as_built), 50)
    assert plain == preset("nano", vocab_size=50) and plain.variants == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": "lstm"}, "LSTM"),
        ({"norm": "post"}, "post-LN"),
        ({"activation": "relu"}, "ReLU"),
        ({"positions": "rotary"}, "rotary"),
        ({"attention": "local", "attention_window": 4.0}, "local, 4 tokens"),
        ({"attention": "global_local", "global_tokens": 3}, "the first 3"),
        ({"n_experts": 4, "experts_per_token": 2}, "4 experts, 2 per"),
        ({"parts": ["tie_word_embeddings"]}, "no biases"),
        ({"parts": ["bias", "lm_head_bias"]}, "bias on the scores"),
        ({"init": "xavier"}, "Xavier"),
        ({"n_inner": 100}, "100 wide MLP"),
        ({"n_head": 1}, "n_head 1"),
    ],
)
def test_each_variant_of_the_form_is_the_models(
    same_tab: TrainTab, changes: dict[str, Any], told: str
) -> None:
    planned = same_tab.form_part.planner.plan(Form.of(values(**changes)))
    wanted = {name: value for name, value in changes.items() if name != "parts"}
    assert wanted.items() <= vars(planned.run.model).items()
    assert told in planned.run.title  # so that runs laid over each other can be told apart


def test_sizes_of_zero_are_the_sizes_own(same_tab: TrainTab) -> None:
    model = shape(Form(size="nano", n_layer=0, n_head=1.0, n_embd=0, n_inner=0), 50)
    assert (model.n_layer, model.n_head, model.n_embd, model.n_inner) == (4, 1, 128, None)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"n_head": 7}, "nearest value that works is n_head = 8"),
        ({"norm": "middle"}, "norm"),
        ({"n_experts": 99}, "n_experts"),
        ({"experts_per_token": 2}, "experts_per_token"),
        ({"parts": ["wings"]}, "lm_head_bias"),
        ({"parts": "bias"}, "parts of the model"),
        ({"n_layer": float("nan")}, "n_layer"),
        ({"batches": ["packed"]}, "batches"),
        ({"precision": "fp8"}, "precision"),
        ({"decay": "sometimes"}, "decay"),
        ({"decay": ["linear"]}, "decay"),
        ({"warmup": 2}, "warmup"),
        ({"accumulation": "0"}, "accumulation"),
        ({"accumulation": "1.5"}, "accumulation"),
        ({"warmup": "much"}, "warmup"),
        ({"warmup": "nan"}, "warmup"),
        ({"patience": -1}, "patience"),
        ({"evaluate_every": "often"}, "evaluate_every"),
        ({"gradient_clip": float("nan")}, "gradient_clip"),
        ({"knobs": ["faster"]}, "gradient_checkpointing"),
        ({"knobs": 7}, "knobs"),
        ({"begin": "end"}, "beginning"),
        ({"begin": "hand", "hand": "nobody"}, "no model called"),
    ],
)
def test_what_no_model_can_be_is_refused_in_place(
    same_tab: TrainTab, changes: dict[str, Any], sentence: str
) -> None:
    report, *_ = same_tab.form_part.look(*values(**changes))
    assert sentence in report and "gd-stats" not in report


def test_fp16_is_refused_where_there_is_no_gpu(same_tab: TrainTab) -> None:
    with mock.patch("torch.cuda.is_available", return_value=False):
        report, *_ = same_tab.form_part.look(*values(precision="fp16"))
    assert "no GPU" in report


def test_the_knobs_change_what_the_run_needs(same_tab: TrainTab) -> None:
    plan = same_tab.form_part.planner.plan
    plain, half = (
        plan(Form.of(values(precision=bits, size="mini", context=64, batch=64))) for bits in ("fp32", "bf16")
    )
    less = plan(Form.of(values(knobs=["gradient_checkpointing"], size="mini", context=64, batch=64)))
    more = plan(Form.of(values(knobs=["quantization_aware"], size="mini", context=64, batch=64)))
    assert half.run.training.precision == "bf16" and half.memory < plain.memory
    assert less.run.training.gradient_checkpointing and not less.run.training.quantization_aware
    assert more.run.training.quantization_aware and less.memory < more.memory / 2


def test_an_empty_field_is_the_recipes(same_tab: TrainTab) -> None:
    plan = same_tab.form_part.planner.plan
    usual = plan(Form.of(values())).run.training
    assert (usual.decay, usual.warmup, usual.weight_decay, usual.accumulation) == ("linear", 0.03, 0.1, 1)
    chosen = plan(
        Form.of(
            values(
                optimizer="adam", decay="wsd", warmup="0.2", final_learning_rate=" .5 ", weight_decay="",
                gradient_clip="2", accumulation="3.0", evaluate_every="5", patience=2, batch=2,
                budget="steps", steps=50,
            )
        )
    )  # fmt: skip
    config = chosen.run.training
    assert (config.decay, config.warmup, config.final_learning_rate) == ("wsd", 0.2, 0.5)
    assert (config.gradient_clip, config.evaluate_every, config.patience) == (2, 5, 2)
    told = estimate(chosen, Pace(step=0.01, look=0.01, measured=True), 0)
    assert "Adam, highest" in told and "reads 6 passages" in told and "3 batches per step" in told
    assert "falling at the end" in told and "after 2 looks" in told
    command = command_for(chosen.run, "again")
    for option in ("--decay wsd", "--accumulation 3", "--patience 2", "--evaluate-every 5", "--warmup 0.2"):
        assert option in command


def test_padded_batches_are_reported_and_trained(same_tab: TrainTab) -> None:
    paragraphs = "\n\n".join([STORY.replace("\n\n", "\n")[:300]] * 30)
    form = Form.of(values(source="paste", pasted=paragraphs, batches="padded", budget="epochs", epochs=2))
    planned = same_tab.form_part.planner.plan(form)
    assert planned.run.training.batches == "padded" and planned.report.train_rows
    config = planned.run.training
    assert planned.report.epochs(config.steps, config.batch_size, config.length) == pytest.approx(2, rel=0.2)


def test_a_model_in_hand_goes_on_learning(same_tab: TrainTab) -> None:
    planner = same_tab.form_part.planner
    loaded = planner.models.get(ModelRef.parse("starter"))
    text = loaded.tokenizer.decode(list(range(loaded.tokenizer.vocab_size))) * 20
    form = Form.of(values(source="paste", pasted=text, begin="hand", hand="starter", context=8, size="gpt2"))
    planned = planner.plan(form)
    assert planned.run.model == replace(loaded.config, dropout=planned.run.model.dropout)
    assert planned.run.start is not None and planned.run.start.model is loaded.model
    assert planned.run.training.length == 8 and "from Starter" in planned.run.title
    report, _, _, model, _ = same_tab.form_part.look(
        *values(source="paste", pasted=text, begin="hand", hand="starter", context=8)
    )
    assert "It goes on from Starter" in model
    folder = RunFolder.create(same_tab.page.services.store.root / "fine", planned.run)
    first = folder.first_model(seed=5).state_dict()
    assert all(torch.equal(first[name], tensor) for name, tensor in loaded.model.state_dict().items())
    assert folder.facts().started_from.startswith("Starter, step")
    assert "--from starter" in folder.facts().command and "--preset" not in folder.facts().command


def test_a_prompt_that_the_model_could_not_read_is_refused_while_it_is_typed(same_tab: TrainTab) -> None:
    report, *_ = same_tab.form_part.look(*values(prompt="Ünder"))
    assert "Ü" in report and "gd-stats" not in report


def test_uploads_are_read_at_once(same_tab: TrainTab, tmp_path: Path) -> None:
    paths = []
    for name in ("one.txt", "two.md"):
        path = tmp_path / name
        path.write_text(STORY, encoding="utf-8")
        paths.append(str(path))
    form = Form.of(values(source="upload", files=paths))
    planned = same_tab.form_part.planner.plan(form)
    assert [document.name for document in planned.run.corpus.documents] == ["one.txt", "two.md"]
    for path in paths:
        Path(path).unlink()
    assert same_tab.form_part.planner.plan(form).run.corpus is planned.run.corpus


def test_a_wrong_encoding_is_asked_about(same_tab: TrainTab, tmp_path: Path) -> None:
    path = tmp_path / "umlaut.txt"
    path.write_bytes(("Die Bäume grünen schön, süß wie Äpfel.\n" * 60).encode("cp1252"))
    report, strip, encoding, _, _ = same_tab.form_part.look(*values(source="upload", files=[str(path)]))
    assert "is not UTF-8" in report and "windows-1252" in report and strip == ""
    assert encoding["visible"] and encoding["choices"][0] == (f"windows-1252 ({words.GUESS})", "cp1252")
    report, strip, encoding, _, _ = same_tab.form_part.look(
        *values(source="upload", files=[str(path)], encoding="cp1252")
    )
    assert "It was read as cp1252" in report and "\\u00e4" in strip and encoding["visible"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (bytes(range(256)) * 40, "is not text"),
        (b"%PDF-1.7 ...", "is a PDF"),
        (b"x" * (13 * 2**20), "13.0 MB"),
        (b"too short", "it needs at least 34"),
    ],
)
def test_bad_files_get_a_sentence_and_start_nothing(
    same_tab: TrainTab, tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    form = values(source="upload", files=[str(path)])
    assert sentence in same_tab.form_part.look(*form)[0]
    assert sentence in told(same_tab.start, ME, "click", *form)
    assert same_tab.page.services.store.list(ME) == []


def test_an_empty_form_is_no_mistake_until_start(same_tab: TrainTab) -> None:
    for empty in ({"source": "upload"}, {"source": "paste", "pasted": " \n"}):
        assert "gd-notice-info" in same_tab.form_part.look(*values(**empty))[0]
        assert words.NO_TEXT[0] in told(same_tab.start, ME, "click", *values(**empty))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"source": "elsewhere"}, ConfigError),
        ({"source": None}, ConfigError),
        ({"sample": "novel"}, ConfigError),
        ({"sample": ["story"]}, ConfigError),
        ({"source": "upload", "files": 7}, TextError),
        ({"source": "upload", "files": ["/nowhere/at/all.txt"]}, TextError),
        ({"source": "paste", "pasted": {"a": 1}}, TextError),
        ({"tokenizer": "syllable"}, ConfigError),
        ({"tokenizer": ["char"]}, ConfigError),
        ({"tokenizer": "bpe", "vocabulary": 10**9}, LimitError),
        ({"tokenizer": "bpe", "vocabulary": None}, LimitError),
        ({"size": "giga"}, ConfigError),
        ({"size": {}}, ConfigError),
        ({"context": -1}, LimitError),
        ({"context": "many"}, LimitError),
        ({"context": 16.5}, LimitError),
        ({"dropout": 2}, LimitError),
        ({"budget": "money"}, ConfigError),
        ({"minutes": None}, LimitError),
        ({"minutes": 1e9}, LimitError),
        ({"budget": "steps", "steps": 0}, LimitError),
        ({"budget": "steps", "steps": "NaN"}, LimitError),
        ({"budget": "epochs", "epochs": float("nan")}, LimitError),
        ({"optimizer": "sgd"}, ConfigError),
        ({"optimizer": ["muon"]}, ConfigError),
        ({"batch": 0}, LimitError),
        ({"batch": 10**6}, LimitError),
        ({"rate": -1}, LimitError),
        ({"seed": -1}, LimitError),
        ({"prompt": 7}, ConfigError),
        ({"prompt": "x" * 5_000}, LimitError),
        ({"title": "x" * 500}, LimitError),
    ],
)
def test_whatever_a_stranger_sends_gets_a_sentence(
    same_tab: TrainTab, wrong: dict[str, Any], error: type[UserError]
) -> None:
    with pytest.raises(gr.Error) as refused:
        same_tab.start(ME, "click", *values(**wrong))
    assert isinstance(refused.value.__cause__, error)
    assert same_tab.page.services.store.list(ME) == []
    same_tab.form_part.look(*values(**wrong))
    same_tab.form_part.measure(*values(**wrong))


# -- model and time ------------------------------------------------------------------------------------------


def test_big_models_come_with_a_warning(same_tab: TrainTab) -> None:
    planned = same_tab.form_part.planner.plan(Form.of(values(size="gpt2", batch=1)))
    assert "graphics cards" not in model_report(planned, 10**12)  # 85 million in blocks, a tiny vocabulary
    planned = same_tab.form_part.planner.plan(Form.of(values(size="gpt2-medium", batch=1)))
    report = model_report(planned, 10**9)
    assert "graphics cards" in report and "too much here" in report


def test_the_estimate_says_steps_epochs_and_when_overfitting_begins(same_tab: TrainTab) -> None:
    planned = same_tab.form_part.planner.plan(Form.of(values(minutes=1.0)))
    words_ = estimate(planned, Pace(step=0.01, look=0.0, measured=True), 0)
    assert "In 1 minute about 6,000 steps" in words_ and "times through the text" in words_
    assert "overfitting" in words_ and "Measured" in words_
    planned = same_tab.form_part.planner.plan(Form.of(values(budget="epochs", epochs=2)))
    tokens = planned.report.train_tokens
    assert planned.run.training.steps == round(2 * tokens / (12 * 16))
    words_ = estimate(planned, Pace(step=0.01, look=0.0, measured=False), 2)
    assert "2.0 times through the text" in words_ and "rough" in words_ and "2 runs come before" in words_


def test_a_budget_that_buys_nothing_says_so(same_tab: TrainTab) -> None:
    planned = same_tab.form_part.planner.plan(Form.of(values(minutes=2.0)))
    assert "2 minutes are too short" in estimate(planned, Pace(step=700.0, look=1.0, measured=False), 0)
    planned = same_tab.form_part.planner.plan(Form.of(values(budget="steps", steps=1)))
    assert "1 step takes about 12 minutes" in estimate(planned, Pace(step=700.0, look=1.0, measured=False), 0)


def test_nothing_is_tried_out_while_somebody_trains(tab: TrainTab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = tab.form_part.estimator.pace

    def pace(*arguments: Any, measure: bool = True) -> Pace:
        asked.append(measure)
        return real(*arguments, measure=False)

    monkeypatch.setattr(tab.form_part.estimator, "pace", pace)
    assert "Reckoned" in tab.form_part.measure(*values())
    tab.start(ME, "click", *values())
    assert "Another run is training now; yours begins in about 2.1 minutes" in tab.form_part.measure(
        *values()
    )
    assert asked == [True, False]


def test_numbers_are_written_as_people_say_them() -> None:
    assert [rounded(n) for n in (7, 94, 947, 12_345)] == ["7", "94", "950", "12,000"]
    assert [duration(s) for s in (0.5, 1, 30, 120, 90_000, 10**7)] == [
        "0.5 seconds",
        "1 second",
        "30 seconds",
        "2 minutes",
        "25 hours",
        "116 days",
    ]


# -- start and the run in hand -------------------------------------------------------------------------------


def test_two_clicks_on_start_are_one_run(tab: TrainTab) -> None:
    ref, view = tab.start(ME, "click-1", *values(title="Mine"))
    again, _ = tab.start(ME, "click-1", *values(title="Mine"))
    assert ref == again and json.loads(view)["run"] == ref.removeprefix("run:")
    (run,) = tab.page.services.store.list(ME)
    assert run.title == "Mine" and run.preset == "pico"
    assert run.state in ("waiting", "starting")


def test_a_run_is_named_by_its_text_and_size(tab: TrainTab) -> None:
    tab.start(ME, "click", *values())
    assert tab.page.services.store.list(ME)[0].title == "A story, pico, Muon"


def test_start_needs_an_owner_and_a_click(same_tab: TrainTab) -> None:
    assert "whose run" in told(same_tab.start, "", "click", *values())
    assert "which click" in told(same_tab.start, ME, None, *values())


def test_polling_answers_for_the_starter_and_tells_strangers_what_is_missing(same_tab: TrainTab) -> None:
    poll = same_tab.live_part.live.poll
    answer = poll(["starter", -1])
    assert answer["run"] == "starter" and [row[0] for row in answer["steps"]] == [0, 10, 30]
    assert answer["status"]["state"] == "done"
    assert [row[0] for row in poll(["starter", 0])["steps"]] == [10, 30]
    for nonsense in (
        None,
        "starter",
        [],
        ["starter"],
        [None, None],
        ["starter", "x"],
        ["../..", 0],
        [{}, -1],
    ):
        answer = poll(nonsense)
        assert answer["status"]["state"] == "failed" and answer["status"]["message"]
        assert answer["steps"] == [] and isinstance(answer["run"], str)


def test_the_starter_is_shown_to_whoever_comes(same_tab: TrainTab) -> None:
    whose, actions, view, heads, note, chosen, news = same_tab.tab().refresh("", "starter", "", [])
    assert "starter model was trained" in whose and "data-run" not in whose
    assert not actions["visible"] and json.loads(view)["run"] == "starter"
    picture = json.loads(heads)
    assert (picture["L"], picture["H"], picture["T"]) == (2, 2, 16)
    assert "At step 30" in note and chosen["value"] == ["starter"] and news == ""


def test_only_the_owner_gets_buttons(tab: TrainTab) -> None:
    ref, _ = tab.start(ME, "click", *values())
    whose, actions, *_ = tab.tab().refresh(ME, ref, "", ["starter"])
    assert actions["visible"] and ref.removeprefix("run:") in whose
    whose, actions, _, heads, note, *_ = tab.tab().refresh(SOMEBODY, ref, "", [])
    assert not actions["visible"] and "somebody else" in whose
    assert heads == "" and "no weights yet" in note
    live = tab.live_part
    for work in (live.pause, live.resume, live.slower, live.stop):
        assert "not yours" in told(work, SOMEBODY, ref)
        assert "starter" in told(work, ME, "starter")


def test_pause_resume_and_stop_say_what_is_kept(tab: TrainTab) -> None:
    ref, _ = tab.start(ME, "click", *values())
    assert words.PAUSING in tab.live_part.pause(ME, ref)[0]
    news, view = tab.live_part.resume(ME, ref)
    assert words.RESUMING in news and json.loads(view)["run"] == ref.removeprefix("run:")
    assert words.STOPPING in tab.live_part.stop(ME, ref)[0]
    assert f"?{ref.replace(':', '=')}" in tab.live_part.link(ref)


def test_a_run_that_diverged_goes_on_slower(tab: TrainTab) -> None:
    ref, _ = tab.start(ME, "click", *values())
    run = ref.removeprefix("run:")
    tab.live_part.stop(ME, ref)
    store = tab.page.services.store
    for _ in range(100):  # its worker has left at once
        tab.page.services.manager.tick()
        if store.entry(run).place is None:
            break
        time.sleep(0.05)
    assert "did not diverge" in told(tab.live_part.slower, ME, ref)
    store.folder(run).journal().tell(state="failed", diverged_at=3)
    assert tab.live_part.live.poll([run, -1])["status"]["diverged_at"] == 3
    assert "not yours" in told(tab.api.resume_training_slower, run, SOMEBODY)
    news, view = tab.live_part.slower(ME, ref)
    assert words.SLOWER_NOTE in news and json.loads(view)["run"] == run
    assert tab.live_part.live.poll([run, -1])["status"]["slower"] == [0]


def test_the_probe_sentence_is_cut_to_what_can_be_read(same_tab: TrainTab) -> None:
    heads, note = same_tab.live_part.picture("starter", "the cat")
    assert json.loads(heads)["tokens"] == ["t", "h", "e", "·", "c", "a", "t"]
    heads, note = same_tab.live_part.picture("starter", "the cat sat on the mat. " * 50)
    assert json.loads(heads)["T"] == 16
    heads, note = same_tab.live_part.picture("starter", "¿qué?")
    assert heads == "" and "does not know" in note


def test_the_picture_follows_the_kept_weights_of_the_run_in_hand_only(same_tab: TrainTab) -> None:
    mine = said(run="starter", step=3)
    assert json.loads(same_tab.live_part.snapshot("starter", "the", mine)[0])["T"] == 3
    unchanged = gr.skip()
    assert same_tab.live_part.snapshot("starter@0", "the", mine) == (unchanged, unchanged)
    other = said(run="another", step=3)
    assert same_tab.live_part.snapshot("starter", "the", other) == (unchanged, unchanged)
    assert same_tab.live_part.live.heads(ModelRef.parse("starter@0"), "the")[1].startswith("<p")


def test_curves_are_laid_over_each_other(tab: TrainTab) -> None:
    figure, table = tab.live_part.compared.compare(["starter"], "tokens")
    assert json.loads(figure)["figure"]["data"] and "Bits per character" in table and "Starter" in table
    ref, _ = tab.start(ME, "click", *values(title="<b>bold"))
    figure, table = tab.live_part.compared.compare(["starter", ref.removeprefix("run:")], "steps")
    assert "&lt;b&gt;bold" in table and "<b>bold" not in figure
    assert tab.live_part.compared.compare([], "steps")[0] == ""
    assert tab.live_part.compared.compare(None, "steps")[0] == ""
    told(tab.live_part.compared.compare, ["../etc"], "steps")
    told(tab.live_part.compared.compare, [None], "steps")
    told(tab.live_part.compared.compare, ["starter"] * 50, "steps")
    told(tab.live_part.compared.compare, ["starter"], "miles")


def test_a_finished_run_says_what_to_do_next(same_tab: TrainTab) -> None:
    done = said(run="starter", state="done")
    news, figure, _ = same_tab.live_part.finished("starter", ["starter"], "steps", done)
    assert words.FINISHED in news and figure
    failed = said(run="starter", state="failed")
    assert same_tab.live_part.finished("starter", ["starter"], "steps", failed)[0] == ""


# -- other programs ------------------------------------------------------------------------------------------


def test_a_program_can_start_watch_and_stop(tab: TrainTab) -> None:
    api = tab.api
    started = api.start_training(STORY, size="pico", minutes=0.5, seed=3)
    run, owner = started["run"], started["owner"]
    assert started["address"] == f"?run={run}"
    assert api.training_progress(run)["run"] == run
    assert "not yours" in told(api.stop_training, run, SOMEBODY)
    assert isinstance(api.stop_training(run, owner), str)
    assert "at least" in told(api.start_training, "too short")
    assert "1,440" in told(api.start_training, STORY, "", "char", 1024, "nano", 1e9)


def test_a_program_asks_for_variants_and_for_fine_tuning(tab: TrainTab) -> None:
    def started(**how: Any) -> RunFolder:
        return tab.page.services.store.folder(
            tab.api.start_training(STORY, size="pico", steps=5, **how)["run"]
        )

    start = tab.api.start_training
    plain = started(variants={"norm": "post", "bias": False, "n_positions": 32})
    assert plain.config().variants == {"norm": "post", "bias": False} and plain.config().n_positions == 32
    text = tab.page.services.models.get(ModelRef.parse("starter")).tokenizer
    letters = text.decode(list(range(text.vocab_size))) * 60
    fine = tab.api.start_training(letters, steps=5, start="starter")["run"]
    assert tab.page.services.store.folder(fine).facts().started_from.startswith("Starter")
    assert "Known are" in told(start, STORY, variants={"wings": 2})
    assert "bias" in told(start, STORY, variants={"bias": "yes"})


def test_the_same_request_of_a_program_is_one_run(tab: TrainTab) -> None:
    first = tab.api.start_training(STORY, size="pico", steps=5, owner=ME, nonce="once")
    assert tab.api.start_training(STORY, size="pico", steps=5, owner=ME, nonce="once") == first


def test_the_command_that_repeats_a_run_names_no_folder_of_this_machine(same_tab: TrainTab) -> None:
    planned = same_tab.form_part.planner.plan(Form.of(values()))
    assert "--text 'A story' --title" in command_for(planned.run, "out")


def test_a_fault_is_not_taken_for_a_mistake() -> None:
    @guarded
    def broken() -> None:
        raise RuntimeError("secret")

    with pytest.raises(gr.Error) as refused:
        broken()
    assert "secret" not in str(refused.value) and run_value("x")
