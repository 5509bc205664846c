// The time of the server, and how old the shown page is. The clock of the device may be wrong, so both are computed
// from the last time that the server sent and the monotonic clock of the browser.

const body = document.body;
// The service worker marks a page that it saved earlier with the time of the device at which it was saved.
const savedAt = Number(body.dataset.savedAt ?? 0);

let serverTimeMs = Date.parse(body.dataset.now);
let receivedMs = performance.now();
if (savedAt) {
  receivedMs -= Math.max(Date.now() - savedAt, 0);
}

/** Whether this page was saved on the device and is shown without a connection. */
export const isSavedCopy = savedAt > 0;

/** Record the time of the server that an answer contained. @param {string} isoTime */
export const recordServerTime = (isoTime) => {
  serverTimeMs = Date.parse(isoTime);
  receivedMs = performance.now();
};

/** Return the present time of the server, in ms since 1970. */
export const computeServerTime = () => serverTimeMs + computePageAge();

/** Return for how long nothing was received from the server, in ms. */
export const computePageAge = () => performance.now() - receivedMs;

/** Return the time of the server that was received last, in ms since 1970. */
export const lastServerTime = () => serverTimeMs;
