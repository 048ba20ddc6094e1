"""The residual stream read on its way up: what would be said now, and who has written what of it.

Everything here is arithmetic on the record of `capture`, with the model's own last LayerNorm and output.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gpt2demo.errors import check_range
from gpt2demo.inspection.capture import Activations, Array
from gpt2demo.inspection.hooks import blocks, inspectable
from gpt2demo.model.gpt2 import GPT2
from gpt2demo.model.language_model import LanguageModel

ROWS = 64  # positions scored at once: more of GPT-2's logits would fill hundreds of megabytes
MAX_TOP = 50
FOR_ATTRIBUTION = ("head_outputs", "mlp_outputs")  # what to ask `capture` for


@dataclass(frozen=True, kw_only=True, eq=False)
class Lens:
    """What the model would say at each place if it ended after each layer; L + 1 rows, 0 is the embeddings.

    The true token is the one that follows in the text; after the last there is none: NaN, and rank 0. The
    last row is what the model does say. Early rows are unreliable: those layers were never meant to be read
    by the output table.
    """

    top_ids: NDArray[np.int64]  # (L + 1, T, k) the likeliest tokens, best first
    top_probabilities: Array  # (L + 1, T, k)
    entropy: Array  # (L + 1, T) nats: how undecided it is
    probability: Array  # (L + 1, T) of the true token
    rank: NDArray[np.int64]  # (L + 1, T) of the true token, 1 is the best guess


def logit_lens(model: LanguageModel, seen: Activations, *, k: int = 5) -> Lens:
    """What each layer's stream already says about the next token, read through the final norm.

    Nostalgebraist 2020, "interpreting GPT: the logit lens". seen: of this model. k: how many of the likeliest
    tokens are kept. Raises LimitError.
    """
    model = inspectable(model)
    V = model.config.vocab_size
    check_range("k", k, 1, min(MAX_TOP, V), integer=True)
    layers, T, _ = seen.residual.shape
    found = Lens(
        top_ids=np.empty((layers, T, k), dtype=np.int64),
        top_probabilities=np.empty((layers, T, k), dtype=np.float32),
        entropy=np.empty((layers, T), dtype=np.float32),
        probability=np.full((layers, T), np.nan, dtype=np.float32),
        rank=np.zeros((layers, T), dtype=np.int64),
    )
    for layer in range(layers):
        for first in range(0, T, ROWS):
            _read_rows(model, seen, found, layer, slice(first, min(first + ROWS, T)))
    return found


@torch.inference_mode()
def _read_rows(model: GPT2, seen: Activations, found: Lens, layer: int, rows: slice) -> None:
    """Fills these rows of one layer."""
    logprobs = lens_logits(model, torch.from_numpy(seen.residual[layer, rows])).log_softmax(-1)  # (N, V)
    top = logprobs.topk(found.top_ids.shape[-1], dim=-1)
    found.top_ids[layer, rows] = top.indices.numpy()
    found.top_probabilities[layer, rows] = top.values.exp().numpy()
    found.entropy[layer, rows] = -(logprobs.exp() * logprobs).sum(-1).numpy()
    true = torch.from_numpy(seen.tokens[rows.start + 1 : rows.stop + 1])[:, None]  # one less at the end
    own = logprobs[: len(true)].gather(-1, true)  # (N, 1)
    known = slice(rows.start, rows.start + len(true))
    found.probability[layer, known] = own[:, 0].exp().numpy()
    found.rank[layer, known] = ((logprobs[: len(true)] > own).sum(-1) + 1).numpy()


def lens_logits(model: GPT2, stream: Tensor) -> Tensor:
    """Scores for the next token, read from any layer's stream: (…, C) → (…, V), float32 on the processor"""
    like = model.wte.weight  # where the numbers are, and in how many bits
    logits: Tensor = model.lm_head(model.ln_f(stream.to(like)))
    return logits.float().cpu()


