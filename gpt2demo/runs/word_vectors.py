"""Word2vec for everybody who asks: each text is learnt from once, one after the other, and all may watch."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from gpt2demo.errors import BusyError
from gpt2demo.inspection.word2vec import Word2VecConfig, Word2VecStep, train_word2vec
from gpt2demo.runs.models import LoadedModel, ModelStore
from gpt2demo.text.corpus import Corpus, encode_documents
from gpt2demo.text.tokenizers import Tokenizer

KEPT = 8  # texts whose vectors are remembered
MOST_WAITING = 6  # texts that are being learnt from, or wait for it
LOOK_SECONDS = 0.25  # between two looks at a job


@dataclass(kw_only=True)
class _Job:
    """One learning of vectors; only its thread writes into it."""

    step: Word2VecStep | None = None
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


class WordVectors:
    """The vectors of the texts that the models of a server were trained on."""

    def __init__(self, models: ModelStore, config: Word2VecConfig | None = None) -> None:
        self.models = models
        self.config = config or Word2VecConfig()
        self._guard = threading.Lock()
        self._turn = threading.Lock()  # held by the thread that learns: two at once would halve each other
        self._jobs: OrderedDict[tuple[str, str | None], _Job] = OrderedDict()

    def known(self, loaded: LoadedModel) -> Word2VecStep | None:
        """The step with the vectors for the tokens of a model, if they have been learnt."""
        with self._guard:
            job = self._jobs.get(_key(loaded))
        return job.step if job and job.step and job.step.vectors is not None else None

    def learn(self, loaded: LoadedModel) -> Iterator[Word2VecStep | None]:
        """Learns the vectors for a model's tokens from the text that it was trained on, or watches that.

        Yields how far it is, None while others are learning, and at last a step with the vectors. It goes on
        when nobody watches. Raises what learning raises, NotFoundError for a model that came without a text,
        BusyError when too many texts are waiting.
        """
        job = self._join(loaded)
        while not job.done.wait(LOOK_SECONDS):
            yield job.step
        if job.error is not None:
            raise job.error
        yield job.step

    def _join(self, loaded: LoadedModel) -> _Job:
        """The job for this model's text: the one that is known, or a new one."""
        corpus = self.models.folder(loaded.ref).corpus()  # raises before a job is made
        with self._guard:
            job = self._jobs.get(_key(loaded))
            if job is None or job.error is not None:
                if sum(not other.done.is_set() for other in self._jobs.values()) >= MOST_WAITING:
                    raise BusyError(
                        f"{MOST_WAITING} other texts come first.",
                        "This server learns the vectors of one text after the other.",
                        "Try again in a minute.",
                    )
                job = self._jobs[_key(loaded)] = _Job()
                threading.Thread(target=self._work, args=(job, corpus, loaded.tokenizer), daemon=True).start()
            self._jobs.move_to_end(_key(loaded))
            while len(self._jobs) > KEPT:
                self._jobs.popitem(last=False)
        return job

    def _work(self, job: _Job, corpus: Corpus, tokenizer: Tokenizer) -> None:
        """What the thread of a job does."""
        try:
            with self._turn:
                ids = encode_documents(corpus, tokenizer)
                for step in train_word2vec(ids, tokenizer.vocab_size, self.config):
                    job.step = step
        except Exception as error:  # whoever watches raises it
            job.error = error
        finally:
            job.done.set()


def _key(loaded: LoadedModel) -> tuple[str, str | None]:
    return loaded.ref.kind, loaded.ref.run_id
