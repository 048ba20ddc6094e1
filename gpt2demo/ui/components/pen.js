/* Two pens with one handwriting: the same drawing goes to a canvas or into an SVG file. */
Object.assign((window.GD ||= {}), {
  canvasPen(canvas, width, height, scale = devicePixelRatio || 1) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const c = canvas.getContext("2d");
    c.scale(scale, scale);
    c.textBaseline = "middle";
    return {
      context: c,
      rect(x, y, w, h, fill) {
        c.fillStyle = fill;
        c.fillRect(x, y, w, h);
      },
      frame(x, y, w, h, stroke, thick = 1) {
        c.strokeStyle = stroke;
        c.lineWidth = thick;
        c.strokeRect(x, y, w, h);
      },
      text(x, y, text, { fill, size = 12, align = "left", bold = false, turn = 0, family = "--gd-mono" }) {
        c.save();
        c.translate(x, y);
        c.rotate((turn * Math.PI) / 180);
        c.font = `${bold ? "700" : "400"} ${size}px ${GD.css(family)}`;
        c.textAlign = align;
        c.fillStyle = fill;
        c.fillText(text, 0, 0);
        c.restore();
      },
      curve(x1, y1, x2, y2, stroke, thick, alpha) {
        c.globalAlpha = alpha;
        c.strokeStyle = stroke;
        c.lineWidth = thick;
        c.beginPath();
        c.moveTo(x1, y1);
        c.bezierCurveTo((x1 + x2) / 2, y1, (x1 + x2) / 2, y2, x2, y2);
        c.stroke();
        c.globalAlpha = 1;
      },
    };
  },

  svgPen(width, height) {
    const ns = "http://www.w3.org/2000/svg";
    const make = (tag, attributes, text) => {
      const node = document.createElementNS(ns, tag);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
      if (text !== undefined) node.textContent = text;
      return node;
    };
    const svg = make("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
    const r = (v) => Math.round(v * 100) / 100;
    return {
      rect: (x, y, w, h, fill) => svg.append(make("rect", { x: r(x), y: r(y), width: r(w), height: r(h), fill })),
      frame: (x, y, w, h, stroke, thick = 1) =>
        svg.append(make("rect", { x: r(x), y: r(y), width: r(w), height: r(h), fill: "none", stroke, "stroke-width": thick })),
      text: (x, y, text, { fill, size = 12, align = "left", bold = false, turn = 0, family = "--gd-mono" }) =>
        svg.append(make("text", { transform: `translate(${r(x)} ${r(y)}) rotate(${turn})`, fill, "font-size": size,
          "font-family": GD.css(family), "font-weight": bold ? 700 : 400, "dominant-baseline": "central", "xml:space": "preserve",
          "text-anchor": { left: "start", right: "end", center: "middle" }[align] }, text)),
      curve: (x1, y1, x2, y2, stroke, thick, alpha) =>
        svg.append(make("path", { d: `M${r(x1)} ${r(y1)}C${r((x1 + x2) / 2)} ${r(y1)} ${r((x1 + x2) / 2)} ${r(y2)} ${r(x2)} ${r(y2)}`,
          fill: "none", stroke, "stroke-width": r(thick), opacity: r(alpha) })),
      toString: () => new XMLSerializer().serializeToString(svg),
    };
  },
});
