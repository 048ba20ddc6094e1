"""The map of a model's positions: how alike it finds any two places of a text."""

import numpy as np
from numpy.typing import ArrayLike

from gpt2demo.figures.colours import SIGNED
from gpt2demo.figures.frame import Figure, add_note, as_dict, axis, colour_bar, every_nth, new_figure, square

MAX_POSITIONS = 256


def position_figure(similarity: ArrayLike, *, height: int = 520) -> Figure:
    """Shows how alike the model finds two positions of a text: near ones usually more than far ones.

    similarity: (P, P) cosines of the position embeddings. The colours always span −1 to 1 about a pale 0. Of
    more than 256 positions an even choice is drawn, and a note says so.
    """
    matrix = square(similarity, "similarity")
    kept = every_nth(len(matrix), MAX_POSITIONS)
    figure = new_figure("likeness of positions", height=height)
    figure.add_heatmap(
        x=kept,
        y=kept,
        z=matrix[np.ix_(kept, kept)],
        zmin=-1,
        zmax=1,
        colorscale=SIGNED,
        colorbar=colour_bar("cosine similarity", tickvals=[-1, -0.5, 0, 0.5, 1]),
        hoverongaps=False,
        hovertemplate="position %{y} and position %{x}: cosine %{z:.3f}<extra></extra>",
        name="positions",
    )
    figure.update_layout(
        xaxis=axis("position in the text", showgrid=False, constrain="domain", constraintoward="left"),
        yaxis=axis(
            "position in the text",
            showgrid=False,
            autorange="reversed",
            scaleanchor="x",
            constrain="domain",
            constraintoward="top",
        ),
    )
    if len(kept) < len(matrix):
        add_note(figure, f"{len(kept)} of {len(matrix):,} positions drawn, evenly chosen")
    return as_dict(figure)
