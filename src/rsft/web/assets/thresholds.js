"use strict";
// Lines over histograms: the slider, the number beside it and the line that is drawn are one and the same. What the
// number says counts: a slider has steps, and a rule's line may stand between two.
(() => {
  const SVG = "http://www.w3.org/2000/svg";

  function draw() {
    for (const scorer of document.querySelectorAll(".scorer")) {
      const svg = scorer.querySelector("svg");
      const [from, to] = [Number(scorer.dataset.from), Number(scorer.dataset.to)];
      const { width, height } = svg.viewBox.baseVal;
      svg.querySelectorAll(".cut").forEach((cut) => cut.remove());
      for (const line of scorer.querySelectorAll("[data-line]")) {
        const on = line.querySelector("[type=checkbox]").checked;
        line.classList.toggle("off", !on);
        if (!on) continue;
        const value = Number(line.querySelector("[type=number]").value);
        const x = Math.min(width - 1, Math.max(1, (width * (value - from)) / (to - from)));
        const cut = document.createElementNS(SVG, "line");
        cut.setAttribute("class", "cut");
        for (const [name, at] of Object.entries({ x1: x, x2: x, y1: -4, y2: height - 4 })) cut.setAttribute(name, at);
        svg.append(cut);
      }
    }
  }

  document.addEventListener("input", (event) => {
    const line = event.target.closest("[data-line]");
    if (!line) return;
    const [range, number] = ["[type=range]", "[type=number]"].map((kind) => line.querySelector(kind));
    if (event.target === range) number.value = range.value;
    if (event.target === number) range.value = number.value;
    if (event.target.type !== "checkbox") line.querySelector("[type=checkbox]").checked = true;
    draw();
    event.target.form.dispatchEvent(new Event("lines"));
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-reload]")) {
      event.stopPropagation();
      location.assign(`/thresholds?run=${encodeURIComponent(event.target.form.elements.run.value)}&iteration=${event.target.value}`);
    }
  }, true);

  document.addEventListener("htmx:afterSettle", draw);
  draw();
})();
