// Values that plots and charts share: colours of levels, numbers, times in the zone of the site, columns of instants.
"use strict";
window.Slopeward = (() => {
  const { fetchJson, readColour } = window.SlopewardPage;
  const language = document.documentElement.lang || "en";
  const zone = document.getElementById("main").dataset.zone || "UTC";

  // ---- colours ----------------------------------------------------------------------------------
  function classOfLevel(levels, number) {
    const level = levels.find((row) => row.number === number);
    return window.SlopewardPage.classOfLevel(level?.name, number, levels.at(-1).number);
  }

  const colourOfLevel = (levels, number) => readColour(`--lv-${classOfLevel(levels, number)}`);

  function nameOfLevel(levels, number) {
    const level = levels.find((row) => row.number === number);
    return tr(String(level?.name ?? number));
  }

  // ---- numbers ----------------------------------------------------------------------------------
  // As `format_number` in monitor/text/figures.py: whole digits are never rounded to tens, and levels
  // in metres have two decimals.
  function formatNumber(value, unit) {
    if (value === null || value === undefined) {
      return "–";
    }
    const size = Math.abs(value);
    if (unit === "m" && size >= 100) {
      return value.toFixed(2);
    }
    if (size >= 1000) {
      return value.toFixed(0);
    }
    return Number(value.toPrecision(4)).toString();
  }

  const formatSpan = (seconds) =>
    seconds < 172_800
      ? `${Number((seconds / 3600).toPrecision(3))} h`
      : `${Number((seconds / 86_400).toPrecision(3))} d`;

  // ---- times ------------------------------------------------------------------------------------
  const toSeconds = (instant) => Date.parse(instant) / 1000;

  // The server encodes a column of instants as the first one and the steps to the next ones.
  function decodeInstants(steps) {
    let instant = 0;
    return steps.map((step) => {
      instant += step;
      return instant;
    });
  }

  function makeTimeFormat(locale, options) {
    const format = new Intl.DateTimeFormat(locale, { timeZone: zone, hourCycle: "h23", ...options });
    return (seconds) => format.format(seconds * 1000);
  }

  const formatMinute = makeTimeFormat("sv-SE", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  });
  const zoneNames = new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeZoneName: "short" });

  function nameZone(seconds) {
    const parts = zoneNames.formatToParts(seconds * 1000);
    return parts.find((part) => part.type === "timeZoneName").value;
  }

  // Local time of the site with UTC beside it.
  function formatInstant(seconds) {
    const utc = new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
    const zoneName = nameZone(seconds);
    if (zoneName === "UTC") {
      return `${utc} UTC`;
    }
    const local = formatMinute(seconds);
    const isSameDay = local.slice(0, 10) === utc.slice(0, 10);
    return `${local} ${zoneName} (${isSameDay ? utc.slice(11) : utc} UTC)`;
  }

  const locale = language === "en" ? "en-GB" : language;
  const formatClock = makeTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
  const formatDay = makeTimeFormat(locale, { day: "numeric", month: "short" });
  const formatMonth = makeTimeFormat(locale, { month: "short", year: "numeric" });
  const formatYear = makeTimeFormat(locale, { year: "numeric" });

  return {
    zone,
    readColour,
    classOfLevel,
    colourOfLevel,
    nameOfLevel,
    formatNumber,
    formatSpan,
    toSeconds,
    decodeInstants,
    formatMinute,
    formatInstant,
    formatClock,
    formatDay,
    formatMonth,
    formatYear,
    fetchJson,
  };
})();
