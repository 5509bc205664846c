// Ages such as "5 min" in `<time data-age>`, which grow every second.

const MS_PER_S = 1000;
const MS_PER_MIN = 60 * MS_PER_S;
const MS_PER_H = 60 * MS_PER_MIN;
const MS_PER_DAY = 24 * MS_PER_H;
const MIN_PER_DAY = 1440;
const LAST_H_WITH_DAYS = 240;

/** Join a count of small units as two units. @returns {string} such as "3 h 20 min" */
const formatTwoUnits = (count, perLargeUnit, largeUnit, smallUnit) => {
  const large = `${Math.floor(count / perLargeUnit)} ${largeUnit}`;
  const remainder = count % perLargeUnit;
  return remainder ? `${large} ${remainder} ${smallUnit}` : large;
};

/** Format an age as `format_age` of monitor/text/instants.py does. @param {number} ageMs */
export const formatAge = (ageMs) => {
  const seconds = Math.max(Math.round(ageMs / MS_PER_S), 1);
  if (seconds < 60) {
    return `${seconds} s`;
  }
  const roundedMs = seconds * MS_PER_S;
  const minutes = Math.round(roundedMs / MS_PER_MIN);
  if (minutes < 60) {
    return `${minutes} min`;
  }
  const hours = Math.round(roundedMs / MS_PER_H);
  if (hours >= LAST_H_WITH_DAYS) {
    return `${Math.round(roundedMs / MS_PER_DAY)} d`;
  }
  return minutes < MIN_PER_DAY ? formatTwoUnits(minutes, 60, "h", "min") : formatTwoUnits(hours, 24, "d", "h");
};

/** Update every age of the page. @param {number} nowMs time of the server, in ms since 1970 */
export const updateAges = (nowMs) => {
  for (const node of document.querySelectorAll("time[data-age]")) {
    const age = formatAge(nowMs - Date.parse(node.dateTime));
    // An unchanged text is not written again, so that a selection stays.
    if (node.textContent !== age) {
      node.textContent = age;
    }
  }
};
