// Choose the light or the dark theme. This script is no module, because it must run before the first paint.
"use strict";
{
  const STORAGE_KEY = "slopeward-theme";
  const root = document.documentElement;

  /** Return the theme that this browser chose last, or null. */
  const loadTheme = () => {
    try {
      return localStorage.getItem(STORAGE_KEY);
    } catch {
      // The browser allows no storage.
      return null;
    }
  };

  const storeTheme = (theme) => {
    try {
      localStorage.setItem(STORAGE_KEY, theme);
    } catch {
      // The theme is valid for this page only.
    }
  };

  const isDark = () => {
    const { theme } = root.dataset;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };

  const switchTheme = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    storeTheme(root.dataset.theme);
    // Charts and maps draw again.
    document.dispatchEvent(new Event("themechange"));
  };

  const storedTheme = loadTheme();
  if (storedTheme) {
    root.dataset.theme = storedTheme;
  }
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme")?.addEventListener("click", switchTheme);
  });
}
