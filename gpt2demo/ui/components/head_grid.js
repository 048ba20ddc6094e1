/* HeadGrid: all heads as thumbnails on one canvas, the chosen one large as a map or as lines. */
(() => {
  const cut = (text, n) => ([...text].length > n ? `${[...text].slice(0, n - 1).join("")}…` : text);
  const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

  /** The numbers: weights of one head or of a mean, with or without the first token. */
  function decode(v) {
    const bytes = Uint8Array.from(atob(v.tri), (c) => c.charCodeAt(0));
    const N = (v.T * (v.T + 1)) / 2;
    if (bytes.length !== N * v.L * v.H || v.tokens.length !== v.T) throw new Error("sizes do not fit");
    const hidden = v.hidden ? Uint8Array.from(atob(v.hidden), (c) => c.charCodeAt(0)) : new Uint8Array(N);
    if (hidden.length !== N) throw new Error("sizes do not fit");
    const square = Float32Array.from({ length: 256 }, (_, u) => (u / 255) ** 2);
    const from = (l, h) => bytes.subarray((l * v.H + h) * N, (l * v.H + h + 1) * N);
    function weights(l, h, what, ignore) {
      const heads = [];
      for (let i = 0; i < v.L; i++) {
        for (let j = 0; j < v.H; j++) if (what === "all" || (i === l && (what === "layer" || j === h))) heads.push(from(i, j));
      }
      const sum = new Float32Array(N);
      for (const one of heads) for (let n = 0; n < N; n++) sum[n] += square[one[n]];
      for (let n = 0; n < N; n++) sum[n] /= heads.length;
      const masked = () => { for (let n = 0; n < N; n++) if (hidden[n]) sum[n] = NaN; return sum; };
      if (!ignore) return masked();
      for (let q = 0; q < v.T; q++) {
        const row = (q * (q + 1)) / 2;
        let rest = 0;
        for (let k = 1; k <= q; k++) rest += sum[row + k];
        for (let k = 1; k <= q; k++) sum[row + k] = rest > 0.004 ? sum[row + k] / rest : 0;
        sum[row] = NaN;
      }
      return masked();
    }
    return { from, weights, square, hidden };
  }

  /** Short marks for the badges: the first letters that tell them apart. */
  function marks(badges) {
    const found = new Map();
    for (const word of (badges || []).flat()) {
      if (!word || found.has(word)) continue;
      let n = 1;
      while (n < 3 && [...found.values()].includes(word.slice(0, n).toUpperCase())) n++;
      found.set(word, word.slice(0, n).toUpperCase());
    }
    return found;
  }

  GD.heads = function heads({ root, box, props, trigger, watch }) {
    let v = null;
    let numbers = null;
    let letters = new Map();
    let atlas = null;
    let chosen = { l: 0, h: 0 };
    let cursor = { l: 0, h: 0 };
    let preview = null;
    let shown = null; // weights on screen
    let base = null; // the large view without highlights
    let hover = null; // {q, k} in the map, {side, i} in the lines
    let locked = null;
    const now = { view: "map", what: "head", ignore: false, stretch: false };
    const lut = { colours: [], pixels: new Uint32Array(256) };

    /* ---------- the parts of the view ---------- */
    const empty = GD.el("p", { class: "gd-empty", text: props.placeholder });
    const grid = GD.el("canvas", { class: "gd-heads-grid", tabindex: "0", role: "application" });
    const key = GD.el("p", { class: "gd-hint gd-heads-key" });
    const left = GD.el("div", { class: "gd-heads-left" }, GD.el("div", { class: "gd-scroll" }, grid), key);
    const title = GD.el("div", { class: "gd-heads-title", role: "heading", "aria-level": "3" });
    const view = GD.el("canvas", { class: "gd-heads-view", tabindex: "0", role: "application" });
    const said = GD.el("div", { class: "gd-sr", role: "status", "aria-live": "polite" });
    const radio = (name, text, on) => {
      const button = GD.el("button", { type: "button", role: "radio", "aria-checked": String(on), text, onclick: () => {
        now.view = name;
        for (const one of button.parentNode.children) one.setAttribute("aria-checked", String(one === button));
        hover = locked = null;
        large();
      } });
      return button;
    };
    const check = (text, change) => GD.el("label", { class: "gd-check" },
      GD.el("input", { type: "checkbox", onchange: (event) => { change(event.target.checked); large(); } }), GD.el("span", { text }));
    const pick = GD.el("select", { class: "gd-select", "aria-label": "What is shown large", onchange: () => { now.what = pick.value; large(); } },
      GD.el("option", { value: "head", text: "the chosen head" }), GD.el("option", { value: "layer", text: "mean over this layer" }),
      GD.el("option", { value: "all", text: "mean over all heads" }));
    const tool = (text, does, action) => GD.el("button", { type: "button", class: "gd-tool", text, title: does,
      "aria-label": `${does}: ${props.label}`, onclick: action });
    const ramp = GD.el("span", { class: "gd-ramp" }, GD.el("span", { text: "0" }), GD.el("i"), GD.el("span", { text: "1 of the attention" }));
    const right = GD.el("div", { class: "gd-heads-right" },
      GD.el("div", { class: "gd-heads-bar" }, title,
        GD.el("div", { class: "gd-segments", role: "radiogroup", "aria-label": "Draw as" }, radio("map", "Map", true), radio("lines", "Lines", false)),
        pick, GD.el("div", { class: "gd-tools" }, tool("PNG", "Save as PNG picture", () => save("png")),
          tool("SVG", "Save as SVG drawing", () => save("svg")), tool("CSV", "Save the numbers as CSV", () => save("csv")))),
      GD.el("div", { class: "gd-heads-bar" }, ramp,
        check("Ignore the first token (each row is scaled to 1 without it)", (on) => (now.ignore = on)),
        check("Stretch contrast (colour follows the square root)", (on) => (now.stretch = on))),
      GD.el("div", { class: "gd-scroll gd-heads-scroll" }, view),
      GD.el("p", { class: "gd-hint", text: "Attention shows which earlier tokens a head reads from. It is not an explanation of what the model says." }));
    right.hidden = !props.detail;
    const all = GD.el("div", { class: props.detail ? "gd-heads-parts" : "gd-heads-parts gd-heads-only" }, left, right);
    box.append(empty, all, said);

    /* ---------- colours ---------- */
    function mixColours() {
      const paper = GD.rgb(GD.css("--gd-attention-paper"));
      const full = GD.rgb(GD.css("--gd-attention"));
      const mask = GD.rgb(GD.css("--gd-mask"));
      const word = (c) => (255 << 24) | (c[2] << 16) | (c[1] << 8) | c[0];
      lut.colours = Array.from({ length: 256 }, (_, i) => [0, 1, 2].map((c) => Math.round(paper[c] + ((full[c] - paper[c]) * i) / 255)));
      for (let u = 0; u < 256; u++) lut.pixels[u] = word(lut.colours[Math.round(255 * (u / 255) ** (1.3))]);
      lut.mask = word(mask);
      lut.strings = lut.colours.map((c) => `rgb(${c.join(",")})`);
      lut.maskString = GD.css("--gd-mask");
    }
    const colourOf = (w) => (Number.isNaN(w) ? lut.maskString : lut.strings[Math.round(255 * (now.stretch ? Math.sqrt(w) : w))]);

    /* ---------- the thumbnails ---------- */
    /** Each thumbnail as pixels, P × P: of several cells that share a pixel the strongest shows. */
    function drawAtlas() {
      sizeGrid();
      const T = v.T;
      const P = Math.min(T, Math.round(place.size * (devicePixelRatio || 1)));
      atlas = Object.assign(document.createElement("canvas"), { width: P * v.H, height: P * v.L });
      const context = atlas.getContext("2d");
      const image = context.createImageData(P, P);
      const pixels = new Uint32Array(image.data.buffer);
      const strongest = new Int16Array(P * P);
      const at = Int16Array.from({ length: T }, (_, i) => Math.floor((i * P) / T));
      for (let l = 0; l < v.L; l++) {
        for (let h = 0; h < v.H; h++) {
          const bytes = numbers.from(l, h);
          strongest.fill(-1);
          for (let q = 0, n = 0; q < T; q++) {
            for (let k = 0; k <= q; k++, n++) {
              const to = at[q] * P + at[k];
              if (!numbers.hidden[n] && bytes[n] > strongest[to]) strongest[to] = bytes[n];
            }
          }
          for (let n = 0; n < P * P; n++) pixels[n] = strongest[n] < 0 ? lut.mask : lut.pixels[strongest[n]];
          context.putImageData(image, h * P, l * P);
        }
      }
      atlas.cell = P;
    }
    const place = { x: 54, y: 22, size: 40, gap: 6 };
    const wanted = () => clamp(Math.floor(400 / v.H), 34, 84);
    function sizeGrid() {
      const room = left.clientWidth || 320;
      const most = props.detail ? wanted() : 96;
      place.size = clamp(Math.floor((room - place.x - 4) / v.H) - place.gap, 24, most);
    }
    function drawGrid() {
      const step = place.size + place.gap;
      const pen = GD.canvasPen(grid, place.x + v.H * step + 2, place.y + v.L * step + 2);
      const c = pen.context;
      const quiet = { fill: GD.css("--gd-muted"), size: 11, family: "--gd-sans" };
      const accent = GD.css("--gd-accent");
      for (let h = 0; h < v.H; h++) {
        pen.text(place.x + h * step + place.size / 2, 10, h === 0 && place.size > 38 ? "head 0" : String(h), { ...quiet, align: "center" });
      }
      c.imageSmoothingEnabled = false;
      const P = atlas.cell;
      for (let l = 0; l < v.L; l++) {
        const y = place.y + l * step;
        pen.text(0, y + place.size / 2, `layer ${l}`, quiet);
        for (let h = 0; h < v.H; h++) {
          const x = place.x + h * step;
          c.drawImage(atlas, h * P, l * P, P, P, x, y, place.size, place.size);
          const mark = letters.get(v.badges[l]?.[h]);
          if (mark) {
            const wide = 6 + 7 * mark.length;
            pen.rect(x + place.size - wide, y, wide, 14, GD.css("--gd-surface"));
            pen.text(x + place.size - wide / 2, y + 7.5, mark, { fill: accent, size: 11, bold: true, align: "center", family: "--gd-sans" });
          }
          if (l === chosen.l && h === chosen.h) pen.frame(x - 2, y - 2, place.size + 4, place.size + 4, accent, 3);
          if (l === cursor.l && h === cursor.h && document.activeElement === grid) {
            c.setLineDash([3, 2]);
            pen.frame(x - 0.5, y - 0.5, place.size + 1, place.size + 1, GD.css("--gd-ink"), 1.5);
            c.setLineDash([]);
          }
        }
      }
      grid.setAttribute("aria-label", `${props.label}: ${v.L} layers by ${v.H} heads. Arrow keys move, Enter chooses.`);
    }
    const headAt = (event) => {
      const step = place.size + place.gap;
      const h = Math.floor((event.offsetX - place.x) / step);
      const l = Math.floor((event.offsetY - place.y) / step);
      return v && l >= 0 && h >= 0 && l < v.L && h < v.H ? { l, h } : null;
    };
    const nameOf = ({ l, h }) => `Layer ${l} · head ${h}${v.badges[l]?.[h] ? ` · ${v.badges[l][h]}` : ""}`;

    /* ---------- the large view ---------- */
    const space = { cell: 16, left: 90, top: 90, row: 20, width: 480 };
    const label = (i, n) => cut(v.tokens[i], n);
    const ink = () => ({ ink: GD.css("--gd-ink"), muted: GD.css("--gd-muted"), query: GD.css("--gd-query"), key: GD.css("--gd-key"),
      ground: GD.css("--gd-ground"), accent: GD.css("--gd-accent") });

    function measure() {
      const c = grid.getContext("2d");
      c.font = `12px ${GD.css("--gd-mono")}`;
      const widest = Math.max(...v.tokens.map((t) => c.measureText(cut(t, 12)).width), 24);
      const room = Math.max(260, right.clientWidth || 480);
      space.left = Math.max(122, Math.ceil(widest) + 44);
      space.top = Math.ceil(widest) + 46;
      const fit = Math.min((room - space.left - 6) / v.T, Math.max(14, (props.detail_height - space.top) / v.T));
      space.cell = Math.floor(clamp(fit, 7, 34));
      space.row = clamp(Math.floor((props.detail_height - 40) / v.T), 17, 26);
      space.width = clamp(room - 6, 280, 640);
    }
    const size = () => (now.view === "map"
      ? [space.left + space.cell * v.T + 4, space.top + space.cell * v.T + 4]
      : [space.width, 34 + space.row * v.T]);
    const at = (q, k) => (q * (q + 1)) / 2 + k;

    function drawMap(pen) {
      const c = ink();
      const { cell, left: x0, top: y0 } = space;
      const every = Math.ceil(10 / cell); // labels need ten pixels; all of them show on hover
      const small = Math.min(12, cell * every - 0.5);
      pen.text(0, y0 - 12, "query (reads) ↓", { fill: c.query, size: 12, bold: true, family: "--gd-sans" });
      pen.text(x0, 9, "key (is read) →", { fill: c.key, size: 12, bold: true, family: "--gd-sans" });
      const gap = cell > 13 ? 1 : 0;
      for (let q = 0; q < v.T; q++) {
        const y = y0 + q * cell;
        for (let k = 0; k < v.T; k++) {
          pen.rect(x0 + k * cell, y, cell - gap, cell - gap, k > q ? lut.maskString : colourOf(shown[at(q, k)]));
        }
        if (q % every) continue;
        pen.text(x0 - 30, y + cell / 2, label(q, 12), { fill: c.ink, size: small, align: "right" });
        pen.text(x0 - 6, y + cell / 2, String(q), { fill: c.muted, size: Math.min(10, small), align: "right" });
        pen.text(x0 + q * cell + cell / 2, y0 - 26, label(q, 12), { fill: c.ink, size: small, turn: -90 });
        pen.text(x0 + q * cell + cell / 2, y0 - 5, String(q), { fill: c.muted, size: Math.min(10, small), turn: -90 });
      }
    }
    function markMap(pen, { q, k }) {
      const c = ink();
      const { cell, left: x0, top: y0 } = space;
      pen.frame(x0 + 0.5, y0 + q * cell - 0.5, (q + 1) * cell, cell, c.query, 1.5);
      pen.frame(x0 + k * cell - 0.5, y0 + k * cell + 0.5, cell, (v.T - k) * cell, c.key, 1.5);
      pen.rect(0, y0 + q * cell, x0 - 2, Math.max(cell, 14), c.ground);
      pen.text(x0 - 30, y0 + q * cell + cell / 2, label(q, 12), { fill: c.query, bold: true, align: "right" });
      pen.text(x0 - 6, y0 + q * cell + cell / 2, String(q), { fill: c.query, size: 10, bold: true, align: "right" });
      pen.rect(x0 + k * cell + cell / 2 - 8, 18, 16, y0 - 20, c.ground);
      pen.text(x0 + k * cell + cell / 2, y0 - 26, label(k, 12), { fill: c.key, bold: true, turn: -90 });
      pen.text(x0 + k * cell + cell / 2, y0 - 5, String(k), { fill: c.key, size: 10, bold: true, turn: -90 });
    }
    function drawLines(pen, mark) {
      const c = ink();
      const x1 = space.left + 20;
      const x2 = space.width - space.left - 42;
      const middle = (i) => 34 + space.row * i + space.row / 2;
      pen.text(x1 - 28, 10, "query (reads)", { fill: c.query, bold: true, align: "right", family: "--gd-sans" });
      pen.text(x2 + 28, 10, "key (is read)", { fill: c.key, bold: true, family: "--gd-sans" });
      const linked = new Map();
      for (let q = 0; q < v.T; q++) {
        for (let k = 0; k <= q; k++) {
          const w = shown[at(q, k)];
          if (!(w > 0.02)) continue;
          if (mark && (mark.side === "query" ? q : k) !== mark.i) continue;
          if (mark) linked.set(mark.side === "query" ? k : q, w);
          pen.curve(x1, middle(q), x2, middle(k), lut.strings[255], mark ? 1 + 6 * w : 0.6 + 3 * w, clamp(now.stretch ? Math.sqrt(w) : w, mark ? 0.2 : 0.06, 1));
        }
      }
      for (let i = 0; i < v.T; i++) {
        const is = (side) => mark && mark.side === side && mark.i === i;
        const dim = (side) => mark && !is(side) && (mark.side === side || !linked.has(i));
        const style = (side) => ({ fill: is(side) ? c[side] : dim(side) ? c.muted : c.ink, bold: is(side), size: Math.min(13, space.row - 3) });
        const weight = linked.has(i) ? ` ${linked.get(i).toFixed(2)}` : "";
        const number = { fill: c.muted, size: 10 };
        pen.text(x1 - 6, middle(i), String(i), { ...number, align: "right" });
        pen.text(x2 + 6, middle(i), String(i), number);
        pen.text(x1 - 28, middle(i), (mark?.side === "key" ? weight.trim() + " " : "") + label(i, 12), { ...style("query"), align: "right" });
        pen.text(x2 + 28, middle(i), label(i, 12) + (mark?.side === "query" ? weight : ""), style("key"));
      }
    }

    /** Compute and draw the large view; highlights come on top without a new computation. */
    function large() {
      if (!v || !props.detail || !right.clientWidth) return;
      const head = preview || chosen;
      shown = numbers.weights(head.l, head.h, now.what, now.ignore);
      title.textContent = { head: nameOf(head), layer: `Mean over layer ${head.l}`, all: "Mean over all heads" }[now.what];
      if (preview) title.textContent += " (preview)";
      ramp.classList.toggle("gd-ramp-stretched", now.stretch);
      measure();
      const [width, height] = size();
      base = document.createElement("canvas");
      if (now.view === "map") drawMap(GD.canvasPen(base, width, height));
      overlay();
      const words = now.view === "map" ? "Map of weights. Arrow keys move over the cells, Enter keeps a row, Escape lets go."
        : "Lines from each reading token to the tokens it reads. Arrow keys move over the tokens, Enter keeps one, Escape lets go.";
      view.setAttribute("aria-label", `${title.textContent}. ${words}`);
      Object.assign(root.dataset, { view: now.view, what: now.what, ignore: String(now.ignore), stretch: String(now.stretch) });
    }
    function overlay() {
      const [width, height] = size();
      const pen = GD.canvasPen(view, width, height);
      const mark = hover || locked;
      if (now.view === "lines") return drawLines(pen, mark);
      pen.context.drawImage(base, 0, 0, width, height);
      if (mark) markMap(pen, mark);
    }

    function sentence(q, k) {
      const w = shown[at(q, k)];
      if (numbers.hidden[at(q, k)]) return "may not be read";
      return Number.isNaN(w) ? "left out" : w < 0.1 ? w.toFixed(3) : w.toFixed(2);
    }
    function tipCell({ q, k }) {
      const frame = view.getBoundingClientRect();
      const x = frame.left + space.left + k * space.cell;
      const y = frame.top + space.top + q * space.cell;
      GD.tip.show({ left: x + space.cell, top: y, bottom: y + space.cell }, (node) => {
        node.append(GD.el("div", { class: "gd-tip-head" }, GD.el("b", { class: "gd-mono gd-is-query", text: v.tokens[q] }), " → ",
          GD.el("b", { class: "gd-mono gd-is-key", text: v.tokens[k] }), `: ${sentence(q, k)}`),
        GD.el("p", { text: `query ${q} reads key ${k}` }));
        if (v.exact.length) node.append(GD.el("p", { class: "gd-mono", text: `bytes ${v.exact[q]} → ${v.exact[k]}` }));
      }, view);
    }

    /* ---------- what a person does ---------- */
    function choose(head, tell) {
      chosen = { ...head };
      cursor = { ...head };
      preview = null;
      now.what = pick.value = "head";
      Object.assign(root.dataset, { layer: String(head.l), head: String(head.h) });
      drawGrid();
      large();
      if (!tell) return;
      said.textContent = `${nameOf(head)} chosen`;
      trigger("select", { layer: head.l, head: head.h });
    }
    function look(head) {
      if (preview?.l === head?.l && preview?.h === head?.h) return;
      preview = head && (head.l !== chosen.l || head.h !== chosen.h) && now.what !== "all" ? head : null;
      large();
    }
    grid.addEventListener("click", (event) => { const head = headAt(event); if (head) choose(head, true); });
    grid.addEventListener("mousemove", (event) => {
      const head = headAt(event);
      grid.style.cursor = head ? "pointer" : "default";
      if (!head) return GD.tip.hide(grid);
      const frame = grid.getBoundingClientRect();
      const y = frame.top + place.y + head.l * (place.size + place.gap);
      GD.tip.show({ left: frame.left + place.x + head.h * (place.size + place.gap), top: y, bottom: y + place.size },
        (node) => node.append(GD.el("div", { text: nameOf(head) })), grid);
      look(head);
    });
    grid.addEventListener("mouseleave", () => { GD.tip.hide(grid); if (v) look(null); });
    grid.addEventListener("focus", () => v && drawGrid());
    grid.addEventListener("blur", () => v && drawGrid());
    grid.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!v || (!step && event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      if (!step) return choose(cursor, true);
      cursor = { l: clamp(cursor.l + step[0], 0, v.L - 1), h: clamp(cursor.h + step[1], 0, v.H - 1) };
      said.textContent = nameOf(cursor);
      drawGrid();
    });

    const spot = (event) => {
      if (!v) return null;
      if (now.view === "map") {
        const k = Math.floor((event.offsetX - space.left) / space.cell);
        const q = Math.floor((event.offsetY - space.top) / space.cell);
        return q >= 0 && k >= 0 && q < v.T && k <= q && !numbers.hidden[at(q, k)] ? { q, k } : null;
      }
      const i = Math.floor((event.offsetY - 34) / space.row);
      return i >= 0 && i < v.T ? { side: event.offsetX < space.width / 2 ? "query" : "key", i } : null;
    };
    const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
    view.addEventListener("mousemove", (event) => {
      const found = spot(event);
      if (same(found, hover)) return;
      hover = found;
      overlay();
      if (found && now.view === "map") tipCell(found);
      else GD.tip.hide(view);
      if (found) root.dataset.hover = now.view === "map" ? sentence(found.q, found.k) : `${found.side} ${found.i}`;
      else delete root.dataset.hover;
    });
    view.addEventListener("mouseleave", () => { hover = null; delete root.dataset.hover; GD.tip.hide(view); if (v) overlay(); });
    view.addEventListener("click", (event) => {
      const found = spot(event);
      locked = same(found, locked) ? null : found;
      if (locked) root.dataset.locked = JSON.stringify(locked);
      else delete root.dataset.locked;
      if (v) overlay();
    });
    view.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!v || (!step && !["Enter", "Escape"].includes(event.key))) return;
      event.preventDefault();
      if (event.key === "Enter") locked = hover || locked;
      else if (event.key === "Escape") hover = locked = null;
      else if (now.view === "map") {
        const from = hover || locked || { q: v.T - 1, k: 0 };
        const q = clamp(from.q + step[0], 0, v.T - 1);
        hover = { q, k: clamp(from.k + step[1], 0, q) };
        said.textContent = `${v.tokens[hover.q]} reads ${v.tokens[hover.k]}: ${sentence(hover.q, hover.k)}`;
        tipCell(hover);
      } else {
        const from = hover || locked || { side: "query", i: v.T - 1 };
        hover = { side: step[1] < 0 ? "query" : step[1] > 0 ? "key" : from.side, i: clamp(from.i + step[0], 0, v.T - 1) };
        said.textContent = `${hover.side} ${hover.i}: ${v.tokens[hover.i]}`;
      }
      if (event.key === "Escape") GD.tip.hide(view);
      overlay();
    });

    function save(format) {
      const name = GD.fileName([v.title || "attention", title.textContent].join(" "));
      if (format === "csv") {
        const rows = [["query_index", "query", "key_index", "key", "weight"]];
        for (let q = 0; q < v.T; q++) {
          for (let k = 0; k <= q; k++) rows.push([q, v.tokens[q], k, v.tokens[k], Number.isNaN(shown[at(q, k)]) ? "" : shown[at(q, k)].toFixed(3)]);
        }
        return GD.download(`${name}.csv`, GD.csv(rows), "text/csv;charset=utf-8");
      }
      const [width, height] = size();
      const canvas = document.createElement("canvas");
      const pen = format === "svg" ? GD.svgPen(width + 24, height + 60) : GD.canvasPen(canvas, width + 24, height + 60, 2);
      const shifted = { ...pen };
      for (const part of ["rect", "frame", "text"]) shifted[part] = (x, y, ...rest) => pen[part](x + 12, y + 48, ...rest);
      shifted.curve = (x1, y1, x2, y2, ...rest) => pen.curve(x1 + 12, y1 + 48, x2 + 12, y2 + 48, ...rest);
      pen.rect(0, 0, width + 24, height + 60, GD.css("--gd-ground"));
      pen.text(12, 20, cut([v.title, title.textContent].filter(Boolean).join(" · "), Math.floor(width / 8)), { fill: GD.css("--gd-ink"), size: 15, bold: true, family: "--gd-sans" });
      if (now.view === "map") drawMap(shifted);
      else drawLines(shifted, locked);
      if (now.view === "map" && locked) markMap(shifted, locked);
      if (format === "svg") return GD.download(`${name}.svg`, pen.toString(), "image/svg+xml");
      canvas.toBlob((blob) => GD.download(`${name}.png`, blob));
    }

    /* ---------- new data ---------- */
    function update() {
      const began = performance.now();
      let next = null;
      empty.textContent = props.placeholder;
      try {
        next = props.value ? JSON.parse(props.value) : null;
        if (next) numbers = decode(next);
      } catch (error) {
        console.warn(error);
        next = null;
        empty.textContent = "These attention weights could not be read.";
      }
      const other = !v || !next || next.T !== v.T || next.tokens.join("\0") !== v.tokens.join("\0");
      v = next;
      empty.hidden = Boolean(v);
      all.hidden = !v;
      if (!v) {
        root.dataset.status = props.value ? "error" : "empty";
        return;
      }
      if (other) {
        hover = locked = null;
        delete root.dataset.locked;
      }
      letters = marks(v.badges);
      key.textContent = [...letters].map(([word, mark]) => `${mark} = ${word}`).join(" · ");
      key.hidden = !letters.size;
      const head = { l: clamp(v.layer ?? chosen.l, 0, v.L - 1), h: clamp(v.head ?? chosen.h, 0, v.H - 1) };
      const what = now.what;
      all.style.setProperty("--gd-heads-left", `${place.x + v.H * (wanted() + place.gap) + 8}px`);
      mixColours();
      drawAtlas();
      choose(head, false);
      now.what = pick.value = what;
      large();
      Object.assign(root.dataset, { status: "ready", layers: String(v.L), heads: String(v.H), tokens: String(v.T),
        drawn: String(Number(root.dataset.drawn || 0) + 1), ms: (performance.now() - began).toFixed(0) });
    }
    watch("value", update);
    GD.onLook(box, (what) => {
      if (!v) return;
      if (what === "mode") mixColours();
      drawAtlas();
      drawGrid();
      large();
    });
    update();
  };
})();
