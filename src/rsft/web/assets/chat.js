"use strict";
// Enter sends, and what is written last stays in sight. Nothing here makes markup of a text.
(() => {
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("textarea[data-send]");
    if (!field || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!field.readOnly && field.value.trim()) field.form.requestSubmit();
  });

  let atEnd = true;
  const distance = () => document.documentElement.scrollHeight - window.innerHeight - window.scrollY;
  document.addEventListener("htmx:beforeSwap", () => {
    atEnd = distance() < 80;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (!document.querySelector(".said")) return;
    const sent = event.detail.requestConfig && event.detail.requestConfig.verb === "post";
    if (atEnd || sent) window.scrollTo(0, document.documentElement.scrollHeight);
  });
})();
