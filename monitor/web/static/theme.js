// Before the first paint: the theme this browser chose last; otherwise the system's own.
"use strict";
(() => {
  const root = document.documentElement;
  const read = () => {
    try {
      return localStorage.getItem("slopeward-theme");
    } catch {
      return null;
    }
  };
  const chosen = read();
  if (chosen) {
    root.dataset.theme = chosen;
  }
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme")?.addEventListener("click", () => {
      const dark = root.dataset.theme
        ? root.dataset.theme === "dark"
        : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      try {
        localStorage.setItem("slopeward-theme", root.dataset.theme);
      } catch {
        /* private window: this page only */
      }
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
