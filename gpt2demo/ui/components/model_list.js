/* ModelList: the models one can take in hand. Rows stay in place while their numbers change. */
(() => {
  const EVERY = 3000; // ms between two looks while a run in the list is at work
  const DRAWERS = ["share", "export", "push", "command", "rename", "delete"];

  /** Copy a text, also where the browser keeps the clipboard from pages without https. */
  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = GD.el("textarea", { class: "gd-sr", "aria-hidden": "true", tabindex: "-1" });
      const before = document.activeElement;
      area.value = text;
      document.body.append(area);
      area.select();
      let done = false;
      try {
        done = document.execCommand("copy");
      } catch { /* then the person does it */ }
      area.remove();
      before?.focus();
      return done;
    }
  }

  GD.models = function models({ root, box, props, trigger, watch }) {
    const w = props.words;
    const rows = new Map(); // ref → row
    const parcels = new Map(); // ref → what became of the last wish to export it
    let waiting = null; // {ref, nonce} of the export that is being packed
    let records = [];

    const said = GD.el("p", { class: "gd-sr", role: "status", "aria-live": "polite" });
    const groups = w.groups.map((group) => {
      const list = GD.el("ul", { class: "gd-models-rows", "aria-label": group.title });
      const empty = group.empty ? GD.el("div", { class: "gd-empty gd-models-empty", hidden: true }, GD.el("p", { text: group.empty })) : null;
      const train = document.getElementById("tab-train-button");
      if (empty && train) empty.append(button(w.to_train, () => train.click(), "gd-models-take"));
      const node = GD.el("section", { class: "gd-models-group", hidden: true }, GD.el("h3", { text: group.title }),
        group.hint ? GD.el("p", { class: "gd-hint", text: group.hint }) : null, list, empty);
      return { ...group, list, empty, node };
    });
    box.append(...groups.map((group) => group.node), said);

    const sender = GD.modelSender({ w, root, button, trigger, again: (ref) => rows.get(ref)?.open === "push" && open(rows.get(ref), "push") });

    function button(text, action, look = "gd-models-tool", more = {}) {
      return GD.el("button", { type: "button", class: look, text, onclick: action, ...more });
    }

    function copyButton(text) {
      const one = button(w.copy, async () => {
        const done = await copied(text());
        one.textContent = said.textContent = done ? w.copied : w.not_copied;
        if (done) root.dataset.copied = text();
        setTimeout(() => (one.textContent = w.copy), 2500);
      }, "gd-models-button");
      return one;
    }

    /** A text to take away: it can be selected, and copied with a button. */
    function line(label, text) {
      const field = GD.el("input", { type: "text", readonly: true, value: text, class: "gd-models-field gd-mono", "aria-label": label,
        onfocus: () => field.select() });
      return GD.el("div", { class: "gd-models-line" }, field, copyButton(() => text));
    }

    /* ---------- the drawers: one function each, → what it holds ---------- */
    const drawers = {
      share(row) {
        const link = `${location.origin}${location.pathname}?run=${encodeURIComponent(row.record.id)}`;
        return [GD.el("p", { class: "gd-models-label", text: w.share_label }), line(w.share_label, link), GD.el("p", { class: "gd-hint", text: w.share_hint })];
      },
      command(row) {
        return [GD.el("p", { class: "gd-models-label", text: w.command_label }), line(w.command_label, row.record.command)];
      },
      export(row) {
        const parcel = parcels.get(row.record.ref);
        if (!parcel) return [GD.el("p", { class: "gd-models-packing", role: "status", text: w.packing })];
        if (parcel.failed) return [GD.el("p", { role: "alert", text: w.not_packed }), button(w.retry, () => pack(row), "gd-models-button")];
        const link = GD.el("a", { href: parcel.address, download: parcel.name, class: "gd-models-link", text: `${w.again}: ${parcel.name} (${parcel.size})` });
        const notices = parcel.notices.map((text) => GD.el("p", { class: "gd-models-notice", text }));
        return [GD.el("p", { role: "status" }, `${w.packed} `, link), ...notices,
          GD.el("p", { class: "gd-hint", text: notices.length ? w.only_here : w.unpacked }),
          GD.el("div", { class: "gd-models-line" }, GD.el("pre", { class: "gd-mono gd-models-code", tabindex: "0", text: parcel.code }), copyButton(() => parcel.code))];
      },
      push: (row) => sender.drawer(row),
      rename(row) {
        const field = GD.el("input", { type: "text", class: "gd-models-field", value: row.record.title, "aria-label": w.title_label, maxlength: "200" });
        const save = () => {
          if (field.value.trim() === row.record.title) return open(row, null, true);
          trigger("rename", { ref: row.record.ref, title: field.value });
        };
        field.addEventListener("keydown", (event) => { if (event.key === "Enter") save(); });
        return [GD.el("p", { class: "gd-models-label", text: w.title_label }),
          GD.el("div", { class: "gd-models-line" }, field, button(w.save, save, "gd-models-button"), button(w.cancel, () => open(row, null, true))),
          GD.el("p", { class: "gd-hint", text: w.title_hint })];
      },
      delete(row) {
        if (row.record.working) return [GD.el("p", { role: "alert", text: w.delete_busy }), button(w.close, () => open(row, null, true), "gd-models-button")];
        return [GD.el("p", { class: "gd-models-label", text: w.delete_what }), GD.el("p", { text: w.delete_lost }),
          GD.el("div", { class: "gd-models-line" },
            button(w.delete_yes, () => trigger("remove", { ref: row.record.ref }), "gd-models-button gd-models-danger"),
            button(w.delete_no, () => open(row, null, true), "gd-models-button"))];
      },
    };

    function open(row, kind, giveFocusBack = false) {
      const before = row.open;
      row.open = kind;
      for (const name of DRAWERS) row.tools[name].setAttribute("aria-expanded", String(name === kind));
      row.drawer.hidden = !kind;
      row.drawer.replaceChildren(...(kind ? drawers[kind](row) : []));
      if (kind) row.node.dataset.drawer = kind;
      else delete row.node.dataset.drawer;
      if (kind && !["export", "push"].includes(kind)) row.drawer.querySelector("input, button")?.focus({ preventScroll: false });
      if (!kind && giveFocusBack && before) row.tools[before].focus();
    }

    function pack(row) {
      parcels.delete(row.record.ref);
      waiting = { ref: row.record.ref, nonce: `${Date.now()}-${Math.random()}` };
      open(row, "export");
      trigger("pack", waiting);
    }

    function delivered(news) {
      if (!waiting || (!news.failed && news.nonce !== waiting.nonce)) return;
      const row = rows.get(waiting.ref);
      parcels.set(waiting.ref, news);
      waiting = null;
      root.dataset.export = news.failed ? "failed" : news.name;
      if (row?.open !== "export") return;
      open(row, "export");
      row.drawer.querySelector("a")?.click();
    }

    /* ---------- rows ---------- */
    function makeRow() {
      const row = { record: null, open: null };
      row.curve = GD.el("i", { class: "gd-models-curve", role: "img" });
      row.curveName = GD.el("small", { class: "gd-hint" });
      row.title = GD.el("h4", { class: "gd-models-title" });
      row.state = GD.el("span", { class: "gd-models-state" });
      row.facts = GD.el("p", { class: "gd-models-facts" });
      row.message = GD.el("p", { class: "gd-models-message", hidden: true });
      row.loss = GD.el("span", { class: "gd-number" });
      row.lossNote = GD.el("small");
      row.bits = GD.el("span", { class: "gd-number" });
      row.take = button("", () => trigger("take", { ref: row.record.ref }), "gd-models-take");
      row.tools = Object.fromEntries(DRAWERS.map((kind) => [kind, button(w[kind], () => {
        if (row.open === kind) open(row, null, true);
        else if (kind === "export") pack(row);
        else open(row, kind);
      }, kind === "command" ? "gd-models-tool gd-full" : "gd-models-tool", { "aria-expanded": "false" })]));
      row.drawer = GD.el("div", { class: "gd-models-drawer", hidden: true, onkeydown: (event) => { if (event.key === "Escape") open(row, null, true); } });
      row.node = GD.el("li", { class: "gd-models-row" },
        GD.el("div", { class: "gd-models-picture" }, row.curve, row.curveName),
        GD.el("div", { class: "gd-models-words" }, GD.el("div", { class: "gd-models-head" }, row.title, row.state), row.facts, row.message),
        GD.el("dl", { class: "gd-models-numbers" },
          GD.el("div", {}, GD.el("dt", { text: w.loss }), GD.el("dd", {}, row.loss, " ", row.lossNote)),
          GD.el("div", {}, GD.el("dt", { text: w.bits }), GD.el("dd", {}, row.bits))),
        GD.el("div", { class: "gd-models-hand" }, row.take),
        GD.el("div", { class: "gd-models-tools" }, ...DRAWERS.map((kind) => row.tools[kind])), row.drawer);
      return row;
    }

    function fill(row, r) {
      const old = row.record;
      row.record = r;
      Object.assign(row.node.dataset, { ref: r.ref, state: r.state, hand: String(r.in_hand), group: r.group });
      row.title.textContent = r.title;
      row.state.textContent = r.group === "starter" ? "" : r.state_words;
      const made = r.created ? [`${w.made} ${new Date(1000 * r.created).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`] : [];
      row.facts.replaceChildren(...[...r.facts, ...made].map((text) => GD.el("span", { text })));
      row.message.textContent = r.message;
      row.message.hidden = !r.message;
      row.loss.textContent = r.loss;
      row.lossNote.textContent = r.loss_note;
      row.bits.textContent = r.bits;
      for (const one of [row.loss, row.bits]) one.closest("dl > div").hidden = one.textContent === w.unknown;
      row.curve.style.setProperty("--curve", r.curve ? `url("data:image/svg+xml;base64,${btoa(r.curve)}")` : "none");
      row.curve.className = `gd-models-curve gd-models-${r.curve_kind || "blank"}`;
      const label = /aria-label="([^"]*)"/.exec(r.curve)?.[1] || "";
      row.curve.setAttribute("aria-label", `${r.curve_kind} ${label}`.trim());
      row.curve.title = label;
      row.curveName.textContent = r.curve_kind ? `${r.curve_kind} loss` : "";
      row.take.textContent = !r.ready ? w.no_weights : !r.in_hand ? w.take : r.at_step === null ? w.in_hand : `${w.in_hand}, ${w.at_step} ${GD.number(r.at_step)}`;
      row.take.setAttribute("aria-pressed", String(r.in_hand));
      row.take.setAttribute("aria-label", `${row.take.textContent}: ${r.title}`);
      row.take.disabled = !r.ready;
      const offered = { share: r.id !== null, export: r.ready, push: r.ready, command: Boolean(r.command), rename: r.group === "own", delete: r.group === "own" };
      for (const kind of DRAWERS) {
        row.tools[kind].hidden = !offered[kind];
        row.tools[kind].setAttribute("aria-label", `${w[kind]}: ${r.title}`);
      }
      if (row.open && !offered[row.open]) open(row, null);
      else if (row.open === "delete" && old && old.working !== r.working) open(row, "delete");
    }

    function update() {
      let value;
      try {
        value = JSON.parse(props.value || "{}");
      } catch {
        root.dataset.status = "error";
        return;
      }
      if (!Array.isArray(value.rows)) {
        root.dataset.status = "empty";
        return;
      }
      records = value.rows;
      const here = new Set(records.map((record) => record.ref));
      for (const [ref, row] of rows) {
        if (here.has(ref)) continue;
        const hadFocus = row.node.contains(document.activeElement);
        row.node.remove();
        rows.delete(ref);
        if (hadFocus) box.querySelector(".gd-models-take")?.focus();
      }
      for (const group of groups) {
        const mine = records.filter((record) => record.group === group.key);
        let before = null;
        for (const record of mine) {
          const row = rows.get(record.ref) || makeRow();
          rows.set(record.ref, row);
          fill(row, record);
          const next = before ? before.nextSibling : group.list.firstChild;
          if (next !== row.node) group.list.insertBefore(row.node, next); // a row in its place stays untouched
          before = row.node;
        }
        group.list.hidden = !mine.length;
        if (group.empty) group.empty.hidden = Boolean(mine.length);
        group.node.hidden = !mine.length && !group.empty;
      }
      Object.assign(root.dataset, { status: "ready", models: String(records.length),
        own: String(records.filter((record) => record.group === "own").length), hand: records.find((record) => record.in_hand)?.ref || "" });
      if (value.export) delivered(value.export);
      if (value.push) sender.news(value.push);
      const renamed = rows.get(value.renamed);
      if (renamed?.open === "rename") open(renamed, null, true);
    }

    /* ---------- looking again: when the tab is opened anew, and while something in it changes ---------- */
    let away = false;
    new ResizeObserver(() => {
      if (!box.clientWidth) away = true;
      else if (away) {
        away = false;
        trigger("look", {});
      }
    }).observe(box);
    const clock = setInterval(() => {
      if (!box.isConnected) clearInterval(clock);
      else if (box.clientWidth && !document.hidden && records.some((record) => record.working || record.state === "waiting")) trigger("look", {});
    }, EVERY);

    root.dataset.status = "empty";
    watch("value", update);
    update();
  };
})();
