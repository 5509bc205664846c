// The banner of a page that has not been refreshed for a while. Old values fade, so that nobody takes them for current.

import { formatAge } from "./ages.js";
import { findZoneName, formatLocalTime } from "./header-clock.js";
import { computePageAge, isSavedCopy, lastServerTime } from "./server-clock.js";

const STALE_AFTER_MS = 30_000;

/** Show or hide the banner. A saved copy has a banner of its own. */
export const updateStaleBanner = () => {
  const ageMs = computePageAge();
  const isStale = ageMs >= STALE_AFTER_MS;
  document.getElementById("stale").hidden = isSavedCopy || !isStale;
  document.body.classList.toggle("is-stale", isSavedCopy || isStale);
  if (isStale) {
    document.getElementById("stale-at").textContent = `${formatLocalTime(lastServerTime())} ${findZoneName()}`;
    document.getElementById("stale-age").textContent = formatAge(ageMs);
  }
};
