"use strict";
// Marking rows to compare them: the button waits until as many are marked as can be compared.
(() => {
  function count() {
    const marked = document.querySelectorAll("[data-pick]:checked").length;
    for (const button of document.querySelectorAll("[data-picked]")) button.disabled = marked < 1 || marked > 3;
  }

  document.addEventListener("change", count);
  document.addEventListener("htmx:afterSettle", count);
  window.addEventListener("pageshow", count);
  count();
})();
