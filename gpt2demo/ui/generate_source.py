"""Says which model wrote a text, and at which step of its training."""

from gpt2demo.runs.models import LoadedModel, ModelRef
from gpt2demo.training.folder import AT_WORK
from gpt2demo.ui.page import Page
from gpt2demo.ui.text import generate as words


def source_sentence(page: Page, ref: str, loaded: LoadedModel) -> str:
    """ "Written by Tales: step 300 of 2,000, still training, its newest saved weights." """
    wanted = ModelRef.parse(ref)
    about = page.services.models.describe(wanted)
    training = about.state in AT_WORK
    planned = None
    if training and wanted.run_id is not None:
        planned = page.services.store.summary(wanted.run_id).steps_planned
    newest = wanted.step is None
    return words.made_by(about.title, loaded.step, newest=newest, planned=planned, training=training)
