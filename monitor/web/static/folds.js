/**
 * On a phone, and where an alert is open, the parts that are not urgent begin folded; without
 * scripts, and where there is room, they are open.
 */
"use strict";
(() => {
  const narrow = window.matchMedia("(max-width: 700px)");
  // The map has its own column beside the situation, so folding it saves no room.
  const isBeside = window.matchMedia("(min-width: 1001px)");
  const isOpen = (part) => {
    if (part.matches(".site-map") && (isBeside.matches || !urgent)) {
      return true;
    }
    return !narrow.matches && !(urgent && part.matches(".panel"));
  };
  const urgent = "urgent" in document.getElementById("main").dataset; // what wakes somebody stands on the first screens
  const parts = [...document.querySelectorAll("details.fold[open]")];
  const asked = location.hash.slice(1);
  const fold = () =>
    parts.forEach((part) => {
      part.open = isOpen(part) || (asked && part.querySelector(`[id="${CSS.escape(asked)}"]`) !== null);
    });
  fold();
  narrow.addEventListener("change", fold);
  isBeside.addEventListener("change", fold);
  // a link to a folded part opens it, and what it lies in
  const reveal = () => {
    for (
      let part = document.getElementById(location.hash.slice(1))?.closest("details");
      part;
      part = part.parentElement.closest("details")
    ) {
      part.open = true;
    }
  };
  window.addEventListener("hashchange", reveal);
  reveal();
})();