def residual_norms(seen: Activations) -> Array:
    """How long the stream's vector is at each place and layer: it grows as layers write into it.

    A long vector is not an important one: the first token's is often the longest, and means nothing.
    → (L + 1, T)
    """
    return np.asarray(np.linalg.norm(seen.residual, axis=-1), dtype=np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """How much each part of the model has added to one logit, directly; the parts sum to the logit.

    Directly: a head that only prepares what a later one needs gets nothing here; switch it off to see that.
    """

    position: int  # after which token
    token: int  # whose logit
    logit: float  # as the model computes it
    embedding: float  # the vector of the token at this position
    place: float  # the vector of the position
    heads: Array  # (L, H)
    biases: Array  # (L,) of attention, which belong to no head
    mlps: Array  # (L,) with their biases
    norms: float  # the biases of LayerNorms, the last one's and (post-norm) the blocks'
    output_bias: float  # of the output table, if it has one

    @property
    def total(self) -> float:
        """The sum of all parts."""
        parts = (self.embedding, self.place, self.norms, self.output_bias)
        return float(
            sum(parts) + sum(part.sum(dtype=np.float64) for part in (self.heads, self.biases, self.mlps))
        )


@torch.inference_mode()
def attribution(model: LanguageModel, seen: Activations, position: int, token: int) -> Attribution:
    """Which heads, MLPs and embeddings speak for a token, and which against it: direct logit attribution.

    The stream is a sum, so its logit is one too, once the scale of each LayerNorm on the way is held at what
    it was (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"). Computed in double
    precision. seen: with FOR_ATTRIBUTION, of this model, unchanged. Raises LimitError.
    """
    model = inspectable(model)
    check_range("position", position, 0, len(seen.tokens) - 1, integer=True)
    check_range("token", token, 0, model.config.vocab_size - 1, integer=True)
    if seen.head_outputs is None or seen.mlp_outputs is None:
        raise ValueError(f"attribution needs capture(..., what={list(FOR_ATTRIBUTION)})")
    parts = _parts(model, seen, position)  # (3 + L·(H + 2), C)
    shares = parts @ model.lm_head.weight[token].double().cpu()
    L, H = model.config.n_layer, model.config.n_head
    layers = shares[3:].view(L, H + 2).numpy()
    last = lens_logits(model, torch.from_numpy(seen.residual[-1, position]))
    return Attribution(
        position=position,
        token=token,
        logit=last[token].item(),
        embedding=shares[0].item(),
        place=shares[1].item(),
        norms=shares[2].item(),
        heads=np.float32(layers[:, :H]),
        biases=np.float32(layers[:, H]),
        mlps=np.float32(layers[:, H + 1]),
        output_bias=0.0 if model.lm_head.bias is None else model.lm_head.bias[token].item(),
    )


def _parts(model: GPT2, seen: Activations, position: int) -> Tensor:
    """What was added up at one position, as the output table meets it: token, place, norms' biases, layers.

    → (3 + L·(H + 2), C); of each layer its heads, the bias of attention, the MLP.
    """
    assert seen.head_outputs is not None and seen.mlp_outputs is not None
    C = model.config.n_embd
    token = model.wte.weight[int(seen.tokens[position])]
    parts = torch.stack([token, model.wpe.weight[position], torch.zeros_like(token)]).double().cpu()
    for layer, block in enumerate(blocks(model)):
        heads = torch.from_numpy(seen.head_outputs[layer, :, position]).double()  # (H, C)
        bias = block.attn.c_proj.bias
        attention_bias = torch.zeros(1, C) if bias is None else bias[None].cpu()
        parts = torch.cat([parts, heads, attention_bias.double()])
        if block.norm == "post":
            parts = _frozen_norm(parts, block.ln_1)
        mlp = torch.from_numpy(seen.mlp_outputs[layer, position]).double()
        parts = torch.cat([parts, mlp[None]])
        if block.norm == "post":
            parts = _frozen_norm(parts, block.ln_2)
    return _frozen_norm(parts, model.ln_f)


def _frozen_norm(parts: Tensor, norm: nn.Module) -> Tensor:
    """Each part as it leaves a LayerNorm whose scale is that of their sum; its bias goes to row 2. (N, C)"""
    if not isinstance(norm, nn.LayerNorm):
        return parts  # nn.Identity, above post-norm blocks
    variance = parts.sum(0).var(correction=0)
    centred = parts - parts.mean(-1, keepdim=True)
    parts = centred * (variance + norm.eps).rsqrt() * norm.weight.double().cpu()
    if norm.bias is not None:
        parts[2] += norm.bias.double().cpu()
    return parts
