/* The drawer that sends a model to the Hub. The token goes out with one event and is forgotten here at once. */
(() => {
  /** button makes one; again(ref) draws the drawer of that model anew. → what a drawer holds, who hears news */
  GD.modelSender = function modelSender({ w, root, button, trigger, again }) {
    const pushes = new Map(); // ref → what was last said of the model on its way
    let sending = null; // {ref, nonce} of that model

    /** A field with its words above it. */
    function field(label, more) {
      const input = GD.el("input", { type: "text", class: "gd-models-field gd-mono", ...more });
      return { input, node: GD.el("label", { class: "gd-models-labelled" }, GD.el("span", { text: label }), input) };
    }

    function check(label, checked) {
      const input = GD.el("input", { type: "checkbox", checked });
      return { input, node: GD.el("label", { class: "gd-check" }, input, GD.el("span", { text: label })) };
    }

    function drawer(row) {
      const news = pushes.get(row.record.ref);
      const title = GD.el("p", { class: "gd-models-label", text: w.push_label });
      if (news?.url) {
        const link = GD.el("a", { href: news.url, target: "_blank", rel: "noopener", class: "gd-models-link", text: news.url });
        return [title, GD.el("p", { role: "status" }, `${w.push_done} `, link),
          button(w.push_again, () => { pushes.delete(row.record.ref); again(row.record.ref); }, "gd-models-button")];
      }
      if (sending?.ref === row.record.ref) return [title, GD.el("p", { class: "gd-models-packing", role: "status", text: news?.doing || w.push_busy })];
      const suggested = row.record.title.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60);
      const name = field(w.push_name, { value: news?.name ?? suggested, maxlength: "96", spellcheck: "false" });
      const token = field(w.push_token, { type: "password", autocomplete: "off", placeholder: "hf_…", maxlength: "4000" });
      const isPrivate = check(w.push_private, news?.private ?? true);
      const overwrite = check(w.push_overwrite, false);
      const send = () => {
        sending = { ref: row.record.ref, nonce: `${Date.now()}-${Math.random()}` };
        const wish = { ...sending, name: name.input.value.trim(), token: token.input.value.trim(), private: isPrivate.input.checked, overwrite: overwrite.input.checked };
        pushes.set(row.record.ref, { name: wish.name, private: wish.private });
        again(row.record.ref);
        trigger("push", wish);
      };
      name.input.addEventListener("keydown", (event) => { if (event.key === "Enter") token.input.focus(); });
      token.input.addEventListener("keydown", (event) => { if (event.key === "Enter") send(); });
      const refused = news?.failed ? GD.el("p", { class: "gd-models-refused", role: "alert", text: news.failed }) : null;
      return [title, GD.el("p", { class: "gd-hint", text: w.push_hint }), refused, GD.el("div", { class: "gd-models-fields" }, name.node, token.node),
        GD.el("p", { class: "gd-hint", text: w.push_token_hint }), GD.el("div", { class: "gd-models-checks" }, isPrivate.node, overwrite.node),
        button(w.push_go, send, "gd-models-button gd-models-go")].filter(Boolean);
    }

    /** News of a model on its way to the Hub; what was typed is kept when it is refused, but for the token. */
    function told(news) {
      if (!sending || (!news.failed && news.nonce !== sending.nonce)) return;
      const ref = sending.ref;
      pushes.set(ref, { ...pushes.get(ref), ...news });
      if (news.failed || news.url) sending = null;
      root.dataset.push = news.failed ? "failed" : news.url || "sending";
      again(ref);
    }

    return { drawer, news: told };
  };
})();
