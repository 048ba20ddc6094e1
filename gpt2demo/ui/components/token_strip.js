/* TokenStrip: tokens as chips ("strip") or as one text ("flow"), appended from NDJSON as it arrives. */
(window.GD ||= {}).tokens = function tokens({ root, box, props, trigger, watch }) {
  const flow = props.mode === "flow";
  const list = GD.el("div", { class: `gd-tokens gd-tokens-${flow ? "flow" : "strip"}`, role: "listbox",
    "aria-label": props.label, "aria-orientation": "horizontal" });
  const thumbs = matchMedia("(max-width: 640px), (pointer: coarse)").matches; // as in components.css
  const line = flow ? (thumbs ? 38 : 28) : thumbs ? 41 : 36;
  list.style.minHeight = `${props.min_lines * line}px`;
  if (props.max_lines) list.style.maxHeight = `${props.max_lines * line}px`;
  const empty = GD.el("p", { class: "gd-tokens-empty", text: props.placeholder });
  const legend = GD.el("div", { class: "gd-tint-legend", hidden: true },
    GD.el("span", { text: "expected" }), GD.el("i", { "aria-hidden": "true" }), GD.el("span", { text: "surprising" }));
  const note = GD.el("p", { class: "gd-hint gd-tokens-note", role: "status" });
  box.append(list, legend, note);

  let records = [];
  let spans = [];
  let selected = null;
  let focus = 0;

  function reset() {
    records = [];
    spans = [];
    selected = null;
    focus = 0;
    list.replaceChildren(empty);
    note.textContent = "";
    legend.hidden = true;
    root.dataset.status = "empty";
    delete root.dataset.selected;
  }

  function write(span, record) {
    const text = flow ? record.raw ?? record.t : record.t;
    if (!flow || !text.includes("\n")) {
      span.textContent = text;
      return;
    }
    text.split("\n").forEach((part, i) => {
      if (i) span.append(GD.el("i", { class: "gd-newline", "aria-hidden": "true" }), "\n");
      if (part) span.append(part);
    });
  }

  function describe(record, i) {
    const parts = [`token ${i}: ${record.t}`];
    if (record.p !== undefined && record.p !== null) parts.push(GD.percent(record.p), `rank ${record.r ?? "?"}`);
    if (record.prompt) parts.push("prompt");
    if (record.m) parts.push(record.m);
    return parts.join(", ");
  }

  function append(record) {
    const i = records.length;
    const span = GD.el("span", { class: record.prompt ? "gd-token gd-prompt" : "gd-token", role: "option",
      "aria-label": describe(record, i), "aria-selected": "false", tabindex: i === 0 ? "0" : "-1", "data-i": String(i) });
    write(span, record);
    if (record.m) span.classList.add("gd-marked");
    if (Number.isFinite(record.s)) {
      span.style.setProperty("--s", String(Math.min(1, Math.max(0, record.s))));
      span.classList.add("gd-tinted");
      if (props.legend) legend.hidden = false;
    }
    records.push(record);
    spans.push(span);
    return span;
  }

  function select(i) {
    if (selected !== null) spans[selected]?.setAttribute("aria-selected", "false");
    selected = Number.isInteger(i) && spans[i] ? i : null;
    if (selected === null) delete root.dataset.selected;
    else {
      spans[selected].setAttribute("aria-selected", "true");
      root.dataset.selected = String(selected);
    }
  }

  function update() {
    const lines = news();
    const stick = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
    const fresh = document.createDocumentFragment();
    for (const text of lines) {
      let record;
      try {
        record = JSON.parse(text);
      } catch {
        continue;
      }
      if (typeof record.t === "string") fresh.append(append(record));
      else if ("select" in record) select(record.select);
      else if (typeof record.status === "string") {
        root.dataset.status = record.status;
        note.textContent = record.message || "";
      }
    }
    if (fresh.childNodes.length) {
      empty.remove();
      list.append(fresh);
      if (root.dataset.status === "empty") root.dataset.status = "ready";
    }
    if (stick) list.scrollTop = list.scrollHeight;
    publish();
  }

  function publish() {
    root.dataset.tokens = String(records.length);
    list.classList.toggle("gd-writing", root.dataset.status === "running");
  }

  const fact = (name, value) => [GD.el("dt", { text: name }), GD.el("dd", { text: value })];

  function fill(node, i) {
    const k = records[i];
    node.append(GD.el("div", { class: "gd-tip-head" },
      GD.el("b", { class: "gd-mono", text: k.t }), GD.el("span", { text: `token ${i}${k.prompt ? " · from the prompt" : ""}` })));
    const facts = GD.el("dl", { class: "gd-tip-facts" });
    if (Number.isFinite(k.p)) facts.append(...fact("probability", GD.percent(k.p)));
    if (Number.isFinite(k.r)) facts.append(...fact("rank", k.r === 1 ? "1 (the most likely)" : GD.number(k.r)));
    if (Number.isFinite(k.h)) facts.append(...fact("undecidedness (entropy)", `${k.h.toFixed(2)} bits`));
    if (k.b) facts.append(...fact("bytes", k.b));
    node.append(facts);
    if (k.m) node.append(GD.el("p", {}, GD.el("span", { class: "gd-marked", text: k.m })));
    if (!k.a?.length) return;
    const table = GD.el("div", { class: "gd-tip-bars" });
    const top = Math.max(...k.a.map((pair) => pair[1]), 1e-9);
    for (const [text, share] of k.a.slice(0, 8)) {
      const bar = GD.el("i", { "aria-hidden": "true" });
      bar.style.setProperty("--w", `${(100 * share) / top}%`);
      table.append(GD.el("span", { class: "gd-mono", text }), bar, GD.el("span", { class: "gd-number", text: GD.percent(share) }));
    }
    node.append(GD.el("p", { text: "The model's choices here:" }), table);
  }

  const indexOf = (event) => {
    const span = event.target.closest?.(".gd-token");
    return span && list.contains(span) ? Number(span.dataset.i) : null;
  };
  const show = (i) => {
    const rects = spans[i].getClientRects();
    GD.tip.show(rects[0] || spans[i].getBoundingClientRect(), (node) => fill(node, i), list);
    spans[i].setAttribute("aria-describedby", "gd-tip");
  };
  list.addEventListener("mouseover", (event) => {
    const i = indexOf(event);
    if (i === null) GD.tip.hide(list);
    else show(i);
  });
  list.addEventListener("mouseleave", () => GD.tip.hide(list));
  list.addEventListener("focusin", (event) => {
    const i = indexOf(event);
    if (i === null) return;
    spans[focus]?.setAttribute("tabindex", "-1");
    focus = i;
    spans[i].setAttribute("tabindex", "0");
    if (spans[i].matches(":focus-visible")) show(i);
  });
  list.addEventListener("focusout", () => GD.tip.hide(list));
  const choose = (i) => {
    select(i);
    trigger("token", { index: i, text: records[i].t });
  };
  list.addEventListener("click", (event) => {
    const i = indexOf(event);
    if (i !== null) choose(i);
  });
  list.addEventListener("keydown", (event) => {
    const i = indexOf(event);
    if (i === null) return;
    const to = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: spans.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      spans[Math.min(Math.max(to, 0), spans.length - 1)].focus();
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(i);
    } else if (event.key === "Escape") GD.tip.hide(list);
  });

  const news = GD.lines(props, reset);
  reset();
  watch("value", update);
  update();
};
