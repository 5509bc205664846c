// The clock in the header, and times in the time zone of the site.

const FORMAT = {
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
};

/** Return a formatter for a time zone. Swedish dates have the form of ISO 8601. */
const makeFormatter = (timeZone) => {
  try {
    return new Intl.DateTimeFormat("sv-SE", { ...FORMAT, timeZone });
  } catch {
    // The browser has no data about this zone.
    return new Intl.DateTimeFormat("sv-SE", { ...FORMAT, timeZone: "UTC" });
  }
};

const formatter = makeFormatter(document.getElementById("main").dataset.zone);

/** Format a time as "2026-03-01 07:05:00". @param {number} timeMs in ms since 1970 */
export const formatLocalTime = (timeMs) => formatter.format(timeMs);

/** Return the name of the time zone that the header shows. */
export const findZoneName = () => document.querySelector(".clock").lastChild.textContent.trim();

/** Update the clock. @param {number} nowMs time of the server, in ms since 1970 */
export const updateHeaderClock = (nowMs) => {
  document.getElementById("clock").textContent = formatLocalTime(nowMs).slice("2026-03-01 ".length);
};
