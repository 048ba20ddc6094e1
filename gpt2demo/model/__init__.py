"""The one GPT-2 there is: a PyTorch model that everything else here trains, runs and looks into.

The letters of all shapes: B batch, T tokens, C channels (n_embd), H heads, D channels per head (C / H),
V vocabulary, L layers. Tq and Tk are the tokens that ask (queries) and the tokens that are asked (keys).
"""
