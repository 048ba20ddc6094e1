/* What every component shares. Data reaches the DOM through textContent only. */
window.GD = Object.assign(window.GD || {}, {
  /** Start a component once its template is in the DOM. `root` is the block that carries elem_id. */
  start(name, element, api) {
    const root = element.closest(".block") || element;
    const box = element.querySelector(".gd-widget") || element;
    const fit = () => {
      const width = box.clientWidth;
      if (!width) return;
      box.classList.toggle("gd-narrow", width < 900);
      box.classList.toggle("gd-tiny", width < 520);
    };
    fit();
    new ResizeObserver(fit).observe(box);
    try {
      window.GD[name]({ root, box, ...api });
    } catch (error) {
      root.dataset.status = "error";
      box.textContent = "This part of the page could not start. Reload the page; if it stays, tell your teacher.";
      console.error(error);
    }
  },

  /** Make an element: el("p", {class: "x", text: "…", onclick: fn}, child, …). */
  el(tag, options = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(options)) {
      if (value === undefined || value === null || value === false) continue;
      if (key === "text") node.textContent = value;
      else if (key === "class") node.className = value;
      else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  },

  /** Lines of a value that only grows: the first names the text. `reset(name)` hears of another text; → what is new. */
  lines(props, reset) {
    let text = null;
    let used = 0;
    return () => {
      const value = typeof props.value === "string" ? props.value : "";
      const first = value.indexOf("\n");
      const name = first < 0 ? null : value.slice(0, first);
      if (name !== text || value.length < used) {
        text = name;
        used = first + 1;
        reset(name);
      }
      const end = Math.max(used, value.lastIndexOf("\n") + 1);
      const fresh = value.slice(used, end).split("\n").filter(Boolean);
      used = end;
      return fresh;
    };
  },

  css(name) {
    return getComputedStyle(document.body).getPropertyValue(name).trim();
  },

  /** "var(--gd-ink)" or a light colour that the palette knows → the colour of the current mode. */
  colour(text, palette = {}) {
    const found = /^var\((--gd-[a-z-]+)\)$/.exec(text)?.[1] || palette[text.toLowerCase()];
    if (!found) return text;
    if (found.startsWith("--")) return GD.css(found);
    return document.body.classList.contains("dark") ? found : text;
  },

  rgb(text) {
    const context = (GD.probe ||= document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data;
  },

  /** Call `redraw` when the mode or the width changes; both only while the component is on the page. */
  onLook(box, redraw) {
    let dark = document.body.classList.contains("dark");
    new MutationObserver(() => {
      const now = document.body.classList.contains("dark");
      if (now !== dark && box.isConnected) {
        dark = now;
        redraw("mode");
      }
    }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    let width = 0;
    let asked = 0;
    new ResizeObserver(() => {
      const now = box.clientWidth;
      if (now === width) return;
      width = now;
      if (!now) return; // in a closed tab: drawn again when it opens
      cancelAnimationFrame(asked);
      asked = requestAnimationFrame(() => redraw("size"));
    }).observe(box);
  },

  /** A probability as people say it: 47 %, 4.7 %, 0.05 %, 0.00012 %. */
  percent(p) {
    const v = 100 * p;
    if (!Number.isFinite(v)) return "–";
    if (v >= 99.95) return "100 %";
    if (v >= 10) return `${v.toFixed(0)} %`;
    if (v >= 1) return `${v.toFixed(1)} %`;
    if (v >= 0.01) return `${v.toFixed(2)} %`;
    return v > 0 ? `${Number(v.toPrecision(2)).toString()} %` : "0 %";
  },

  number(v, digits = 0) {
    if (v === null || v === undefined || !Number.isFinite(Number(v))) return "–";
    return Number(v).toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  },

  duration(seconds) {
    if (seconds === null || seconds === undefined || !Number.isFinite(Number(seconds))) return "–";
    const s = Math.max(0, Math.round(seconds));
    if (s < 90) return `${s} s`;
    if (s < 5400) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
    return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  },

  /** A time that is only foretold: about 40 s, about 3 min, about 2 h. */
  roughly(seconds) {
    if (seconds < 55) return `about ${Math.max(10, 10 * Math.round(seconds / 10))} s`;
    if (seconds < 5400) return `about ${Math.max(1, Math.round(seconds / 60))} min`;
    return `about ${Math.round(seconds / 3600)} h`;
  },

  download(name, data, type) {
    const blob = data instanceof Blob ? data : new Blob([data], { type });
    const link = GD.el("a", { href: URL.createObjectURL(blob), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  },

  csv(rows) {
    const cell = (v) => {
      const text = v === null || v === undefined ? "" : String(v);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return "\ufeff" + rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  },

  fileName(text) {
    return String(text || "gpt2demo").replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+/, "").slice(0, 80) || "gpt2demo";
  },

  /** One tooltip for the whole page. `fill(box)` puts nodes into it; it is placed by a rectangle. */
  tip: {
    node: null,
    show(rect, fill, owner) {
      const node = (this.node ||= document.body.appendChild(
        GD.el("div", { class: "gd-tip", role: "tooltip", id: "gd-tip", hidden: true })));
      if (node.parentNode !== document.body) document.body.append(node);
      node.replaceChildren();
      fill(node);
      node.hidden = false;
      this.owner = owner;
      const box = node.getBoundingClientRect();
      const left = Math.min(Math.max(8, rect.left), innerWidth - box.width - 8);
      const below = rect.bottom + 8 + box.height < innerHeight;
      node.style.left = `${Math.max(8, left)}px`;
      node.style.top = `${below ? rect.bottom + 8 : Math.max(8, rect.top - box.height - 8)}px`;
    },
    hide(owner) {
      if (this.node && (!owner || owner === this.owner)) this.node.hidden = true;
    },
  },
});
for (const moved of ["wheel", "touchmove"]) addEventListener(moved, () => GD.tip.hide(), { passive: true });
