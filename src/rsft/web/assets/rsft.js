"use strict";
// Keys, and word of a server that is gone. Nothing here makes markup of a text.
(() => {
  // Of each row the first link: what Enter opens.
  const rows = () =>
    [...document.querySelectorAll("[data-row]")].map((row) => (row.matches("a") ? row : row.querySelector("a"))).filter((a) => a && a.offsetParent);

  function move(by) {
    const all = rows();
    if (!all.length) return;
    const here = all.findIndex((a) => a === document.activeElement || a.closest("[data-row]").contains(document.activeElement));
    const next = here < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, here + by));
    all[next].focus();
    all[next].closest("[data-row]").scrollIntoView({ block: "nearest" });
  }

  // What says which key stands for it: a link, a button, a box to tick. In rows, it is that of the row with the focus.
  function press(key) {
    const focus = document.activeElement;
    const listens = (one) => !one.closest("[data-row]") || one.closest("[data-row]").contains(focus);
    const named = [...document.querySelectorAll("[data-key]")].filter((one) => one.dataset.key.split(" ").includes(key) && listens(one));
    const pressed = named.includes(focus) ? focus : named[0];
    if (pressed) pressed.click();
    return Boolean(pressed);
  }

  function help() {
    const dialog = document.querySelector("dialog.keys");
    if (dialog.open) dialog.close();
    else dialog.showModal();
  }

  const doing = {
    j: () => move(1),
    k: () => move(-1),
    "?": help,
    "/": () => {
      const field = document.querySelector("[data-search]");
      if (field) field.focus();
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input:not([type=range]):not([type=radio]):not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && typing) typing.blur();
    if (typing || event.repeat && !(event.key in doing)) return;
    if (document.querySelector("dialog[open]") ? event.key !== "?" : press(event.key)) return;
    if (!(event.key in doing)) return;
    event.preventDefault();
    doing[event.key]();
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys]")) help();
  });

  const lost = (gone) => {
    document.querySelector(".lost").hidden = !gone;
  };
  document.addEventListener("htmx:sendError", () => lost(true));
  document.addEventListener("htmx:afterOnLoad", () => lost(false));

  // A part that is put in anew keeps the focus where it was: htmx finds it again by its id.
})();
