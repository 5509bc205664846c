// Values that charts and maps share: colours of the page, classes of levels, requests.
"use strict";
window.SlopewardPage = (() => {
  const REQUEST_TIMEOUT_MS = 15_000;
  const COLOUR_CLASSES = { green: "0", blue: "b", yellow: "1", amber: "1", orange: "2", red: "3", purple: "4" };

  const readColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** Return the class of a level on the colour scale, as `level_class` of the server does. */
  function classOfLevel(name, number, top) {
    if (number === null || number === undefined) {
      return "u";
    }
    return COLOUR_CLASSES[name?.toLowerCase()] ?? String(Math.round((3 * number) / Math.max(top, 1)));
  }

  /** Request JSON in the language of the page. Another signal can end the request before its time limit. */
  async function fetchJson(url, signal) {
    const language = document.documentElement.lang || "en";
    const separator = url.includes("?") ? "&" : "?";
    const address = language === "en" ? url : `${url}${separator}lang=${language}`;
    const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const response = await fetch(address, {
      signal: signal && AbortSignal.any ? AbortSignal.any([signal, timeout]) : timeout,
    });
    const body = await response.json();
    if (!response.ok) {
      throw new Error(body.error);
    }
    return body;
  }

  return { classOfLevel, fetchJson, readColour };
})();
