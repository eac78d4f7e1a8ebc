"use strict";
// Marking rows to compare them: x marks the row that has the focus, and the button waits until something is marked.
(() => {
  const rowOf = (one) => one.closest("[data-row]");

  function count() {
    const marked = document.querySelectorAll("[data-pick]:checked").length;
    for (const button of document.querySelectorAll("[data-picked]")) button.disabled = marked < 1 || marked > 3;
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "x" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]") || event.target.closest("input:not([type=checkbox]), textarea, select")) return;
    const row = rowOf(document.activeElement);
    const pick = document.activeElement.matches("[data-pick]") ? document.activeElement : row && row.querySelector("[data-pick]");
    if (!pick) return;
    event.preventDefault();
    pick.click();
  });

  document.addEventListener("change", count);
  document.addEventListener("htmx:afterSettle", count);
  window.addEventListener("pageshow", count);
  count();
})();
