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

  // Where a pointer in a histogram is, as a value on which its slider can stand.
  function pointed(scorer, range, event) {
    const [from, to] = [Number(scorer.dataset.from), Number(scorer.dataset.to)];
    const { left, width } = scorer.querySelector("svg").getBoundingClientRect();
    const [low, high, step] = ["min", "max", "step"].map((name) => Number(range[name]));
    const value = from + ((event.clientX - left) / width) * (to - from);
    const stepped = low + Math.round((value - low) / step) * step;
    return String(Number(Math.min(high, Math.max(low, stepped)).toPrecision(12)));
  }

  // The line that a pointer takes hold of: of several the nearest one.
  function taken(scorer, event) {
    const away = (line) => {
      const range = line.querySelector("[type=range]");
      return Math.abs(Number(range.value) - Number(pointed(scorer, range, event)));
    };
    return [...scorer.querySelectorAll("[data-line]")].sort((one, other) => away(one) - away(other))[0];
  }

  // The histogram is drawn anew while it is dragged in, so that what stands around it holds the pointer.
  let held = null;

  function drag(event) {
    const range = held.line.querySelector("[type=range]");
    const value = pointed(held.scorer, range, event);
    if (event.type === "pointermove" && value === range.value) return;
    range.value = value;
    range.dispatchEvent(new Event("input", { bubbles: true }));
  }

  document.addEventListener("pointerdown", (event) => {
    const scorer = event.target.closest(".bars svg") && event.target.closest(".scorer");
    if (!scorer || event.button !== 0 || !event.isPrimary) return;
    held = { scorer, line: taken(scorer, event) };
    scorer.setPointerCapture(event.pointerId);
    event.preventDefault(); // no text is to be marked
    held.line.querySelector("[type=range]").focus({ preventScroll: true });
    drag(event);
  });
  document.addEventListener("pointermove", (event) => {
    if (held && event.isPrimary) drag(event);
  });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => (held = null));

  // While a line moves, what changes is asked for again and again, but not faster than anybody reads; and at the end.
  const PAUSE = 120;
  let waiting = null;

  function ask(form) {
    waiting ??= setTimeout(() => {
      waiting = null;
      form.dispatchEvent(new Event("lines"));
    }, PAUSE);
  }

  document.addEventListener("input", (event) => {
    const line = event.target.closest("[data-line]");
    if (!line) return;
    const [range, number] = ["[type=range]", "[type=number]"].map((kind) => line.querySelector(kind));
    if (event.target === range) number.value = range.value;
    if (event.target === number) range.value = number.value;
    if (event.target.type !== "checkbox") line.querySelector("[type=checkbox]").checked = true;
    draw();
    ask(event.target.form);
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
