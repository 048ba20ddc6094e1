/* PlotlyPlot: one long-lived Plotly div, redrawn in place. GD.chart is the part that RunView uses too. */
(() => {
  const DATA_KEYS = new Set(["x", "y", "z", "text", "hovertext", "customdata", "ids", "ticktext", "tickvals", "bdata"]);
  const AXIS = /^[xyz]axis\d*$/;

  /** Replace the palette's colours by those of the current mode, everywhere but in the data. */
  function paint(node, palette) {
    if (typeof node === "string") return GD.colour(node, palette);
    if (Array.isArray(node)) return node.map((item) => paint(item, palette));
    if (node && typeof node === "object") {
      for (const key of Object.keys(node)) {
        if (key === "color" && Array.isArray(node.color) && typeof node.color[0] === "number") continue;
        if (!DATA_KEYS.has(key)) node[key] = paint(node[key], palette);
      }
    }
    return node;
  }

  function dressAxis(axis = {}) {
    return {
      gridcolor: GD.css("--gd-hairline"), linecolor: GD.css("--gd-edge"), zerolinecolor: GD.css("--gd-hairline"),
      tickcolor: GD.css("--gd-edge"), automargin: true, ...axis,
      ...(axis.title ? { title: { standoff: 10, ...axis.title, font: { size: 13, ...axis.title.font } } } : {}),
    };
  }

  /** The figure's layout in this page's clothes; what the figure says itself wins. */
  function dress(layout, height) {
    const ink = GD.css("--gd-ink");
    const font = { family: GD.css("--gd-sans"), size: 13, color: ink };
    const dressed = {
      autosize: true, uirevision: "keep", margin: { l: 56, r: 16, t: 16, b: 44 }, hovermode: "closest", ...layout,
      height, font: { ...font, ...layout.font },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: {
        bgcolor: GD.css("--gd-surface"), bordercolor: GD.css("--gd-edge"), align: "left", namelength: -1,
        ...layout.hoverlabel, font: { family: GD.css("--gd-mono"), size: 13, color: ink, ...layout.hoverlabel?.font },
      },
      legend: { bgcolor: "rgba(0,0,0,0)", orientation: "h", x: 0, y: 1.02, yanchor: "bottom", ...layout.legend },
    };
    delete dressed.template;
    delete dressed.width;
    if (dressed.title) dressed.margin = { ...dressed.margin, t: Math.max(48, dressed.margin.t || 0) };
    for (const key of Object.keys(layout)) if (AXIS.test(key)) dressed[key] = dressAxis(layout[key]);
    if (layout.scene) {
      dressed.scene = { ...layout.scene };
      for (const key of ["xaxis", "yaxis", "zaxis"]) {
        dressed.scene[key] = { backgroundcolor: "rgba(0,0,0,0)", ...dressAxis(layout.scene[key]) };
      }
    } else {
      dressed.xaxis ||= dressAxis();
      dressed.yaxis ||= dressAxis();
    }
    return dressed;
  }

  const scalar = (v) => (Array.isArray(v) || ArrayBuffer.isView(v) ? Array.from(v).join(" ") : v);

  /** The numbers of what is drawn, one row per point or cell. */
  function figureRows(plot) {
    const rows = [["series", "x", "y", "z", "text"]];
    for (const trace of plot._fullData || []) {
      if (trace.visible === false) continue;
      const name = trace.name || trace.type;
      if (trace.z && trace.z.length && (Array.isArray(trace.z[0]) || ArrayBuffer.isView(trace.z[0]))) {
        trace.z.forEach((line, j) => Array.from(line).forEach((z, i) =>
          rows.push([name, trace.x?.[i] ?? i, trace.y?.[j] ?? j, z, scalar(trace.text?.[j]?.[i])])));
        continue;
      }
      const length = Math.max(trace.x?.length || 0, trace.y?.length || 0, trace.z?.length || 0);
      for (let i = 0; i < length; i++) {
        const text = Array.isArray(trace.text) ? trace.text[i] : trace.hovertext?.[i];
        rows.push([name, trace.x?.[i] ?? i, trace.y?.[i] ?? i, trace.z?.[i], scalar(text)]);
      }
    }
    return rows;
  }

  /** A long-lived chart in `box`: draw(figure), clear(), and a toolbar that takes the picture away. */
  GD.chart = function chart({ box, label, height, palette, tools = true, reset = true, onClick = null, onZoom = null }) {
    const Plotly = window.Plotly;
    const state = { name: "figure", csv: null, drawn: false };
    const plot = GD.el("div", { class: "gd-plot-area", role: "figure", "aria-label": label });
    plot.style.height = `${height}px`;
    const save = async (format) => {
      const bars = GD.css("--gd-ground");
      const width = Math.max(640, plot.clientWidth);
      const layout = { ...plot.layout, paper_bgcolor: bars, plot_bgcolor: bars, width, height, autosize: false };
      const url = await Plotly.toImage({ data: plot.data, layout }, { format, width, height, scale: format === "png" ? 2 : 1 });
      GD.download(`${GD.fileName(state.name)}.${format}`, await (await fetch(url)).blob());
    };
    const button = (text, does, action) =>
      GD.el("button", { type: "button", class: "gd-tool", text, title: does, "aria-label": `${does}: ${label}`, onclick: action });
    const bar = GD.el("div", { class: "gd-tools", hidden: true },
      reset ? button("Whole picture", "Undo zooming", () => {
        const home = {};
        for (const key of Object.keys(plot.layout)) if (/^[xy]axis\d*$/.test(key)) home[`${key}.autorange`] = plot.gdAuto?.[key] ?? true;
        if (plot.layout.scene) home["scene.camera"] = plot.gdCamera || null;
        Plotly.relayout(plot, home);
      }) : null,
      button("PNG", "Save as PNG picture", () => save("png")),
      button("SVG", "Save as SVG drawing", () => save("svg")),
      button("CSV", "Save the numbers as CSV", () =>
        GD.download(`${GD.fileName(state.name)}.csv`, state.csv ?? GD.csv(figureRows(plot)), "text/csv;charset=utf-8")));
    box.append(...(tools ? [bar, plot] : [plot]));

    return {
      plot, bar,
      async draw({ figure, name, csv }) {
        state.name = name || "figure";
        state.csv = csv ?? null;
        const data = paint(figure.data || [], palette);
        const layout = dress(paint(figure.layout || {}, palette), height);
        plot.gdAuto = Object.fromEntries(Object.entries(layout)
          .filter(([key]) => /^[xy]axis\d*$/.test(key)).map(([key, axis]) => [key, axis.autorange ?? (axis.range ? undefined : true)]));
        bar.hidden = false;
        await Plotly.react(plot, data, layout, { displayModeBar: false, displaylogo: false, responsive: false, doubleClick: "reset+autosize" });
        if (!state.drawn) {
          state.drawn = true;
          if (onClick) plot.on("plotly_click", (event) => onClick(event.points[0]));
          if (onZoom) plot.on("plotly_relayout", (change) => Object.keys(change).some((key) => key.startsWith("xaxis")) && onZoom());
        }
        return (plot._fullData || []).reduce((sum, trace) => sum + (trace.visible === true ? trace._length || trace.x?.length || 0 : 0), 0);
      },
      resize() {
        if (!state.drawn || !plot.clientWidth) return;
        // a legend that needs fewer lines now is placed as if the margin were still that of before: once more
        const legend = () => plot._fullLayout?.showlegend && Plotly.relayout(plot, { "legend.y": plot.layout.legend.y });
        Plotly.Plots.resize(plot).then(legend);
      },
      clear() {
        bar.hidden = true;
        if (state.drawn) Plotly.purge(plot);
        state.drawn = false;
      },
    };
  };

  GD.plot = function plot({ root, box, props, trigger, watch }) {
    const empty = GD.el("p", { class: "gd-empty", text: props.placeholder });
    empty.style.minHeight = `${props.height}px`;
    const point = (p) => trigger("point", {
      curve: p.curveNumber ?? 0, index: p.pointNumber ?? p.pointIndex ?? null, x: scalar(p.x) ?? null, y: scalar(p.y) ?? null,
      z: scalar(p.z) ?? null, text: scalar(p.text) ?? null, customdata: p.customdata ?? null, name: p.data?.name ?? null,
    });
    const holder = GD.el("div", { class: props.click ? "gd-clickable" : "" });
    const chart = GD.chart({ box: holder, label: props.label, height: props.height, palette: props.palette,
      tools: props.tools, onClick: props.click ? point : null });
    box.append(empty, holder);
    let turn = 0;

    async function update() {
      const mine = ++turn;
      let value = null;
      try {
        value = props.value ? JSON.parse(props.value) : null;
        const has = Boolean(value?.figure);
        empty.textContent = props.placeholder;
        empty.hidden = has;
        holder.hidden = !has;
        if (!has) {
          chart.clear();
          Object.assign(root.dataset, { status: "empty", points: "0" });
          return;
        }
        root.dataset.status = "drawing";
        const points = await chart.draw(value);
        if (mine === turn) Object.assign(root.dataset, { status: "ready", points: String(points), drawn: String(Number(root.dataset.drawn || 0) + 1) });
      } catch (error) {
        empty.textContent = "This picture could not be drawn.";
        empty.hidden = false;
        holder.hidden = true;
        root.dataset.status = "error";
        console.warn(error);
      }
    }
    watch("value", update);
    GD.onLook(box, (what) => (what === "mode" ? update() : chart.resize()));
    update();
  };
})();
