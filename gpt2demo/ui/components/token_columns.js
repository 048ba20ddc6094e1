/* TokenColumns: up to four texts side by side, each a TokenStrip. A line of the value is "column {json}". */
(window.GD ||= {}).columns = function columns({ root, box, props, trigger, watch }) {
  const grid = GD.el("div", { class: "gd-columns" });
  box.append(grid);
  let nonce = null;
  let parts = [];
  let active = 0;

  function make(i) {
    const title = GD.el("h3", { class: "gd-column-title" });
    const pin = GD.el("button", { type: "button", class: "gd-tool gd-pin", text: props.pin, "aria-pressed": "false",
      title: props.pin_hint, hidden: true });
    const body = GD.el("div");
    const section = GD.el("section", { class: "gd-column", "aria-label": `${props.label} ${i + 1}` },
      GD.el("header", {}, title, pin), body);
    const own = { ...props.strip, label: `${props.label} ${i + 1}`, value: `${nonce}\n` };
    const part = { section, title, pin, own, update: () => {} };
    pin.addEventListener("click", () => {
      const pinned = pin.getAttribute("aria-pressed") !== "true";
      pin.setAttribute("aria-pressed", String(pinned));
      trigger("pin", { column: i, pinned });
    });
    const heard = (name, data) => {
      activate(i);
      publish();
      trigger(name, { ...data, column: i });
    };
    GD.tokens({ root: section, box: body, props: own, trigger: heard, watch: (_, update) => { part.update = update; } });
    grid.append(section);
    return part;
  }

  function part(i) {
    while (parts.length <= i) parts.push(make(parts.length));
    return parts[i];
  }

  function activate(i) {
    active = i;
    parts.forEach((other, k) => {
      other.section.classList.toggle("gd-active", k === i);
      if (k !== i && other.section.dataset.selected !== undefined) add(other, '{"select": null}');
    });
  }

  function add(to, line) {
    to.own.value += `${line}\n`;
    to.update();
  }

  function reset(name = null) {
    nonce = name;
    grid.replaceChildren();
    parts = [];
    active = 0;
    part(0);
  }

  function head(to, { title, pinned }) {
    to.title.textContent = title;
    to.pin.hidden = false;
    to.pin.setAttribute("aria-pressed", String(Boolean(pinned)));
  }

  function update() {
    const fresh = new Map(); // all that came for a column is drawn at once
    for (const line of news()) {
      const found = /^([0-3]) (\{.*)$/.exec(line);
      if (!found) continue;
      const i = Number(found[1]);
      if (found[2].startsWith('{"title"')) head(part(i), JSON.parse(found[2]));
      else fresh.set(i, `${fresh.get(i) || ""}${found[2]}\n`);
      if (found[2].startsWith('{"select"')) activate((part(i), i));
    }
    for (const [i, lines] of fresh) {
      part(i).own.value += lines;
      part(i).update();
    }
    publish();
  }

  function publish() {
    const all = parts.map((each) => each.section.dataset);
    const states = all.map((each) => each.status);
    root.dataset.status = ["running", "waiting", "failed", "stopped", "done"].find((state) => states.includes(state)) || states[0];
    root.dataset.tokens = String(all.reduce((sum, each) => sum + Number(each.tokens || 0), 0));
    root.dataset.columns = String(parts.length);
    root.dataset.text = nonce || "";
    root.dataset.active = String(active);
    grid.classList.toggle("gd-several", parts.length > 1);
  }

  const news = GD.lines(props, reset);
  reset();
  watch("value", update);
  update();
};
