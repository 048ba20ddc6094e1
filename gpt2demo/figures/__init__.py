"""Pictures as data: arrays and labels in, Plotly figures (plain JSON-able dicts) out. No torch, no gradio."""
