/* Parts of RunView: the table of epochs, what happened to the run, and the button that asks to be told at its end. */
(() => {
  /** "2", or "11–20" where a row stands for several epochs. */
  const span = (row) => (row.first === row.last ? GD.number(row.first) : `${GD.number(row.first)}–${GD.number(row.last)}`);
  const each = (s) => (s < 10 ? `${s.toFixed(s < 1 ? 2 : 1)} s` : GD.duration(s));

  /** A table that grows: `take` gets rows that are new, or that have become longer since they were last told. */
  GD.runEpochs = function runEpochs() {
    const body = GD.el("tbody");
    const lines = new Map();
    const head = (text, unit) => GD.el("th", { scope: "col", text }, " ", GD.el("small", { text: unit }));
    const node = GD.el("details", { class: "gd-run-more gd-run-epochs", hidden: true },
      GD.el("summary", { text: "Each time through the text (epoch)" }),
      GD.el("div", { class: "gd-scroll", tabindex: "0", role: "region", "aria-label": "Epochs" }, GD.el("table", { class: "gd-results" },
        GD.el("thead", {}, GD.el("tr", {}, head("Epoch", ""), head("Training loss", "mean"), head("Validation loss", "newest"), head("Time", "per epoch"))), body)));
    return {
      node,
      clear() {
        lines.clear();
        body.replaceChildren();
        node.hidden = true;
      },
      take(rows) {
        for (const row of rows || []) {
          const line = GD.el("tr", {}, GD.el("th", { scope: "row", text: span(row) }), GD.el("td", { text: GD.number(row.train_loss, 3) }),
            GD.el("td", { text: GD.number(row.val_loss, 3) }), GD.el("td", { text: row.seconds === null ? "goes on" : each(row.seconds) }));
          if (lines.has(row.first)) lines.get(row.first).replaceWith(line);
          else body.append(line);
          lines.set(row.first, line);
        }
        node.hidden = !lines.size;
      },
    };
  };

  /** The newest sentences of the run's diary, the newest first. */
  GD.runEvents = function runEvents() {
    const list = GD.el("ol", { class: "gd-run-events" });
    const node = GD.el("details", { class: "gd-run-more", hidden: true }, GD.el("summary", { text: "What happened to this run" }), list);
    let told = "";
    return {
      node,
      take(events) {
        const now = JSON.stringify(events || []);
        if (now === told) return;
        told = now;
        list.replaceChildren(...(events || []).map(([time, text]) => GD.el("li", {},
          GD.el("time", { datetime: new Date(1000 * time).toISOString(), text: new Date(1000 * time).toLocaleTimeString("en-GB") }), " ", text)).reverse());
        node.hidden = !list.childElementCount;
      },
    };
  };

  const OFF = "Tell me when it is done";
  const ON = "You will be told when it is done";
  const REFUSED = "Your browser allows no messages from this page";

  /** The browser's own message at the end of a run; nothing is asked for before somebody presses the button. */
  GD.runBell = function runBell() {
    const node = GD.el("button", { type: "button", class: "gd-tool gd-run-bell", "aria-pressed": "false", text: OFF, hidden: true });
    const can = "Notification" in window && window.isSecureContext;
    const bell = {
      node,
      on: false,
      set(on, text = on ? ON : OFF) {
        bell.on = on;
        node.setAttribute("aria-pressed", String(on));
        node.textContent = text;
      },
      show(unfinished) {
        node.hidden = !can || !unfinished;
      },
      ring(title) {
        if (!bell.on) return;
        bell.set(false);
        try {
          const message = new Notification(title);
          message.onclick = () => { window.focus(); message.close(); };
        } catch { /* some phones show messages of installed pages only */ }
      },
    };
    node.addEventListener("click", async () => {
      if (bell.on) return bell.set(false);
      const answer = Notification.permission === "default" ? await Notification.requestPermission() : Notification.permission;
      return answer === "granted" ? bell.set(true) : bell.set(false, REFUSED);
    });
    return bell;
  };
})();
