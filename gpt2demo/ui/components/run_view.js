/* RunView: asks the server for what is new, and draws a run as it goes on. */
(() => {
  const FINISHED = new Set(["done", "stopped", "failed", "interrupted"]);
  const CHUNK = 1000; // poll() sends at most this many steps; a full answer means: ask again
  const MOST = 2000; // points drawn of one series; more are thinned, keeping each stretch's lowest and highest
  const STEP = 0, TRAIN = 1, VAL = 2, RATE = 3, LENGTH = 4;

  /** Indices that keep the shape of `values` between `from` and `to`: lowest and highest of each bucket. */
  function thin(values, from, to, most) {
    const n = to - from;
    if (n <= most) return Array.from({ length: n }, (_, i) => from + i);
    const kept = [];
    const buckets = most / 2;
    for (let b = 0; b < buckets; b++) {
      const start = from + Math.floor((b * n) / buckets);
      const end = from + Math.floor(((b + 1) * n) / buckets);
      let low = start;
      let high = start;
      for (let i = start; i < end; i++) {
        if (values[i] < values[low]) low = i;
        if (values[i] > values[high]) high = i;
      }
      kept.push(Math.min(low, high));
      if (low !== high) kept.push(Math.max(low, high));
    }
    if (kept[kept.length - 1] !== to - 1) kept.push(to - 1);
    return kept;
  }

  /** Mean over about `span` records, without the bias towards the first ones. */
  function smooth(values, span) {
    const keep = 1 - 2 / (span + 1);
    let sum = 0;
    let weight = 0;
    return values.map((value) => {
      if (Number.isFinite(value)) {
        sum = keep * sum + (1 - keep) * value;
        weight = keep * weight + (1 - keep);
      }
      return weight ? sum / weight : value;
    });
  }

  /** Once a run has ended, its model is measured on all of the held-out text; until then on samples of it. */
  const final = (s) => (FINISHED.has(s.state) && Number.isFinite(s.final_val_loss) ? s.final_val_loss : null);

  const NUMBERS = [
    ["step", (s) => (s.step === undefined || s.step === null ? "–" : GD.number(s.step)), (s) => (s.steps_planned ? `of ${GD.number(s.steps_planned)}` : "steps so far")],
    ["speed", (s, last) => GD.number(last?.[5]), () => "tokens per second"],
    ["time left", (s) => (FINISHED.has(s.state) ? "–" : GD.duration(s.time_left)), (s) => (FINISHED.has(s.state) ? "finished" : "about")],
    ["validation loss", (s) => GD.number(final(s) ?? s.val_loss, 3), (s) => (final(s) !== null ? "nats per token, over all the held-out text"
      : Number.isFinite(s.best_step) ? `nats per token · best at step ${GD.number(s.best_step)}` : "nats per token; lower is better")],
    ["bits per character", (s) => GD.number(final(s) !== null ? (s.bits_per_character * final(s)) / s.val_loss : s.bits_per_character, 2), () => "lower is better"],
    ["guesses right", (s) => (Number.isFinite(s.accuracy) ? GD.percent(s.accuracy) : "–"), () => "of next tokens it has not seen"],
  ];

  GD.run = function run({ root, box, props, server, trigger, watch }) {
    const empty = GD.el("p", { class: "gd-empty", text: props.placeholder });
    const status = GD.el("p", { class: "gd-run-status", role: "status" }, GD.el("i", { "aria-hidden": "true" }), GD.el("span"));
    const cells = NUMBERS.map(([name]) => {
      const number = GD.el("span", { class: "gd-number", text: "–" });
      const unit = GD.el("small");
      return { number, unit, node: GD.el("div", {}, GD.el("dt", { text: name }), GD.el("dd", {}, number, " ", unit)) };
    });
    const unsaved = GD.el("p", { class: "gd-notice gd-notice-error gd-run-unsaved", role: "alert", hidden: true });
    const holder = GD.el("div", { class: "gd-run-chart" });
    const feed = GD.el("ol", { class: "gd-feed", tabindex: "0", "aria-label": "What the model wrote while it learned, newest first" });
    feed.style.height = `${props.feed_height}px`;
    const body = GD.el("div", { class: "gd-run", hidden: true }, status, unsaved,
      GD.el("dl", { class: "gd-stats" }, ...cells.map((cell) => cell.node)), holder,
      GD.el("div", { class: "gd-run-feed" }, GD.el("h3", { text: "What it writes" }), feed));
    empty.style.minHeight = `${props.chart_height}px`;
    const noCurve = GD.el("p", { class: "gd-run-no-curve", text: "The curve begins with its first step." });
    const bell = GD.runBell();
    const epochs = GD.runEpochs();
    const events = GD.runEvents();
    const line = GD.el("div", { class: "gd-run-line" });
    status.replaceWith(line);
    line.append(status, bell.node);
    body.append(epochs.node, events.node);
    box.append(empty, body);
    const chart = GD.chart({ box: holder, label: `${props.label}: loss`, height: props.chart_height, palette: props.palette,
      onZoom: () => draw() });
    holder.append(noCurve);

    let id = null;
    let generation = 0;
    let steps = [];
    let samples = 0;
    let snapshots = 0;
    let state = {};
    let drawing = null;
    let again = false;
    let asking = null; // the generation whose question is on its way
    let lookAgain = false; // once more after its answer, which may be from before something changed
    let pointer = null;

    function reset() {
      steps = [];
      samples = snapshots = 0;
      state = {};
      feed.replaceChildren(GD.el("li", { class: "gd-hint", text: "The first sample comes when it begins." }));
      chart.clear();
      noCurve.hidden = false;
      epochs.clear();
      bell.set(false);
      for (const cell of cells) cell.number.textContent = "–";
      Object.assign(root.dataset, { points: "0", step: "0", samples: "0", snapshots: "0", status: id ? "connecting" : "empty" });
    }

    function figure() {
      const x = steps.map((s) => s[STEP]);
      const axis = chart.plot.layout?.xaxis;
      let from = 0;
      let to = x.length;
      if (axis && axis.autorange === false && axis.range) { // zoomed in: thin only what is in view
        from = Math.max(0, x.findIndex((step) => step >= axis.range[0]) - 1);
        const after = x.findIndex((step) => step > axis.range[1]);
        to = after < 0 ? x.length : after + 1;
      }
      const train = steps.map((s) => s[TRAIN]);
      const span = Math.max(10, Math.round(steps.length / 60));
      const soft = smooth(train, span);
      const raw = thin(train, from, to, MOST);
      const calm = thin(soft, from, to, MOST / 2);
      const checked = steps.filter((s) => Number.isFinite(s[VAL]));
      const best = checked.reduce((a, b) => (a && a[VAL] <= b[VAL] ? a : b), null);
      const few = steps.length < 4;
      const line = (name, indices, values, more) => ({ type: "scatter", mode: few ? "markers" : "lines", name,
        x: indices.map((i) => x[i]), y: indices.map((i) => values[i]), ...more });
      const data = [
        line("training, each step", raw, train, { line: { color: "var(--gd-training)", width: 1 }, opacity: 0.32, hoverinfo: "skip" }),
        line(`training, mean of about ${span} steps`, calm, soft, { line: { color: "var(--gd-training)", width: 2.2 }, hovertemplate: "training %{y:.3f}<extra></extra>" }),
        { type: "scatter", mode: "lines+markers", name: "validation", x: checked.map((s) => s[STEP]), y: checked.map((s) => s[VAL]),
          line: { color: "var(--gd-validation)", width: 1.6, dash: "dot" }, marker: { color: "var(--gd-validation)", size: 7 }, hovertemplate: "validation %{y:.3f}<extra></extra>" },
        { type: "scatter", mode: "markers", name: "best validation", x: best ? [best[STEP]] : [], y: best ? [best[VAL]] : [],
          marker: { symbol: "circle-open", color: "var(--gd-validation)", size: 16, line: { width: 2.4, color: "var(--gd-validation)" } }, hovertemplate: "best so far<extra></extra>" },
        line("learning rate", thin(steps.map((s) => s[RATE]), from, to, 600), steps.map((s) => s[RATE]), { yaxis: "y2", showlegend: false,
          mode: "lines", line: { color: "var(--gd-accent)", width: 1.6 }, hovertemplate: "learning rate %{y:.2g}<extra></extra>" }),
        line("gradient length", thin(steps.map((s) => s[LENGTH]), from, to, 600), steps.map((s) => s[LENGTH]), { yaxis: "y3", showlegend: false,
          mode: "lines", line: { color: "var(--gd-training)", width: 1 }, hovertemplate: "gradient length %{y:.2g}<extra></extra>" }),
      ];
      const layout = {
        uirevision: id, hovermode: "x unified", margin: { l: 58, r: 14, t: 10, b: 44 },
        legend: { font: { size: 12 }, y: 1.01 },
        xaxis: { title: { text: "step" }, anchor: "y3", rangemode: "tozero", hoverformat: ",d", tickformat: ",d", unifiedhovertitle: { text: "step %{x:,d}" } },
        yaxis: { title: { text: "loss (nats per token)" }, domain: [0.38, 1] },
        yaxis2: { title: { text: "learning<br>rate", font: { size: 11 } }, domain: [0.2, 0.31], rangemode: "tozero", nticks: 3, tickformat: ".1g" },
        yaxis3: { title: { text: "gradient<br>length", font: { size: 11 } }, domain: [0, 0.12], rangemode: "tozero", nticks: 3, tickformat: ".2~g" },
      };
      return { figure: { data, layout }, name: `training-${id}` , csv: GD.csv([["step", "train_loss", "validation_loss", "learning_rate", "gradient_norm", "tokens_per_second", "seconds"], ...steps]) };
    }

    /** Draw once per frame at most; zoom, legend and the hover label stay. */
    async function draw() {
      if (drawing) {
        again = true;
        return;
      }
      if (!body.clientWidth || !steps.length) return;
      drawing = true;
      noCurve.hidden = true;
      const began = performance.now();
      try {
        const value = figure();
        await chart.draw(value);
        if (pointer && chart.plot.matches(":hover")) window.Plotly.Fx.hover(chart.plot, pointer, "xy");
        root.dataset.points = String(steps.length);
        root.dataset.drawms = (performance.now() - began).toFixed(0);
      } finally {
        drawing = null;
      }
      if (again) {
        again = false;
        requestAnimationFrame(draw);
      }
    }
    chart.plot.addEventListener("mousemove", (event) => { pointer = { clientX: event.clientX, clientY: event.clientY, target: event.target }; });
    chart.plot.addEventListener("mouseleave", () => { pointer = null; });

    function sampleRow(sample) {
      return GD.el("li", {}, GD.el("span", { class: "gd-feed-step", text: `step ${GD.number(sample.step)}` }),
        GD.el("p", { class: "gd-mono" }, GD.el("b", { text: sample.prompt || "" }), sample.text || ""));
    }

    /** A run that went back to go on slower made other steps: what is drawn is no longer what it did. */
    function wentBack(answer) {
      const before = state.slower?.length ?? 0;
      return steps.length > 0 && (answer.status?.slower?.length ?? 0) > before;
    }

    function take(answer) {
      if (wentBack(answer)) {
        reset();
        if (answer.steps[0]?.[STEP] !== 0) return -1; // asked for what came after; all of it is needed
      }
      const last = steps.length ? steps[steps.length - 1][STEP] : -1;
      const fresh = (answer.steps || []).filter((s) => s[STEP] > last);
      steps.push(...fresh);
      state = answer.status || {};
      const list = answer.samples || [];
      if (list.length > samples) {
        if (!samples) feed.replaceChildren();
        for (const sample of list.slice(samples)) feed.prepend(sampleRow(sample));
        samples = list.length;
      }
      const marks = answer.snapshots || [];
      if (marks.length > snapshots) {
        snapshots = marks.length;
        trigger("snapshot", { run: id, step: marks[marks.length - 1] });
      }
      const newest = steps[steps.length - 1];
      NUMBERS.forEach(([, number, unit], i) => {
        cells[i].number.textContent = number(state, newest);
        cells[i].unit.textContent = unit(state, newest);
      });
      epochs.take(answer.epochs);
      events.take(answer.events);
      bell.show(!FINISHED.has(state.state));
      say(state.state || "waiting", [place(state), state.message].filter(Boolean).join(" "));
      unsaved.hidden = !state.unsaved || FINISHED.has(state.state); // how a run ended says what is saved
      if (unsaved.textContent !== (state.unsaved || "")) unsaved.textContent = state.unsaved || "";
      root.toggleAttribute("data-diverged", Number.isFinite(state.diverged_at));
      Object.assign(root.dataset, { step: String(newest?.[STEP] ?? 0), samples: String(samples), snapshots: String(snapshots) });
      if (fresh.length) draw();
      return fresh.length;
    }

    /** Where a waiting run stands in the queue, and for about how long. */
    function place({ state: name, position, wait_seconds: wait }) {
      root.dataset.position = name === "waiting" && position ? String(position) : "";
      if (!root.dataset.position) return "";
      const before = position === 1 ? "It is the next" : `${position - 1} other${position === 2 ? " waits" : "s wait"} before it`;
      return Number.isFinite(wait) ? `${before}, in ${GD.roughly(wait)}.` : `${before}.`;
    }

    const WORDS = { waiting: "Waiting for its turn", starting: "Starting", running: "Training", paused: "Paused", stopped: "Stopped and kept",
      done: "Finished", failed: "Failed", interrupted: "Interrupted", lost: "Connection lost, retrying…", connecting: "Looking for the run…" };
    function say(name, message) {
      root.dataset.status = name;
      status.dataset.state = name;
      const word = WORDS[name] || name;
      const said = (message || "").startsWith(word.split(" ")[0]) ? [message] : [word, message]; // nothing twice
      const text = said.filter(Boolean).join(". ").replace(/([.…!?])\. /g, "$1 ");
      if (status.lastChild.textContent !== text) status.lastChild.textContent = text;
    }

    async function poll(mine) {
      if (mine !== generation || !box.isConnected) return;
      let wait = 800;
      if ((document.hidden || !body.clientWidth) && !bell.on) wait = 700;
      else {
        try {
          const after = steps.length ? steps[steps.length - 1][STEP] : -1;
          asking = mine;
          const answer = await server[props.poll_name]([id, after]);
          if (mine !== generation) return;
          asking = null;
          if (!answer || !Array.isArray(answer.steps)) throw new Error("no answer");
          if (answer.run !== undefined && answer.run !== id) throw new Error("another run answered");
          const fresh = take(answer);
          if (fresh < 0) wait = 20;
          else if (answer.steps.length >= CHUNK && fresh) wait = 20;
          else if (lookAgain) wait = 20;
          else if (FINISHED.has(state.state)) {
            draw();
            bell.ring(`gpt2demo: ${status.textContent}`);
            trigger("finished", { run: id, state: state.state });
            return;
          } else if (state.state === "paused") wait = 2000;
        } catch {
          if (mine !== generation) return;
          asking = null;
          say("lost");
          wait = 2500;
        }
        lookAgain = false;
      }
      setTimeout(() => poll(mine), wait);
    }

    /** After a reload the run of before is shown at once: the server's word comes later, and counts then. */
    let early = props.remember;
    function remembered(run) {
      if (!props.remember) return run;
      const key = `gpt2demo-shown-${root.id}`;
      try {
        const guess = new URLSearchParams(location.search).get("run") || sessionStorage.getItem(key);
        if (!early) sessionStorage.setItem(key, run);
        else if (/^[\w-]{7,16}$/.test(guess || "")) run = guess;
      } catch { /* a private window remembers nothing */ }
      early = false;
      return run;
    }

    function attach() {
      let run = "";
      try {
        run = props.value ? JSON.parse(props.value).run || "" : "";
      } catch { /* an unreadable value is no run */ }
      run = remembered(run);
      if (run === id && asking === generation) {
        lookAgain = true;
        return;
      }
      generation += 1;
      if (run !== id) {
        id = run;
        root.dataset.run = id;
        reset();
      }
      empty.hidden = Boolean(id);
      body.hidden = !id;
      if (!id) return;
      if (!steps.length) say("connecting");
      poll(generation);
    }
    watch("value", attach);
    GD.onLook(box, (what) => (what === "mode" ? draw() : steps.length && (chart.resize(), draw())));
    attach();
  };
})();
