// Request the changing parts of the page and show them.

import { morph } from "./morph.js";
import { isSavedCopy, recordServerTime } from "./server-clock.js";

const TIMEOUT_MS = 8000;

const partsAddress = document.getElementById("main").dataset.live;
let isRunning = false;
let isRequestedAgain = false;
let isChangeUnshown = false;
let refreshedMs = performance.now();

/** Whether this page has parts that can be refreshed. */
export const canRefresh = Boolean(partsAddress);

/** Return how long ago the parts were refreshed, in ms. */
export const computePartsAge = () => performance.now() - refreshedMs;

/** Return whether the server announced a change that the page does not show yet. */
export const hasUnshownChange = () => isChangeUnshown;

/** Replace the content of one part by HTML from the server. */
const showPart = (name, html) => {
  const part = document.getElementById(`part-${name}`);
  if (!part) {
    return;
  }
  const parsed = new DOMParser().parseFromString(`<div>${html}</div>`, "text/html").body.firstChild;
  const target = part.cloneNode(false);
  target.append(...parsed.childNodes);
  morph(part, target);
};

/** Request the parts once. @returns {Promise<boolean>} whether the page was refreshed */
const requestParts = async () => {
  const url = new URL(partsAddress, location.href);
  url.searchParams.set("lang", document.documentElement.lang);
  const answer = await fetch(url, {
    headers: { Accept: "application/json" },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const isSessionOver = answer.status === 401;
  const isConnectedAgain = answer.ok && isSavedCopy;
  if (isSessionOver || isConnectedAgain) {
    location.reload();
    return false;
  }
  if (!answer.ok) {
    return false;
  }
  const { now, parts } = await answer.json();
  recordServerTime(now);
  refreshedMs = performance.now();
  Object.entries(parts).forEach(([name, html]) => showPart(name, html));
  return true;
};

/**
 * Refresh the page. Resolve to false if that fails; the banner of a stale page appears after 30 s.
 *
 * A call during a refresh starts a second one when the first is finished: the answer on its way may be older than the
 * change that caused the call.
 *
 * After each refresh the document dispatches `refreshed`, for charts and maps. `detail.hasChanged` is whether the
 * stream announced a change since the refresh before.
 *
 * @param {{hasChanged?: boolean}} options hasChanged: the server announced a change
 */
export const refreshPage = async ({ hasChanged = false } = {}) => {
  isChangeUnshown ||= hasChanged;
  if (document.hidden) {
    return false;
  }
  if (isRunning) {
    isRequestedAgain = true;
    return false;
  }
  isRunning = true;
  let isRefreshed = false;
  try {
    do {
      isRequestedAgain = false;
      isRefreshed = await requestParts();
    } while (isRefreshed && isRequestedAgain);
  } catch {
    isRefreshed = false;
  } finally {
    isRunning = false;
  }
  if (isRefreshed) {
    const detail = { hasChanged: isChangeUnshown };
    isChangeUnshown = false;
    document.dispatchEvent(new CustomEvent("refreshed", { detail }));
  }
  return isRefreshed;
};
